"""States kept once per tile: counts, sums, extremes, moments."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from feature_repo.engine.monoids import (
    FLOAT,
    INT,
    SQL_TYPES,
    Array,
    Events,
    Ints,
    StoredField,
    TileMonoid,
    filled,
    known,
)
from feature_repo.engine.past import Past
from feature_repo.engine.stored_fields import Counts, Hundredths, Plain, Whole

_INT64 = np.iinfo(np.int64)


class _Fold(TileMonoid):
    """A tile monoid that is one number, merged by one ufunc."""

    ufunc: ClassVar[np.ufunc]
    lift: ClassVar[str]
    narrow_nothing: ClassVar[int] = 0

    def lift_sql(self, column: str, *, ts: str, event_id: str, about: str) -> str:  # noqa: ARG002
        return self._typed(self.lift.format(x=self.input_sql(column)))

    def units(self, unit: pa.Array) -> Array:
        return filled(unit, self.identity)

    def merged(self, states: Array, lo: Ints, hi: Ints) -> Array:
        # Between two ranges numpy merges what lies there as well, unless the next begins before the last has ended.
        order = None
        if int(np.maximum(lo[1:] - hi[:-1], 0).sum()) > len(states):
            order = np.argsort(lo)[::-1]
            lo, hi = lo[order], hi[order]
        bounds = np.empty(2 * len(lo), np.int64)
        bounds[::2], bounds[1::2] = lo, hi
        found = self.ufunc.reduceat(np.append(states, np.array(self.identity, states.dtype)), bounds)[::2]
        found[lo == hi] = self.identity
        if order is None:
            return found
        sorted_back = np.empty_like(found)
        sorted_back[order] = found
        return sorted_back

    @property
    def merges_as(self) -> Any:
        return self.ufunc

    def reduce(self, states: Array, starts: Ints) -> Array:
        merged: Array = self.ufunc.reduceat(states, starts, axis=0)
        return merged

    def suffixes(self, segments: Array) -> Array:
        if segments.shape[1] == 1:
            return segments
        merged: Array = self.ufunc.accumulate(segments[:, ::-1], axis=1)[:, ::-1]
        return merged

    @property
    def working(self) -> np.dtype[Any]:
        return np.dtype(f"<{self.kind}")

    @cached_property
    def fields(self) -> tuple[StoredField, StoredField]:
        narrow = Hundredths if self.kind == FLOAT else Whole
        return Plain(self.working, self.identity), narrow(self.identity, self.narrow_nothing)

    @property
    def identity_sql(self) -> str:
        """The identity as a typed SQL literal."""
        return f"'{self.identity}'::{SQL_TYPES[self.kind]}"

    def _typed(self, aggregate: str) -> str:
        return f"CAST(coalesce({aggregate}, {self.identity_sql}) AS {SQL_TYPES[self.kind]})"


class Rows(_Fold):
    """How many events."""

    name, ufunc, lift = "rows", np.add, "count(*)"

    @cached_property
    def fields(self) -> tuple[StoredField, StoredField]:
        """Four bytes or one: a tile has fewer than four billion events, and mostly a few."""
        return Counts(np.dtype("<u4")), Counts(np.dtype("<u1"))

    def lifted(self, column: pa.Array | None, events: Events) -> pa.Array:  # noqa: ARG002
        """Return ones."""
        return pa.array(np.ones(len(events.ts), np.int64))

    def unit_sql(self, column: str) -> str:  # noqa: ARG002
        """Nothing: every event counts."""
        return ""

    def of_past(self, unit: pa.Array, past: Past) -> Array:  # noqa: ARG002
        """Return the lengths of the ranges."""
        return past.hi[:, None] - past.lo


class Present(Rows):
    """How many events have a value, of whatever type."""

    name = "present"

    def lift_sql(self, column: str, *, ts: str, event_id: str, about: str) -> str:  # noqa: ARG002
        """SQL aggregate over raw events; the column is not cast, as any type can be counted."""
        return f"count({column})"

    def lifted(self, column: pa.Array | None, events: Events) -> pa.Array:
        """Return one where there is a value."""
        return super().lifted(None, events) if column is None else column.is_valid().cast(pa.int64())

    def unit_sql(self, column: str) -> str:
        """Whether there is a value."""
        return f"{column} IS NOT NULL"

    def of_past(self, unit: pa.Array, past: Past) -> Array:
        """Return how many there are in the ranges."""
        return past.counted(filled(unit, nothing=False))


class Total(_Fold):
    """Sum of the values."""

    name, ufunc, lift = "sum", np.add, "sum({x})"

    def of_past(self, unit: pa.Array, past: Past) -> Array:
        """Integers are exact as differences of running sums; floats are not, and are summed range by range."""
        return past.counted(self.units(unit)) if self.kind == INT else super().of_past(unit, past)


class Least(_Fold):
    """Smallest value; the identity is the type's largest, which the door keeps out of the log."""

    name, ufunc, lift = "min", np.minimum, "min({x})"
    narrow_nothing = int(np.iinfo(np.int32).max)

    @property
    def identity(self) -> float | int:
        """State of no events."""
        return float("inf") if self.kind == FLOAT else int(_INT64.max)


class Greatest(_Fold):
    """Largest value; the identity is the type's smallest, which the door keeps out of the log."""

    name, ufunc, lift = "max", np.maximum, "max({x})"
    narrow_nothing = int(np.iinfo(np.int32).min)

    @property
    def identity(self) -> float | int:
        """State of no events."""
        return float("-inf") if self.kind == FLOAT else int(_INT64.min)


class Moments(TileMonoid):
    """Count, mean, and sum of squared deviations from the mean.

    Merged about the common mean: sums of squares lose all digits where values are far from zero and close together.
    Source: Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.
    """

    name = "moments"

    @property
    def working(self) -> np.dtype[Any]:
        """Three numbers."""
        return np.dtype([("n", "<f8"), ("mean", "<f8"), ("m2", "<f8")])

    @cached_property
    def fields(self) -> tuple[StoredField, StoredField]:
        """Three numbers, in either layout."""
        return (Plain(self.working, self.identity),) * 2

    @property
    def identity(self) -> tuple[float, float, float]:
        """State of no events."""
        return (0.0, 0.0, 0.0)

    def of_arrow(self, column: pa.Array) -> Array:
        """Return structs as a structured array."""
        states = np.empty(len(column), self.working)
        for name in ("n", "mean", "m2"):
            states[name] = column.field(name).to_numpy(zero_copy_only=False)
        return states

    def lift_sql(self, column: str, *, ts: str, event_id: str, about: str) -> str:  # noqa: ARG002
        """SQL aggregate over raw events."""
        x = self.input_sql(column)
        n = f"CAST(count({x}) AS DOUBLE)"
        return f"{{'n': {n}, 'mean': coalesce(avg({x}), 0.0), 'm2': coalesce(var_pop({x}), 0.0) * {n}}}"

    def lifted(self, column: pa.Array | None, events: Events) -> pa.Array:
        """Return structs of :meth:`units`."""
        units = self.units(pa.nulls(len(events.ts), pa.float64()) if column is None else self.input(column))
        names = ["n", "mean", "m2"]
        return pa.StructArray.from_arrays([pa.array(units[name]) for name in names], names)

    def units(self, unit: pa.Array) -> Array:
        """Return one value without deviation per event that has one."""
        states = np.zeros(len(unit), self.working)
        states["n"], states["mean"] = known(unit), filled(unit, 0.0)
        return states

    @property
    def merges_as(self) -> Any:
        """Like other moments."""
        return Moments

    def reduce(self, states: Array, starts: Ints) -> Array:
        """Merge runs about the mean of each."""
        if not len(starts):
            return states[:0]
        states, starts = states[starts[0] :], starts - starts[0]
        n = np.add.reduceat(states["n"], starts, axis=0)
        mean = np.add.reduceat(states["n"] * states["mean"], starts, axis=0) / np.maximum(n, 1.0)
        lengths = np.diff(np.append(starts, len(states)))
        apart = states["mean"] - np.repeat(mean, lengths, axis=0)
        merged = np.empty(n.shape, self.working)
        merged["n"], merged["mean"] = n, mean
        merged["m2"] = np.add.reduceat(states["m2"] + states["n"] * apart * apart, starts, axis=0)
        return merged

    def suffixes(self, segments: Array) -> Array:
        """Merge from the newest segment back."""
        merged = segments.copy()
        pairs = np.arange(0, 2 * len(merged), 2)
        for i in range(merged.shape[1] - 2, -1, -1):
            both = merged[:, i : i + 2].reshape(-1, *merged.shape[2:])
            merged[:, i] = self.reduce(both, pairs)
        return merged
