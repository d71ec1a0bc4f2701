"""Pieces of a file into rows of the log's tables; what cannot be one is refused with its place and its reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.core.clock import DAY
from feature_repo.events.cleaning import USER_ID, complete, faults, normalise
from feature_repo.events.importing import cells
from feature_repo.events.importing.instants import INSTANT, date_and_time, read_instants
from feature_repo.events.importing.mapping import Column, EventTypes, Mapping
from feature_repo.events.importing.refusals import Reasons, Refusals
from feature_repo.events.importing.rows import Piece, part_of
from feature_repo.events.log import EVENT_ID, EVENT_TIMESTAMP, INGESTED_AT
from feature_repo.events.schema import arrow_schema
from feature_repo.privacy.pseudonyms import Pseudonymiser

LINE = "_line"

# A clock may be wrong by as much; a time further ahead is no time of a history.
AHEAD_US = DAY

_IGNORED = "-"
_ID = "'i-' || left(sha256(to_json(r)::VARCHAR), 32)"


@dataclass(frozen=True)
class Converted:
    """What became of a piece.

    Attributes
    ----------
    tables
        Event type -> rows in its shape, with ``_line``. Without a column that tells it, ``event_id`` is the hash of
        the row's content: the same for rows alike.
    refused
        Rows of the quarantine table.
    ignored
        Rows the mapping leaves out.
    rules
        How often a rule applied.
    """

    tables: dict[str, pa.Table]
    refused: pa.Table
    ignored: int
    rules: Counter[str] = field(default_factory=Counter)


class Converter:
    """Converts pieces as a mapping says.

    Parameters
    ----------
    pseudonymiser
        Names shoppers before anything else is done with a row.
    connection
        A DuckDB connection; it sees pseudonyms only.
    now_us
        No event is later; ``ingested_at`` is the event's time or this, whichever is earlier.
    """

    def __init__(
        self, mapping: Mapping, pseudonymiser: Pseudonymiser, connection: duckdb.DuckDBPyConnection, now_us: int
    ) -> None:
        self._mapping = mapping
        self._pseudonymiser = pseudonymiser
        self._connection = connection
        self._now_us = now_us
        self._refusals = Refusals(mapping, pseudonymiser)

    def convert(self, piece: Piece, source: str) -> Converted:
        """Convert a piece of the file ``source``."""
        rules = piece.rules.copy()
        kinds, unknown = self._kinds(piece)
        refused = [self._refusals.unread(piece.refused, source), self._refusals.rows(piece, unknown, source)]
        tables: dict[str, pa.Table] = {}
        for kind in self._mapping.types:
            chosen = np.flatnonzero(kinds == kind)
            if not len(chosen):
                continue
            part = piece if len(chosen) == len(kinds) else part_of(piece, chosen)
            rows, reasons, wrong, found = self._rows(part, kind)
            rules += found
            bad = np.array([reason is not None for reason in reasons], bool)
            if bad.any():
                refused.append(self._refusals.rows(part, reasons, source, kind=kind, table=rows, wrong=wrong))
                rows = rows.filter(pa.array(~bad))
            tables[kind] = rows
        return Converted(tables, pa.concat_tables(refused), int((kinds == _IGNORED).sum()), rules)

    def _kinds(self, piece: Piece) -> tuple[Reasons, Reasons]:
        """Event type of each row, and why it has none."""
        rule, rows = self._mapping.event_type, len(piece.lines)
        if isinstance(rule, str):
            return np.full(rows, rule, object), np.full(rows, None, object)
        told = piece.columns.get(rule.column, pa.nulls(rows, pa.string()))
        words = cells.texts(told, self._mapping.source, Column(column=rule.column))
        kinds = [_kind(rule, word) for word in words.to_pylist()]
        reasons = [None if kind is not None else "unknown_event_type" for kind in kinds]
        return np.array(kinds, object), np.array(reasons, object)

    def _rows(self, piece: Piece, kind: str) -> tuple[pa.Table, Reasons, list[list[str]], Counter[str]]:
        """Rows in the shape of their type, why each is bad (None for good ones), the columns at fault, and rules."""
        columns: dict[str, pa.Array] = {}
        reasons: Reasons = np.full(len(piece.lines), None, object)
        wrong: list[list[str]] = []
        rules: Counter[str] = Counter()
        for field_ in arrow_schema(kind):
            found = self._column(piece, field_, rules)
            if found is None:
                continue
            columns[field_.name], faulty = found
            _note(reasons, faulty, field_.name, wrong)
        table = self._identified(pa.table(columns))
        rows = complete(normalise(self._arrived(table)), kind)
        _note(reasons, faults(rows, kind).combine_chunks(), "", wrong)
        return rows.append_column(LINE, piece.lines), reasons, wrong, rules

    def _column(self, piece: Piece, target: pa.Field, rules: Counter[str]) -> tuple[pa.Array, pa.Array] | None:
        """Values of a target column, and the reasons of the bad ones; None if the mapping does not speak of it."""
        rule = self._mapping.columns.get(target.name)
        constant, source = self._mapping.constants.get(target.name), self._mapping.source
        if rule is None and constant is None:
            return None
        if rule is None:
            rule, column = Column(column=target.name), pa.array([constant] * len(piece.lines), pa.string())
        else:
            column = _cell_of(piece, rule.column)
        if rule.time is not None:
            clock = Column(column=rule.time.column, pad=rule.time.pad)
            clocks = cells.texts(_cell_of(piece, clock.column), source, clock)
            column, rule = date_and_time(column, clocks, source, rule), Column(column=rule.column, format=rule.format)
        return self._typed(column, target, rule, rules)

    def _typed(
        self, column: pa.Array, target: pa.Field, rule: Column, rules: Counter[str]
    ) -> tuple[pa.Array, pa.Array]:
        source = self._mapping.source
        if target.type == INSTANT:
            if pa.types.is_string(column.type):
                column = cells.texts(column, source, rule)
            pattern = rule.format or self._mapping.time.format
            read = read_instants(column, pattern, self._mapping.time, source, self._connection)
            rules += read.rules
            return self._not_ahead(read.values, read.reasons, target.name)
        text = cells.texts(column, source, rule)
        if target.name == USER_ID:
            named = cells.strings(text)
            return self._pseudonymiser.pseudonyms(named.values), _reasons(named.bad, named.reason)
        if target.type == pa.int64():
            found = cells.integers(text, source)
        elif target.type == pa.float64():
            found = cells.floats(text, source)
        else:
            found = cells.booleans(text) if target.type == pa.bool_() else cells.strings(text)
        return found.values, _reasons(found.bad, found.reason)

    def _not_ahead(self, values: pa.Array, reasons: pa.Array, name: str) -> tuple[pa.Array, pa.Array]:
        if name != EVENT_TIMESTAMP:
            return values, reasons
        limit = pa.scalar(self._now_us + AHEAD_US, pa.int64()).cast(INSTANT)
        ahead = pc.fill_null(pc.greater(values, limit), False)
        return values, pc.if_else(ahead, "time_in_future", reasons)

    def _identified(self, table: pa.Table) -> pa.Table:
        if EVENT_ID in table.column_names:
            return table
        names = ", ".join(f'"{name}" := "{name}"' for name in sorted(table.column_names))
        numbered = table.append_column("_n", pa.array(np.arange(len(table))))
        self._connection.register("content", numbered)
        query = f"SELECT {_ID} AS id FROM (SELECT _n, struct_pack({names}) AS r FROM content) ORDER BY _n"
        ids = self._connection.sql(query).to_arrow_table()["id"]
        self._connection.unregister("content")
        return table.append_column(EVENT_ID, ids)

    def _arrived(self, table: pa.Table) -> pa.Table:
        now = pa.scalar(self._now_us, pa.int64()).cast(INSTANT)
        happened = table[EVENT_TIMESTAMP]
        return table.append_column(INGESTED_AT, pc.if_else(pc.greater(happened, now), now, happened))


def _cell_of(piece: Piece, name: str) -> pa.Array:
    return piece.columns.get(name, pa.nulls(len(piece.lines), pa.string()))


def _kind(rule: EventTypes, word: str | None) -> str | None:
    if word in rule.values:
        return rule.values[word] or _IGNORED
    return _IGNORED if rule.others == "ignore" else None


def _reasons(bad: pa.Array, reason: str) -> pa.Array:
    return pc.if_else(bad, reason, pa.scalar(None, pa.string()))


def _note(reasons: Reasons, faulty: pa.Array, name: str, wrong: list[list[str]]) -> None:
    """Keep the first reason of each row, and every column at fault."""
    if faulty.null_count == len(faulty):
        return
    if not wrong:
        wrong += [[] for _ in reasons]
    for n, reason in enumerate(faulty.to_pylist()):
        if reason is not None:
            told = reason if not name or reason.startswith("time_in_") else f"{reason}_{name}"
            reasons[n] = reasons[n] or told
            wrong[n] += [name] if name else []
