"""Refused rows as quarantine keeps them: where they stand and why, and of what stands there nothing.

Any cell of a broken row may hold a shopper's id, as in a row whose columns are shifted. File and line lead back to it.
"""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_repo.events.cleaning import USER_ID
from feature_repo.events.importing.mapping import Mapping
from feature_repo.events.importing.rows import Piece, Refusal, part_of
from feature_repo.events.log import EVENT_ID, EVENT_TIMESTAMP
from feature_repo.events.quarantine import QUARANTINE_SCHEMA
from feature_repo.privacy.pseudonyms import Pseudonymiser

Reasons = npt.NDArray[np.object_]

_UNKNOWN = "unknown"


class Refusals:
    """Makes rows of the quarantine table; the same row of the same file, refused for the same reason, has one id."""

    def __init__(self, mapping: Mapping, pseudonymiser: Pseudonymiser) -> None:
        self._pseudonymiser = pseudonymiser
        self._kind = mapping.types[0] if len(mapping.types) == 1 else _UNKNOWN

    def unread(self, refusals: tuple[Refusal, ...], source: str) -> pa.Table:
        """Lines that are no rows."""
        rows = [self._row(each.line, each.reason, each.text, each.facts, source) for each in refusals]
        return pa.Table.from_pylist(rows, QUARANTINE_SCHEMA)

    def rows(
        self,
        piece: Piece,
        reasons: Reasons,
        source: str,
        *,
        kind: str = "",
        table: pa.Table | None = None,
        wrong: list[list[str]] | None = None,
    ) -> pa.Table:
        """Rows of a piece that have a reason.

        Parameters
        ----------
        kind, table
            Event type, and the converted rows, if it came to that: their pseudonyms and times are kept.
        wrong
            Columns at fault, row by row.
        """
        chosen = np.array([n for n, reason in enumerate(reasons) if reason is not None], np.int64)
        part = part_of(piece, chosen)
        texts = zip(*(column.cast(pa.string()).to_pylist() for column in part.columns.values()), strict=True)
        known = table.take(chosen) if table is not None else None
        people = _values(known, USER_ID, len(chosen))
        times = _values(known, EVENT_TIMESTAMP, len(chosen))
        rows = []
        for n, (at, text) in enumerate(zip(chosen, texts, strict=True)):
            facts: dict[str, object] = {"columns": wrong[at]} if wrong and wrong[at] else {}
            row = self._row(part.lines[n].as_py(), reasons[at], repr(text), facts, source)
            rows.append({**row, "event_type": kind or self._kind, USER_ID: people[n], EVENT_TIMESTAMP: times[n]})
        return pa.Table.from_pylist(rows, QUARANTINE_SCHEMA)

    def _row(self, line: int, reason: str, text: str, facts: dict[str, object], source: str) -> dict[str, object]:
        # The hash is keyed: without the key nobody can try out which id stood in the row.
        keyed = self._pseudonymiser.pseudonym(f"{source}|{line}|{reason}|{text}")
        return {
            EVENT_ID: "refused-" + keyed.removeprefix("u_"),
            "source": source,
            "line": line,
            "event_type": self._kind,
            "reason": reason,
            "payload": json.dumps(facts, ensure_ascii=False),
        }


def _values(table: pa.Table | None, name: str, rows: int) -> list[object]:
    if table is None or name not in table.column_names:
        return [None] * rows
    values: list[object] = table[name].to_pylist()
    return values
