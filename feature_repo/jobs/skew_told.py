"""Causes of the values of one view that differ: each computed again over parts of the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from feature_repo.engine.services import StoredView
from feature_repo.engine.sources import is_delta, reading_from, snapshot_of
from feature_repo.engine.spec import is_windowed
from feature_repo.jobs.served import AT, HEAD, HELD, POSITION, ServedRows, table_in
from feature_repo.jobs.skew_causes import Beside, SkewCause, Told, skew_cause
from feature_repo.jobs.skew_removals import Removals
from feature_repo.jobs.skew_values import values_of
from feature_repo.jobs.skew_view import SkewView

# Of one row a cause by feature: rows are numbered within a group.
Causes = dict[str, dict[int, SkewCause]]


@dataclass(frozen=True, eq=False)
class ServedView:
    """One view of rows that have everything else in common, and all that they are compared with.

    Attributes
    ----------
    group
        What was served.
    offline
        The same columns by the offline store over the whole log, row by row.
    """

    connection: duckdb.DuckDBPyConnection
    stored: StoredView
    group: ServedRows
    offline: pa.Table
    removals: Removals


def causes_of(served: ServedView, differing: Mapping[str, list[int]]) -> Causes:
    """Return the causes of values that differ: of each feature the rows in which it does."""
    silent = {name: _silent(held) for name, held in served.group.facts.unanswered.items()}
    causes: Causes = {name: dict.fromkeys(at, silent[name]) for name, at in differing.items() if name in silent}
    asked = {name: at for name, at in differing.items() if name not in silent}
    chosen = sorted({i for at in asked.values() for i in at})
    if not chosen:
        return causes
    again, place = _Again.of(served, pa.array(chosen), [*asked]), {i: n for n, i in enumerate(chosen)}
    return causes | {name: {i: again.cause(name, place[i]) for i in at} for name, at in asked.items()}


@dataclass(frozen=True, eq=False)
class _Again:
    """Rows of one view that differ: as served, over the whole log, and over parts of it."""

    served: ServedView
    rows: pa.Table
    said: dict[str, list[Any]]
    whole: dict[str, list[Any]]
    gone: list[bool]
    beside: list[Beside]
    held: dict[str, list[Any]]
    known: dict[str, list[Any]]
    read: dict[str, list[Any]]

    @classmethod
    def of(cls, served: ServedView, chosen: pa.Array, names: Sequence[str]) -> _Again:
        rows, seconds = served.group.table.take(chosen), not is_windowed(served.stored.view)
        said, whole = (
            {name: values_of(table[name], seconds=seconds) for name in names}
            for table in (rows, served.offline.select(names).take(chosen))
        )
        view = SkewView(served.connection, served.stored, rows)
        with reading_from(served.stored.view.batch_source):
            beside, held = view.beside(), view.as_held()
            known = view.as_known() if any(each.late and each.behind for each in beside) else held
            read = view.as_read(held, [n for n, each in enumerate(beside) if each.ahead])
        return cls(served, rows, said, whole, _of_other_table(served.stored, rows), beside, held, known, read)

    def cause(self, name: str, n: int) -> SkewCause:
        if self.gone[n]:
            return SkewCause.RECREATED
        parts = (self.said, self.whole, self.held, self.known, self.read)
        return skew_cause(self.beside[n], Told(*(each[name][n] for each in parts)), lambda: self._removed(name, n))

    def _removed(self, name: str, n: int) -> bool:
        stored = self.served.stored
        [at], held = values_of(self.rows[AT].slice(n, 1)), self.rows[HELD + stored.prefix][n].as_py()
        return self.served.removals.touch(stored, name.split("__", 1)[1], at=at, held=held)


def _silent(had_state: bool) -> SkewCause:
    return SkewCause.UNANSWERED if had_state else SkewCause.NOT_MATERIALIZED


def _of_other_table(stored: StoredView, rows: pa.Table) -> list[bool]:
    """Whether each row was served from another table than there is: the state's, or the one there was soon after."""
    source = stored.view.batch_source
    if not is_delta(source):
        return [False] * rows.num_rows
    now, columns = {None, snapshot_of(source).table_id}, (POSITION + stored.prefix, HEAD + stored.prefix)
    said = [rows[each].to_pylist() for each in columns if each in rows.column_names]
    return [any(table_in(each) not in now for each in row) for row in zip(*said, strict=True)]
