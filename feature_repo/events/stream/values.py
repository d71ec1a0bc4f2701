"""One value of a column as it may be said in JSON or Python, as the log keeps it."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pyarrow as pa

from feature_repo.core.clock import to_us
from feature_repo.events.records import INT_MAX, INT_MIN
from feature_repo.events.schema import arrow_schema

Convert = Callable[[Any], Any]

_INT64_MIN, _INT64_END = -(2**63), 2**63
_FIRST_US, _LAST_US = to_us(datetime(1, 1, 1, tzinfo=UTC)), to_us(datetime.max.replace(tzinfo=UTC))


class WrongTypeError(Exception):
    """A value is not of its column's type."""


class OutOfRangeError(Exception):
    """A number is larger or smaller than its column can hold."""


@cache
def readers(event_type: str) -> dict[str, Convert]:
    """Return for each column of a type what reads a value of it: anything that 64 bits can hold.

    A reader raises `WrongTypeError` or `OutOfRangeError`; instants become integer microseconds, a number that is not
    finite None.
    """
    return {field.name: _READERS[field.type] for field in arrow_schema(event_type)}


@cache
def checkers(event_type: str) -> dict[str, Convert]:
    """Return for each column of a type what reads a value of it: what the log keeps, as `cleaning.faults` says."""
    return {field.name: _CHECKERS[field.type] for field in arrow_schema(event_type)}


def text(value: Any) -> str:
    """Return a text.

    Raises
    ------
    WrongTypeError
        It is none, or holds half a character.
    """
    if not isinstance(value, str):
        raise WrongTypeError
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise WrongTypeError from None
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:  # most are
        if isinstance(value, bool) or not isinstance(value, (float, numbers.Integral)) or value % 1:  # NaN too
            raise WrongTypeError
        value = int(value)
    if not _INT64_MIN <= value < _INT64_END:
        raise OutOfRangeError
    return int(value)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise WrongTypeError
    try:
        number = float(value)
    except OverflowError:  # as the same number with an exponent
        return None
    return number if math.isfinite(number) else None


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise WrongTypeError
    return value


def _instant(value: Any) -> int:
    if not isinstance(value, (str, datetime)):
        return _whole(value)
    try:
        return int(to_us(datetime.fromisoformat(value) if isinstance(value, str) else value))
    except (ValueError, OverflowError):  # no instant, or without a time zone
        raise WrongTypeError from None


def _count(value: Any) -> int:
    number = _whole(value)
    if not INT_MIN <= number <= INT_MAX:
        raise OutOfRangeError
    return number


def _moment(value: Any) -> int:
    at = _instant(value)
    if not _FIRST_US <= at <= _LAST_US:
        raise OutOfRangeError
    return at


_INSTANT = pa.timestamp("us", "UTC")
_READERS: dict[pa.DataType, Convert] = {
    pa.string(): text,
    pa.int64(): _whole,
    pa.float64(): _number,
    pa.bool_(): _truth,
    _INSTANT: _instant,
}
_CHECKERS: dict[pa.DataType, Convert] = {**_READERS, pa.int64(): _count, _INSTANT: _moment}
