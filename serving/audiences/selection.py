"""What an audience asks of a shopper, as data: comparisons joined by and, or, not.

As in SQL a comparison with an unknown value is neither true nor false but unknown, and so is what rests on it; an
audience holds those of whom the whole is true.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

Number = int | Decimal
Value = str | bool | Number


@dataclass(frozen=True)
class Name:
    """A column as it was written, and where: the place of its first character, from 0."""

    text: str
    at: int


@dataclass(frozen=True)
class Among:
    """The column has one of some values: ``=`` and ``in``. Each value with where it was written."""

    name: Name
    values: tuple[tuple[Value, int], ...]


@dataclass(frozen=True)
class Within:
    """The column's number is between two, both of which belong to it unless said otherwise; None is no bound."""

    name: Name
    low: Number | None = None
    high: Number | None = None
    above: bool = False
    below: bool = False


@dataclass(frozen=True)
class Known:
    """The column has a value: ``is not null``. Never unknown itself."""

    name: Name


@dataclass(frozen=True)
class Always:
    """The same of everybody: ``true`` or ``false``."""

    holds: bool


@dataclass(frozen=True)
class Not:
    """The opposite; of unknown, unknown."""

    part: Selection


@dataclass(frozen=True)
class Both:
    """Both hold: false where one is false, otherwise unknown where one is unknown."""

    left: Selection
    right: Selection


@dataclass(frozen=True)
class Either:
    """One holds: true where one is true, otherwise unknown where one is unknown."""

    left: Selection
    right: Selection


Test = Among | Within | Known
Selection = Test | Always | Not | Both | Either


def tests(selection: Selection) -> Iterator[Test]:
    """Yield what is asked of columns, in the order it was written."""
    if isinstance(selection, Both | Either):
        yield from tests(selection.left)
        yield from tests(selection.right)
    elif isinstance(selection, Not):
        yield from tests(selection.part)
    elif not isinstance(selection, Always):
        yield selection
