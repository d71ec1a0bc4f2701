"""What a shop says of an event, checked: the columns the stream carries, or why it cannot be taken."""

from __future__ import annotations

import numbers
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

from feature_repo.core.errors import did_you_mean
from feature_repo.events.cleaning import USER_ID
from feature_repo.events.log import EVENT_ID, EVENT_TIMESTAMP, INGESTED_AT
from feature_repo.events.schema import TABLES, Record, arrow_schema
from feature_repo.events.stream.values import OutOfRangeError, WrongTypeError, checkers, text

EVENT_TYPE = "event_type"

_NAMES = {declared: name for name, declared in TABLES.items()}
_WORD = re.compile(r"[A-Za-z][A-Za-z_]{0,39}")

# What the collector fills in where it is not said, or says itself.
_FILLED = {EVENT_ID, EVENT_TIMESTAMP, INGESTED_AT}


class RejectedError(Exception):
    """An event that cannot be taken.

    Parameters
    ----------
    reason
        Short and countable, as in quarantine.
    message
        What is wrong and what to do; quotes no value.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Intake(NamedTuple):
    """One event: its type, and its columns without those that are NULL. ``user_id`` is as given, an id."""

    event_type: str
    row: dict[str, Any]


def check(event: object) -> Intake:
    """Check what is said of an event.

    Parameters
    ----------
    event
        A mapping with ``event_type`` and columns of that type, or an instance of a class of :mod:`events.schema`.
        Instants are aware datetimes, ISO 8601 with a time zone, or integer microseconds since the epoch.

    Raises
    ------
    RejectedError
        There is no such type or column, a value is not of its column's type, or a required column is missing.
    """
    event_type, said = _said(event)
    checks = checkers(event_type)
    row: dict[str, Any] = {}
    for name, value in said.items():
        if value is None or name == EVENT_TYPE:
            continue
        checker = checks.get(name)
        if checker is None:
            raise RejectedError("unknown_column", _unknown_column(event_type, name))
        try:
            kept = user(value) if name == USER_ID else checker(value)
        except WrongTypeError:
            raise RejectedError(f"wrong_type_{name}", _wrong_type(event_type, name)) from None
        except OutOfRangeError:
            raise RejectedError(f"out_of_range_{name}", _out_of_range(event_type, name)) from None
        if kept is not None and (type(kept) is not str or kept.strip()):
            row[name] = kept
    for name in _required(event_type):
        if name not in row:
            raise RejectedError(f"missing_{name}", f"Event '{event_type}' needs '{name}'; give it a value.")
    return Intake(event_type, row)


def user(value: object) -> str:
    """Return an id of a shopper as text.

    Raises
    ------
    WrongTypeError
        It is neither a text nor an integer.
    """
    if not isinstance(value, (str, bool)) and isinstance(value, numbers.Integral):
        return str(int(value))
    return text(value)


def _said(event: object) -> tuple[str, Mapping[Any, Any]]:
    if isinstance(event, Record):
        return _NAMES[type(event)], event.model_dump(exclude_none=True)
    if not isinstance(event, Mapping):
        raise RejectedError("not_an_object", "An event is an object with 'event_type' and the columns of its type.")
    event_type = event.get(EVENT_TYPE)
    if event_type is None:
        raise RejectedError("missing_event_type", "An event needs 'event_type', for example 'purchase'.")
    if not isinstance(event_type, str) or event_type not in TABLES:
        found = _quoted(event_type)
        raise RejectedError(
            "unknown_event_type", f"There is no event type{found}: {_meant(str(event_type) if found else '')}"
        )
    return event_type, event


def _unknown_column(event_type: str, name: object) -> str:
    found = _quoted(name)
    return f"Event '{event_type}' has no such column{found}: {_meant(str(name) if found else '', event_type)}"


@lru_cache(maxsize=1_000)  # whoever slips, slips in every event
def _meant(word: str, event_type: str = "") -> str:
    return did_you_mean(word, arrow_schema(event_type).names if event_type else TABLES)


def _wrong_type(event_type: str, name: str) -> str:
    words = "a text or an integer" if name == USER_ID else _WORDS[str(arrow_schema(event_type).field(name).type)]
    return f"Column '{name}' of event '{event_type}' must be {words}."


def _out_of_range(event_type: str, name: str) -> str:
    words = _RANGES[str(arrow_schema(event_type).field(name).type)]
    return f"Column '{name}' of event '{event_type}' must be {words}."


def _quoted(name: object) -> str:
    """A name that may be a slip of the pen; anything else may be a person's id, and is not repeated."""
    return f" '{name}'" if isinstance(name, str) and _WORD.fullmatch(name) else ""


@cache
def _required(event_type: str) -> tuple[str, ...]:
    return tuple(f.name for f in arrow_schema(event_type) if not f.nullable and f.name not in _FILLED)


_WORDS = {
    "string": "a text",
    "int64": "a whole number",
    "double": "a number",
    "bool": "true or false",
    "timestamp[us, tz=UTC]": "an instant: ISO 8601 with a time zone, or microseconds since 1970",
}
_RANGES = {
    "int64": "between -2^53 and 2^53",
    "timestamp[us, tz=UTC]": "in the years 1 to 9999; integers are microseconds since 1970",
}
