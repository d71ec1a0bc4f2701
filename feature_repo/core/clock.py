"""The one reader of the wall clock. Instants are integer microseconds since 1970-01-01T00:00:00Z."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Where a job or a reader gets its now from."""

    def now_us(self) -> int:
        """Return microseconds since the epoch, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        """Return microseconds since the epoch, UTC."""
        return time.time_ns() // 1000


@dataclass
class FixedClock:
    """A clock that stands still until it is set; for tests and for replaying an instant."""

    at_us: int

    def now_us(self) -> int:
        """Return the instant the clock was set to."""
        return self.at_us


def to_us(at: datetime) -> int:
    """Microseconds since the epoch of an aware datetime.

    Raises
    ------
    ValueError
        ``at`` is naive: its instant is unknown.

    >>> to_us(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    if at.tzinfo is None:
        raise ValueError(f"{at!r} has no time zone, so its instant is unknown; pass an aware datetime.")
    return (at - _EPOCH) // timedelta(microseconds=1)


def from_us(us: int) -> datetime:
    """Return the aware UTC datetime of an instant.

    >>> from_us(1_000_000).isoformat()
    '1970-01-01T00:00:01+00:00'
    """
    return _EPOCH + timedelta(microseconds=us)


def delta_us(delta: timedelta) -> int:
    """Length of a timedelta in microseconds.

    >>> delta_us(timedelta(hours=1)) == HOUR
    True
    """
    return delta // timedelta(microseconds=1)
