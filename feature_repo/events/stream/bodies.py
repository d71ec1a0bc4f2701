"""JSON bodies of one event type as a table: all at once, or one by one where that fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import json as arrow_json

from feature_repo.core.clock import to_us
from feature_repo.events.cleaning import USER_ID
from feature_repo.events.schema import arrow_schema
from feature_repo.events.stream.unreadable import Unread
from feature_repo.privacy.pseudonyms import is_pseudonym

_NUMBER = "_n"
_INT64_MIN, _INT64_END = -(2**63), 2**63


class _WrongTypeError(Exception):
    """A value is not of its column's type."""


class _OutOfRangeError(Exception):
    """A number that 64 bits cannot hold."""


def read_together(bodies: Sequence[bytes], event_type: str) -> pa.Table | None:
    """Return the rows of bodies, in order: all columns of the type, what else they say left out.

    None if any of them is not one object in the form `Message` promises: then :func:`read_each` finds out which.
    """
    try:
        numbered = b"\n".join([b'{"_n":%d,' % n + _inside(body) for n, body in enumerate(bodies)])
        numbered.decode()  # Arrow does not look
        table = arrow_json.read_json(
            pa.BufferReader(numbered),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(numbered) + 1),
            parse_options=arrow_json.ParseOptions(
                explicit_schema=_schema(event_type), unexpected_field_behavior="ignore"
            ),
        )
    except (pa.ArrowException, ValueError, OverflowError):
        return None
    # One body may hold two objects, and a row too many would move its neighbours.
    numbers = table[_NUMBER]
    if numbers.null_count or not np.array_equal(numbers.to_numpy(), np.arange(len(bodies))):
        return None
    return _with_instants(table.drop_columns([_NUMBER]), event_type)


def read_each(bodies: Sequence[bytes], event_type: str) -> tuple[pa.Table, dict[int, Unread]]:
    """Return the rows of the bodies that can be read, in order, and by their number why the others cannot.

    More forms are understood than those that are read at once: instants as ISO 8601 with a time zone, whole numbers
    written ``5.0``, and ``NaN``.
    """
    unread: dict[int, Unread] = {}
    rows: list[dict[str, Any]] = []
    for n, body in enumerate(bodies):
        found = _row(body, event_type)
        if isinstance(found, Unread):
            unread[n] = found
        else:
            rows.append(found)
    columns = {
        field.name: pa.array([row.get(field.name) for row in rows], field.type)
        for field in _schema(event_type)
        if field.name != _NUMBER
    }
    return _with_instants(pa.table(columns), event_type), unread


def _inside(body: bytes) -> bytes:
    if not body.startswith(b"{"):
        raise ValueError
    return body[1:]


@cache
def _schema(event_type: str) -> pa.Schema:
    """Columns as they are read: nothing is required yet, and instants are numbers."""
    columns = [
        pa.field(field.name, pa.int64() if pa.types.is_timestamp(field.type) else field.type)
        for field in arrow_schema(event_type)
    ]
    return pa.schema([pa.field(_NUMBER, pa.int64()), *columns])


def _with_instants(table: pa.Table, event_type: str) -> pa.Table:
    declared = arrow_schema(event_type)
    columns = [table[field.name].cast(field.type) for field in declared]
    return pa.table(columns, names=declared.names)


def _row(body: bytes, event_type: str) -> dict[str, Any] | Unread:
    try:
        found = json.loads(body.decode())
    except (ValueError, RecursionError):
        return Unread("not_json")
    if not isinstance(found, dict):
        return Unread("not_an_object")
    row: dict[str, Any] = {}
    for name, convert in _converters(event_type).items():
        value = found.get(name)
        if value is None:
            continue
        try:
            row[name] = convert(value)
        except _WrongTypeError:
            return Unread(f"wrong_type_{name}", _user(found))
        except _OutOfRangeError:
            return Unread(f"out_of_range_{name}", _user(found))
    return row


def _user(found: Mapping[str, Any]) -> str | None:
    user = found.get(USER_ID)
    return user if isinstance(user, str) and is_pseudonym(user) else None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _WrongTypeError
    try:
        value.encode()
    except UnicodeEncodeError:  # half a character
        raise _WrongTypeError from None
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _WrongTypeError
    if isinstance(value, float) and not value.is_integer():
        raise _WrongTypeError
    number = int(value)
    if not _INT64_MIN <= number < _INT64_END:
        raise _OutOfRangeError
    return number


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _WrongTypeError
    try:
        return float(value)
    except OverflowError:
        return float("inf")  # as the same number with an exponent; it becomes NULL


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _WrongTypeError
    return value


def _instant(value: Any) -> int:
    if not isinstance(value, str):
        return _whole(value)
    try:
        return to_us(datetime.fromisoformat(value))
    except (ValueError, OverflowError):  # no instant, or without a time zone
        raise _WrongTypeError from None


@cache
def _converters(event_type: str) -> dict[str, Callable[[Any], Any]]:
    return {field.name: _CONVERTERS[field.type] for field in arrow_schema(event_type)}


_CONVERTERS: dict[pa.DataType, Callable[[Any], Any]] = {
    pa.string(): _text,
    pa.int64(): _whole,
    pa.float64(): _number,
    pa.bool_(): _truth,
    pa.timestamp("us", "UTC"): _instant,
}
