"""States kept once per tile: counts, sums, extremes, moments."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from feature_repo.engine.monoids import FLOAT, SQL_TYPES, Array, Ints, StoredField, TileMonoid
from feature_repo.engine.stored_fields import Counts, Hundredths, Plain, Whole

_INT64 = np.iinfo(np.int64)


class _Fold(TileMonoid):
    """A tile monoid that is one number, merged by one ufunc and one SQL aggregate."""

    ufunc: ClassVar[np.ufunc]
    lift: ClassVar[str]
    merge: ClassVar[str]
    narrow_nothing: ClassVar[int] = 0

    def lift_sql(self, column: str, *, ts: str, event_id: str, about: str) -> str:  # noqa: ARG002
        return self._typed(f"{self.lift.format(x=self.input_sql(column))}")

    def merge_sql(self, state: str, *, condition: str, about: str) -> str:  # noqa: ARG002
        return self._typed(f"{self.merge}({state}) FILTER (WHERE {condition})")

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

    name, ufunc, lift, merge = "rows", np.add, "count(*)", "sum"

    @cached_property
    def fields(self) -> tuple[StoredField, StoredField]:
        """Four bytes or one: a tile has fewer than four billion events, and mostly a few."""
        return Counts(np.dtype("<u4")), Counts(np.dtype("<u1"))


class Present(Rows):
    """How many events have a value, of whatever type."""

    name = "present"

    def lift_sql(self, column: str, *, ts: str, event_id: str, about: str) -> str:  # noqa: ARG002
        """SQL aggregate over raw events; the column is not cast, as any type can be counted."""
        return f"count({column})"


class Total(_Fold):
    """Sum of the values."""

    name, ufunc, lift, merge = "sum", np.add, "sum({x})", "sum"


class Least(_Fold):
    """Smallest value; the identity is the type's largest, which the door keeps out of the log."""

    name, ufunc, lift, merge = "min", np.minimum, "min({x})", "min"
    narrow_nothing = int(np.iinfo(np.int32).max)

    @property
    def identity(self) -> float | int:
        """State of no events."""
        return float("inf") if self.kind == FLOAT else int(_INT64.max)


class Greatest(_Fold):
    """Largest value; the identity is the type's smallest, which the door keeps out of the log."""

    name, ufunc, lift, merge = "max", np.maximum, "max({x})", "max"
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

    def merge_sql(self, state: str, *, condition: str, about: str) -> str:  # noqa: ARG002
        """SQL aggregate over states that have events, pair by pair."""
        pairs = (
            "{'n': a.n + b.n, 'mean': a.mean + (b.mean - a.mean) * (b.n / (a.n + b.n)), "
            "'m2': a.m2 + b.m2 + (b.mean - a.mean) ** 2 * (a.n * (b.n / (a.n + b.n)))}"
        )
        chosen = f"list({state}) FILTER (WHERE {condition} AND {state}.n > 0)"
        return f"coalesce(list_reduce({chosen}, lambda a, b: {pairs}), {{'n': 0.0, 'mean': 0.0, 'm2': 0.0}})"

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
