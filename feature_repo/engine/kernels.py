"""Aggregation functions by the names a declaration gives them.

A :class:`Kernel` says which states (:mod:`feature_repo.engine.monoids`) its function needs and how they become a value.
Kernels over one column share states: ``mean`` and ``sum`` of one column store one sum.

To add an aggregation, add one class to this file, and a monoid if no present one serves: a class registers itself under
its name. ``engine/oracle.py`` says in one line what it means, and the tests hold the two to each other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from feature_repo.core.clock import DAY
from feature_repo.core.errors import DeclarationError, did_you_mean
from feature_repo.engine.entity_monoids import Decayed, Distinct, Last, Latest
from feature_repo.engine.monoids import BOOL, FLOAT, INT, NUMPY_TYPES, TEXT, TIME, Array, Ints, Monoid
from feature_repo.engine.tile_monoids import Greatest, Least, Moments, Present, Rows, Total

NUMBERS = frozenset({INT, FLOAT})
ANYTHING = frozenset({INT, FLOAT, TEXT, BOOL, TIME})
HALF_LIVES = 40

_INT64 = np.iinfo(np.int64)

KERNELS: dict[str, Kernel] = {}


class Values(NamedTuple):
    """Values of one feature, an element per row.

    Attributes
    ----------
    data
        int64, float64, bool or objects (texts); anything where ``valid`` is False.
    valid
        False where the value is NULL; None when no value is.
    """

    data: Array
    valid: npt.NDArray[np.bool_] | None = None

    @classmethod
    def missing(cls, count: int, kind: str) -> Values:
        """Return ``count`` NULLs."""
        return cls(np.zeros(count, NUMPY_TYPES[kind]), np.zeros(count, bool))

    def as_float(self) -> npt.NDArray[np.float64]:
        """float64 with NaN for NULL: the form a model reads."""
        data: npt.NDArray[np.float64] = self.data.astype(np.float64)
        if self.valid is not None:
            data[~self.valid] = np.nan
        return data


class Kernel(ABC):
    """An aggregation function.

    Attributes
    ----------
    name
        Function name in a Feast ``Aggregation``.
    needs_column
        Whether it must name a column; the others read whole events, or those with a value in the column.
    takes
        Kinds of columns it can read.
    result
        Kind of the result: ``"time"`` is microseconds since the epoch, None the column's own kind.
    """

    name: ClassVar[str]
    needs_column: ClassVar[bool] = True
    takes: ClassVar[frozenset[str]] = NUMBERS
    result: ClassVar[str | None] = None

    def __init_subclass__(cls) -> None:
        """Register the function, if the class names one."""
        if "name" in vars(cls):
            KERNELS[cls.name] = cls()

    @abstractmethod
    def monoids(self, column: str, kind: str, window: int) -> tuple[Monoid, ...]:
        """State the function needs over ``column`` for a result of ``kind`` in a window (us)."""

    @abstractmethod
    def value(self, states: Sequence[Array], at: int | Ints) -> Values:
        """Values from merged states, one array per monoid, read at instant ``at`` (us), or each at its own."""

    def reach(self, window: int) -> int:
        """How far into the past the function looks (us)."""
        return window


class _Plain(Kernel):
    """A kernel whose value is its one merged state."""

    def value(self, states: Sequence[Array], at: int | Ints) -> Values:  # noqa: ARG002
        return Values(states[0])


class Count(_Plain):
    """Number of events, or of events with a value in the column; 0 of nothing."""

    name, needs_column, takes, result = "count", False, ANYTHING, INT

    def monoids(self, column: str, kind: str, window: int) -> tuple[Monoid, ...]:  # noqa: ARG002
        """One count."""
        return (Present(column, INT),) if column else (Rows("", INT),)


class Sum(_Plain):
    """Sum of the values; 0 of nothing, integers stay integers."""

    name = "sum"

    def monoids(self, column: str, kind: str, window: int) -> tuple[Monoid, ...]:  # noqa: ARG002
        """One sum."""
        return (Total(column, kind),)


class Mean(Kernel):
    """Arithmetic mean of the values; NULL of nothing."""

    name, result = "mean", FLOAT

    def monoids(self, column: str, kind: str, window: int) -> tuple[Monoid, ...]:  # noqa: ARG002
        """Sum and count of the values."""
        return (Total(column, FLOAT), Present(column, INT))

    def value(self, states: Sequence[Array], at: int | Ints) -> Values:  # noqa: ARG002
        """Sum over count."""
        total, present = states
        return Values(total / np.maximum(present, 1), present > 0)


class Std(Kernel):
    """Sample standard deviation of the values; NULL of fewer than two."""

    name, result = "std", FLOAT

    def monoids(self, column: str, kind: str, window: int) -> tuple[Monoid, ...]:  # noqa: ARG002
        """Count, mean and squared deviations."""
        return (Moments(column, FLOAT),)

    def value(self, states: Sequence[Array], at: int | Ints) -> Values:  # noqa: ARG002
        """Root of the squared deviations over one less than the count."""
        n, m2 = states[0]["n"], states[0]["m2"]
        return Values(np.sqrt(m2 / np.maximum(n - 1.0, 1.0)), n > 1.0)


class _Extreme(Kernel):
    """A kernel whose state says "nothing" with its identity."""

    monoid: ClassVar[type[Least | Greatest]]

    @cached_property
    def _identities(self) -> dict[str, float | int]:
        """By numpy's letter for the type of the states."""
        return {kind[0]: self.monoid("", kind).identity for kind in (INT, FLOAT)}

    def monoids(self, column: str, kind: str, window: int) -> tuple[Monoid, ...]:  # noqa: ARG002
        return (self.monoid(column, kind),)

    def value(self, states: Sequence[Array], at: int | Ints) -> Values:  # noqa: ARG002
        return Values(states[0], states[0] != self._identities[states[0].dtype.kind])


class Min(_Extreme):
    """Smallest value; NULL of nothing."""

    name, monoid = "min", Least


class Max(_Extreme):
    """Largest value; NULL of nothing."""

    name, monoid = "max", Greatest


class LastEventAt(_Plain):
    """When the last event in the window was, or the last with a value in the column; NULL of nothing."""

    name, needs_column, takes, result = "last_event_at", False, ANYTHING, TIME

    def monoids(self, column: str, kind: str, window: int) -> tuple[Monoid, ...]:  # noqa: ARG002
        """One instant."""
        return (Latest(column, INT),)

    def value(self, states: Sequence[Array], at: int | Ints) -> Values:  # noqa: ARG002
        """Return the instant."""
        return Values(states[0], states[0] != _INT64.min)


class DaysSince(LastEventAt):
    """Days (of 24 hours, with fraction) from the last event to the instant of reading; NULL of nothing.

    It grows between writes: the state is the instant, the value is computed when it is read.
    """

    name, result = "days_since", FLOAT

    def value(self, states: Sequence[Array], at: int | Ints) -> Values:
        """Elapsed time over a day."""
        known = states[0] != _INT64.min
        return Values(np.where(known, at - np.where(known, states[0], at), 0) / float(DAY), known)


class ReadAt(Count):
    """The instant the view is read at, whatever has happened; never NULL.

    On-demand views see no time of their own. Read through a view, it is the spine's instant offline and now online, by
    the one rule that windows end by. The state is a count, of which nothing but the number of entities is read.
    """

    name, result = "read_at", TIME

    def value(self, states: Sequence[Array], at: int | Ints) -> Values:
        """Return the instant itself."""
        return Values(np.broadcast_to(np.asarray(at, np.int64), states[0].shape).copy())


class CountDistinct(Kernel):
    """Number of distinct values; 0 of nothing. At most ``MAX_DISTINCT`` values of one entity."""

    name, takes, result = "count_distinct", frozenset({INT, TEXT, BOOL}), INT

    def monoids(self, column: str, kind: str, window: int) -> tuple[Monoid, ...]:  # noqa: ARG002
        """Hashes of the values."""
        return (Distinct(column, TEXT),)

    def value(self, states: Sequence[Array], at: int | Ints) -> Values:  # noqa: ARG002
        """How many."""
        return Values(states[0])


class LastValue(Kernel):
    """Value of the last event that has one; at one instant, of the greatest event_id; NULL of nothing."""

    name, takes = "last", ANYTHING

    def monoids(self, column: str, kind: str, window: int) -> tuple[Monoid, ...]:  # noqa: ARG002
        """One event."""
        return (Last(column, kind),)

    def value(self, states: Sequence[Array], at: int | Ints) -> Values:  # noqa: ARG002
        """Return its value."""
        return Values(states[0]["value"], states[0]["known"])


class DecayedSum(_Plain):
    """Sum in which a value halves per half-life, over 40 of them; the window is the half-life. 0 of nothing.

    Without a column every event is worth 1: a count of events that decays.
    """

    name, needs_column, result = "decayed_sum", False, FLOAT

    def monoids(self, column: str, kind: str, window: int) -> tuple[Monoid, ...]:  # noqa: ARG002
        """One sum that decays."""
        return (Decayed(column, FLOAT, window),)

    def reach(self, window: int) -> int:
        """Forty half-lives."""
        return HALF_LIVES * window


def kernel_named(function: str) -> Kernel:
    """Look a function up.

    Raises
    ------
    DeclarationError
        No kernel has that name.

    >>> kernel_named("count").name
    'count'
    """
    if function not in KERNELS:
        raise DeclarationError(f"There is no aggregation '{function}'", hint=did_you_mean(function, KERNELS))
    return KERNELS[function]
