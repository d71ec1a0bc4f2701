"""Aggregation functions, as monoids.

A :class:`Monoid` is one column of state: how raw events of a tile become it, how states merge, what nothing is. It is
said twice, in SQL for the offline store and in numpy for the online one; the laws and parity tests hold the two equal.
A :class:`Kernel` is a function users name in a declaration: the monoids it needs and how their merged state becomes a
value. Kernels over the same column share monoids: ``mean`` and ``sum`` of one column store one sum.

To add an aggregation, add one kernel class to this file, and a monoid if no present one serves: a class registers
itself under its name. ``engine/oracle.py`` says in one line what it means, and the tests hold the two to each other.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from feature_repo.core.clock import DAY
from feature_repo.core.errors import DeclarationError, did_you_mean

Array = npt.NDArray[Any]

INT = "i8"
FLOAT = "f8"
TIME = "time"
SQL_TYPES = {INT: "BIGINT", FLOAT: "DOUBLE"}
_INT64 = np.iinfo(np.int64)


KERNELS: dict[str, Kernel] = {}
MONOIDS: dict[str, type[Monoid]] = {}


@dataclass(frozen=True)
class Monoid:
    """One column of a tile's state.

    Attributes
    ----------
    column
        Event column it reads; empty for whole rows.
    kind
        ``"i8"`` or ``"f8"``: the state's numpy type; the input is cast to it.
    """

    column: str
    kind: str

    name: ClassVar[str]
    ufunc: ClassVar[np.ufunc]
    lift: ClassVar[str] = ""
    merge: ClassVar[str]

    def __init_subclass__(cls) -> None:
        """Register the class under its name."""
        MONOIDS[cls.name] = cls

    @property
    def key(self) -> str:
        """Name of the state column, e.g. ``sum.f8(amount)``; equal keys are the same state."""
        return f"{self.name}.{self.kind}({self.column})"

    @property
    def identity(self) -> float | int:
        """State of no events."""
        return 0

    def lift_sql(self, column: str, *, ts: str, event_id: str, about: str) -> str:  # noqa: ARG002
        """SQL aggregate over raw events.

        ``column``, ``ts`` (BIGINT us) and ``event_id`` (VARCHAR) are input columns, ``about`` the instant (BIGINT us)
        the state refers to, for states that mean something else an hour later.
        """
        value = f"CAST({column} AS {SQL_TYPES[self.kind]})" if self.column else ""
        return f"CAST(coalesce({self.lift.format(x=value, ts=ts)}, {self.identity_sql}) AS {SQL_TYPES[self.kind]})"

    def merge_sql(self, state: str, *, condition: str, about: str) -> str:  # noqa: ARG002
        """SQL aggregate over the states for which ``condition`` holds, referring to the instant ``about``."""
        merged = f"{self.merge}({state}) FILTER (WHERE {condition})"
        return f"CAST(coalesce({merged}, {self.identity_sql}) AS {SQL_TYPES[self.kind]})"

    @property
    def identity_sql(self) -> str:
        """The identity as a typed SQL literal."""
        return f"'{self.identity}'::{SQL_TYPES[self.kind]}"

    def reduce(self, states: Array, starts: Array) -> Array:
        """Merge runs of states; run ``i`` is ``states[starts[i]:starts[i + 1]]``, none is empty."""
        merged: Array = self.ufunc.reduceat(states, starts)
        return merged


class Rows(Monoid):
    """How many events."""

    name, ufunc, lift, merge = "rows", np.add, "count(*)", "sum"


class Present(Monoid):
    """How many events have a value, of whatever type."""

    name, ufunc, merge = "present", np.add, "sum"

    def lift_sql(self, column: str, *, ts: str, event_id: str, about: str) -> str:  # noqa: ARG002
        """SQL aggregate over raw events; the column is not cast, as any type can be counted."""
        return f"count({column})"


class Total(Monoid):
    """Sum of the values."""

    name, ufunc, lift, merge = "sum", np.add, "sum({x})", "sum"


class Least(Monoid):
    """Smallest value; the identity is the type's largest, which the door keeps out of the log."""

    name, ufunc, lift, merge = "min", np.minimum, "min({x})", "min"

    @property
    def identity(self) -> float | int:
        """State of no events."""
        return float("inf") if self.kind == FLOAT else int(_INT64.max)


class Greatest(Monoid):
    """Largest value; the identity is the type's smallest, which the door keeps out of the log."""

    name, ufunc, lift, merge = "max", np.maximum, "max({x})", "max"

    @property
    def identity(self) -> float | int:
        """State of no events."""
        return float("-inf") if self.kind == FLOAT else int(_INT64.min)


class Latest(Greatest):
    """When the last event was, in microseconds since the epoch; over a column, the last event with a value in it."""

    name = "latest"

    def lift_sql(self, column: str, *, ts: str, event_id: str, about: str) -> str:  # noqa: ARG002
        """SQL aggregate over raw events."""
        known = f" FILTER (WHERE {column} IS NOT NULL)" if self.column else ""
        return f"coalesce(max({ts}){known}, {self.identity_sql})"


@dataclass(frozen=True)
class Values:
    """Values of one feature, an element per row.

    Attributes
    ----------
    data
        int64 or float64; anything where ``valid`` is False.
    valid
        False where the value is NULL; None when no value is.
    """

    data: Array
    valid: npt.NDArray[np.bool_] | None = None

    def as_float(self) -> npt.NDArray[np.float64]:
        """float64 with NaN for NULL: the form a model reads."""
        data: npt.NDArray[np.float64] = self.data.astype(np.float64)
        if self.valid is not None:
            data[~self.valid] = np.nan
        return data


class Kernel(ABC):
    """An aggregation function by the name a declaration gives it.

    Attributes
    ----------
    name
        Function name in a Feast ``Aggregation``.
    needs_column
        Whether it must name a column; the others read whole events, or those with a value in the column.
    result
        ``"i8"``, ``"f8"``, ``"time"`` (microseconds since the epoch), or None for the input's own type.
    """

    name: ClassVar[str]
    needs_column: ClassVar[bool] = True
    result: ClassVar[str | None] = None

    def __init_subclass__(cls) -> None:
        """Register the function, if the class names one."""
        if "name" in vars(cls):
            KERNELS[cls.name] = cls()

    @abstractmethod
    def monoids(self, column: str, kind: str) -> tuple[Monoid, ...]:
        """State the function needs over ``column``, whose result has ``kind``."""

    @abstractmethod
    def value(self, states: Sequence[Array], at: int) -> Values:
        """Values from merged states, one array per monoid, read at instant ``at`` (us)."""

    @abstractmethod
    def value_sql(self, states: Sequence[str], at: str, kind: str) -> str:
        """Return the same as a SQL expression.

        ``states`` are merged state columns, ``at`` the instant (BIGINT us), ``kind`` that of the result.
        """


class _Plain(Kernel):
    """A kernel whose value is its one merged state."""

    def value(self, states: Sequence[Array], at: int) -> Values:  # noqa: ARG002
        return Values(states[0])

    def value_sql(self, states: Sequence[str], at: str, kind: str) -> str:  # noqa: ARG002
        return states[0]


class Count(_Plain):
    """Number of events, or of events with a value in the column; 0 of nothing."""

    name, needs_column, result = "count", False, INT

    def monoids(self, column: str, kind: str) -> tuple[Monoid, ...]:  # noqa: ARG002
        """One count."""
        return (Present(column, INT),) if column else (Rows("", INT),)


class Sum(_Plain):
    """Sum of the values; 0 of nothing, integers stay integers."""

    name = "sum"

    def monoids(self, column: str, kind: str) -> tuple[Monoid, ...]:
        """One sum."""
        return (Total(column, kind),)


class Mean(Kernel):
    """Arithmetic mean of the values; NULL of nothing."""

    name, result = "mean", FLOAT

    def monoids(self, column: str, kind: str) -> tuple[Monoid, ...]:  # noqa: ARG002
        """Sum and count of the values."""
        return (Total(column, FLOAT), Present(column, INT))

    def value(self, states: Sequence[Array], at: int) -> Values:  # noqa: ARG002
        """Sum over count."""
        total, present = states
        return Values(total / np.maximum(present, 1), present > 0)

    def value_sql(self, states: Sequence[str], at: str, kind: str) -> str:  # noqa: ARG002
        """Sum over count."""
        return f"{states[0]} / nullif({states[1]}, 0)"


class _Extreme(Kernel):
    """A kernel whose state says "nothing" with its identity."""

    monoid: ClassVar[type[Monoid]]

    def monoids(self, column: str, kind: str) -> tuple[Monoid, ...]:
        return (self.monoid(column, kind),)

    def value(self, states: Sequence[Array], at: int) -> Values:  # noqa: ARG002
        return Values(states[0], states[0] != self._nothing(states[0].dtype))

    def value_sql(self, states: Sequence[str], at: str, kind: str) -> str:  # noqa: ARG002
        return f"nullif({states[0]}, {self.monoids('', kind)[0].identity_sql})"

    def _nothing(self, dtype: np.dtype[Any]) -> float | int:
        return self.monoid("", FLOAT if dtype.kind == "f" else INT).identity


class Min(_Extreme):
    """Smallest value; NULL of nothing."""

    name, monoid = "min", Least


class Max(_Extreme):
    """Largest value; NULL of nothing."""

    name, monoid = "max", Greatest


class LastEventAt(_Extreme):
    """When the last event in the window was, or the last with a value in the column; NULL of nothing."""

    name, needs_column, result, monoid = "last_event_at", False, TIME, Latest

    def monoids(self, column: str, kind: str) -> tuple[Monoid, ...]:  # noqa: ARG002
        """One instant."""
        return (Latest(column, INT),)


class DaysSince(LastEventAt):
    """Days (of 24 hours, with fraction) from the last event to the instant of reading; NULL of nothing.

    It grows between writes: the state is the instant, the value is computed when it is read.
    """

    name, result = "days_since", FLOAT

    def value(self, states: Sequence[Array], at: int) -> Values:
        """Elapsed time over a day."""
        last = super().value(states, at)
        elapsed = np.where(last.data != self._nothing(last.data.dtype), at - last.data, 0)
        return Values(elapsed / float(DAY), last.valid)

    def value_sql(self, states: Sequence[str], at: str, kind: str) -> str:
        """Elapsed time over a day."""
        return f"CAST({at} - {super().value_sql(states, at, kind)} AS DOUBLE) / {DAY}.0"


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


_KEY = re.compile(r"(?P<name>\w+)\.(?P<kind>i8|f8)\((?P<column>.*)\)")


def monoid_of(key: str) -> Monoid:
    """Return the monoid a state column's key names.

    Raises
    ------
    DeclarationError
        The key is none this version knows.

    >>> monoid_of("sum.f8(amount)").column
    'amount'
    """
    found = _KEY.fullmatch(key)
    if found is None or found["name"] not in MONOIDS:
        raise DeclarationError(
            f"A stored state column is '{key}', which this version does not know.",
            hint="rebuild the state: `portrait jobs materialize --full`.",
        )
    return MONOIDS[found["name"]](found["column"], found["kind"])
