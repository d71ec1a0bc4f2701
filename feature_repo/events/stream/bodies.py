"""JSON bodies of one event type as a table: all at once, or one by one where that fails."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import json as arrow_json

from feature_repo.events.cleaning import USER_ID
from feature_repo.events.schema import arrow_schema
from feature_repo.events.stream.unreadable import Unread
from feature_repo.events.stream.values import OutOfRangeError, WrongTypeError, readers
from feature_repo.privacy.pseudonyms import is_pseudonym

# Random, so that no body can hold the number of another.
_NUMBER = f"_{secrets.token_hex(4)}"


def read_together(bodies: Sequence[bytes], event_type: str) -> pa.Table | None:
    """Return the rows of bodies, in order: all columns of the type, what else they say left out.

    None if any of them is not one object in the form `Message` promises: then :func:`read_each` finds out which.
    """
    try:
        key = _NUMBER.encode()
        numbered = b"\n".join([b'{"%b":%d,' % (key, n) + _inside(body) for n, body in enumerate(bodies)])
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
    # One body may hold two objects, and others one together: their rows would be taken for each other's.
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
    for name, read in readers(event_type).items():
        value = found.get(name)
        if value is None:
            continue
        try:
            row[name] = read(value)
        except WrongTypeError:
            return Unread(f"wrong_type_{name}", _user(found))
        except OutOfRangeError:
            return Unread(f"out_of_range_{name}", _user(found))
    return row


def _user(found: Mapping[str, Any]) -> str | None:
    user = found.get(USER_ID)
    return user if isinstance(user, str) and is_pseudonym(user) else None
