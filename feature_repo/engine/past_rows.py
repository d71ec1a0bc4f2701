"""Ordinary views at past instants: the latest row that each row of a spine can know of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_repo.engine.chunks import Chunk, ints
from feature_repo.engine.duckdb_sql import ROW
from feature_repo.engine.past import Ints, Line


@dataclass(frozen=True)
class PastRows:
    """How to find the rows of one view.

    Attributes
    ----------
    outputs
        Columns of the answer, in the order of the facts' ``c0..``.
    ttl
        How long a row is alive (us; 0 = for ever).
    span
        Smallest and largest instant of the spine (us).
    known_by_at
        Whether a row counts only from the instant on at which it was created.
    """

    outputs: tuple[str, ...]
    ttl: int
    span: tuple[int, int]
    known_by_at: bool

    @property
    def line(self) -> Line:
        """Where instants of the query have a place."""
        return Line(*self.span)

    def answer(self, chunk: Chunk) -> Iterator[pa.Table]:
        """Yield ``__row`` and the outputs for the rows of a chunk that have a row; facts of one instant are sorted."""
        at, ts = ints(chunk.rows, "instant"), ints(chunk.facts, "ts")
        found, there = self._latest(chunk, at, ts)
        if self.ttl and len(ts):
            there &= ts[found] >= at - self.ttl
        rows, found = chunk.rows[ROW].filter(pa.array(there)), pa.array(found[there])
        columns = [chunk.facts[f"c{i}"].take(found) for i in range(len(self.outputs))]
        yield pa.table([rows, *columns], [ROW, *self.outputs])

    def _latest(self, chunk: Chunk, at: Ints, ts: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Position of the fact each row sees, and whether it sees one."""
        entity = chunk.entity
        seen, latest = ts, np.arange(len(ts))
        if self.known_by_at:
            # A fact is seen from the instant on at which it has happened and is known; of those seen the last holds.
            seen = np.maximum(ts, ints(chunk.facts, "known"))
            order = np.lexsort((seen, entity))
            seen, latest = seen[order], np.maximum.accumulate(order)
        places = self.line.places(entity, seen)
        count = np.searchsorted(places, self.line.places(chunk.row_entity, at), side="right")
        if not len(ts):
            return count, np.zeros(len(at), bool)
        found = latest[np.maximum(count - 1, 0)]
        return found, (count > 0) & (entity[found] == chunk.row_entity)
