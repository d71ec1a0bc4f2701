"""Windowed features at past instants: what a view's windows held at each row of a spine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_repo.engine.chunks import Chunk, ints, unit
from feature_repo.engine.duckdb_sql import ROW, input_column
from feature_repo.engine.kernels import Values
from feature_repo.engine.monoids import BOOL, FLOAT, INT, TEXT, TIME, Array, Monoid
from feature_repo.engine.past import Ints, Line, Past, portions, spread
from feature_repo.engine.spec import WindowedFeature
from feature_repo.engine.tiles import floor

ARROW_TYPES = {
    INT: pa.int64(),
    FLOAT: pa.float64(),
    TEXT: pa.string(),
    BOOL: pa.bool_(),
    TIME: pa.timestamp("us", "UTC"),
}

_NOTHING = pa.nulls(0)


@dataclass(frozen=True)
class PastWindows:
    """How to compute features of one view from its events, worked out once.

    Attributes
    ----------
    features, outputs
        What is asked for, and the columns of the answer.
    hop
        Of the view (us).
    span
        Smallest and largest instant of the spine (us).
    """

    features: tuple[WindowedFeature, ...]
    outputs: tuple[str, ...]
    hop: int
    span: tuple[int, int]

    @cached_property
    def reaches(self) -> list[int]:
        """How far back windows look (us), the longest first."""
        return sorted({feature.reach for feature in self.features}, reverse=True)

    @cached_property
    def monoids(self) -> tuple[Monoid, ...]:
        """States that are needed."""
        found = {monoid.key: monoid for feature in self.features for monoid in feature.monoids}
        return tuple(found.values())

    @cached_property
    def units(self) -> dict[str, str]:
        """Columns that the states are made of: name -> expression; equal expressions are one column."""
        expressions = [monoid.unit_sql(input_column(monoid)) for monoid in self.monoids]
        return {f"u{i}": each for i, each in enumerate(dict.fromkeys(filter(None, expressions)))}

    @cached_property
    def line(self) -> Line:
        """Where instants of the query have a place."""
        return Line(floor(self.span[0] - self.reaches[0], self.hop), self.span[1])

    def answer(self, chunk: Chunk) -> Iterator[pa.Table]:
        """Yield the answers for the rows of a chunk, in any order: ``__row`` and the outputs.

        If the events have a column ``known``, a row is told only of those that were known before its instant.
        """
        rows = ints(chunk.rows, ROW)
        entity, at = chunk.row_entity, ints(chunk.rows, "instant")
        events, ts = chunk.entity, ints(chunk.facts, "ts")
        columns = {name: unit(chunk.facts, name) for name in self.units}
        if "known" not in chunk.facts.column_names:
            yield self._answer(rows, entity, at, events, ts, columns)
            return
        known = ints(chunk.facts, "known")
        told = ~self._untold(entity, at, events, ts, known)
        yield self._answer(rows[told], entity[told], at[told], events, ts, columns)
        rows, entity, at = rows[~told], entity[~told], at[~told]
        past = self._past(entity, at, events, ts)
        for portion in portions(past.hi - past.lo[:, 0], most=self.line.capacity):
            # Each of these rows is given a history of its own: the events it was told of.
            lo, hi = past.lo[portion, 0], past.hi[portion]
            positions, _ = spread(lo, hi)
            own = np.repeat(np.arange(len(lo)), hi - lo)
            seen = known[positions] < at[portion][own]
            positions, own = positions[seen], own[seen]
            taken = {name: column.take(pa.array(positions)) for name, column in columns.items()}
            yield self._answer(rows[portion], np.arange(len(lo)), at[portion], own, ts[positions], taken)

    def _untold(self, entity: Ints, at: Ints, events: Ints, ts: Ints, known: Ints) -> npt.NDArray[np.bool_]:
        """Which rows stand between an event and the instant at which it became known."""
        places = self.line.places(entity, at)
        late = known > ts
        began = np.searchsorted(places, self.line.places(events[late], ts[late]), side="right")
        ended = np.searchsorted(places, self.line.places(events[late], known[late]), side="right")
        size = len(places) + 1
        between: npt.NDArray[np.bool_] = (
            np.cumsum(np.bincount(began, minlength=size) - np.bincount(ended, minlength=size)) > 0
        )
        return between[:-1]

    def _past(self, entity: Ints, at: Ints, events: Ints, ts: Ints) -> Past:
        since = [floor(at - reach, self.hop) for reach in self.reaches]
        return Past.of(self.line, entity=events, ts=ts, row_entity=entity, at=at, since=since)

    def _answer(
        self, rows: Ints, entity: Ints, at: Ints, events: Ints, ts: Ints, columns: dict[str, pa.Array]
    ) -> pa.Table:
        # A sum that overflows is infinite; who needs finite numbers looks for those.
        with np.errstate(over="ignore", invalid="ignore"):
            states = self._states(self._past(entity, at, events, ts), columns)
            values = [
                each.kernel.value([states[monoid.key, each.reach] for monoid in each.monoids], at)
                for each in self.features
            ]
        found = [_arrow(column, each.kind) for column, each in zip(values, self.features, strict=True)]
        return pa.table([pa.array(rows), *found], [ROW, *self.outputs])

    def _states(self, past: Past, columns: dict[str, pa.Array]) -> dict[tuple[str, int], Array]:
        """States of each row, by the monoid's key and how far back the window looks."""
        names = {expression: name for name, expression in self.units.items()}
        found: dict[tuple[str, int], Array] = {}
        for monoid in self.monoids:
            asked = sorted({each.reach for each in self.features if monoid in each.monoids}, reverse=True)
            name = names.get(monoid.unit_sql(input_column(monoid)))
            windows = past.only([self.reaches.index(reach) for reach in asked])
            states = monoid.of_past(columns[name] if name else _NOTHING, windows)
            found.update({(monoid.key, reach): states[:, i] for i, reach in enumerate(asked)})
        return found


def _arrow(values: Values, kind: str) -> pa.Array:
    return pa.array(values.data, ARROW_TYPES[kind], mask=None if values.valid is None else ~values.valid)
