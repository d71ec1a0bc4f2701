"""Answers of the SDK as JSON and back.

A value that may be of any type says so where JSON has no word for it: an instant is ``{"time": "2026-11-28T..."}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

TIME = "time"
# Fields whose values are of any type: of a feature, or of an event's column.
_OF_ANY_TYPE = frozenset({"value", "served", "recomputed", "before", "after", "facts"})


def jsonable(value: Any, *, any_type: bool = False) -> Any:
    """Return dataclasses as what JSON knows."""
    if isinstance(value, datetime):
        said = value.isoformat()
        return {TIME: said} if any_type else said
    if is_dataclass(value) and not isinstance(value, type):
        return {
            each.name: jsonable(getattr(value, each.name), any_type=each.name in _OF_ANY_TYPE) for each in fields(value)
        }
    if isinstance(value, Mapping):
        return {name: jsonable(each, any_type=any_type) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [jsonable(each, any_type=any_type) for each in value]
    return value


def value_of(said: Any) -> Any:
    """Return a value of any type.

    Raises
    ------
    ValueError, TypeError, KeyError
        It is none.

    >>> value_of({"time": "2026-01-02T00:00:00+00:00"}).year, value_of(7)
    (2026, 7)
    """
    if isinstance(said, dict):
        return instant_of_text(said[TIME])
    if isinstance(said, list):
        raise TypeError("A list is no value.")
    return said


def instant_of_text(text: str) -> datetime:
    """Return an instant of JSON.

    Raises
    ------
    ValueError
        It is none, or has no zone.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("An instant without a zone.")
    return at
