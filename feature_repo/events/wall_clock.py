"""Local wall time as one steady scale, so that history can be moved by whole weeks and keep its hours.

Local time is not a scale: an hour is missing in spring and one comes twice in autumn, so moving events along it could
lose, swap or merge them. Here the hours around a change are stretched instead: in spring one hour of real time covers
two of the wall (01:00 to 03:00 in New York), in autumn two hours of real time cover one (01:00 to 02:00). Real time
and the wall then correspond one to one, in order, and agree with the clock on the wall at every other time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from feature_repo.core.clock import DAY, SECOND, delta_us, from_us

Instants: TypeAlias = npt.NDArray[np.int64]

WEEK = 7 * DAY


@dataclass(frozen=True)
class WallClock:
    """The wall clock of a time zone between two instants, as straight pieces.

    Attributes
    ----------
    utc, wall
        Microseconds since the epoch where a piece begins, on either scale.
    utc_share, wall_share
        Lengths of a piece on either scale, in lowest terms: 1:1, and 1:2 or 2:1 around a change.
    """

    utc: Instants
    wall: Instants
    utc_share: Instants
    wall_share: Instants

    def to_wall(self, instants: Instants) -> Instants:
        """Wall time, in microseconds as if the wall were UTC, of UTC instants in microseconds."""
        piece = np.maximum(np.searchsorted(self.utc, instants, side="right") - 1, 0)
        return self.wall[piece] + (instants - self.utc[piece]) * self.wall_share[piece] // self.utc_share[piece]

    def to_utc(self, walls: Instants) -> Instants:
        """UTC instants of wall times: the inverse of `to_wall`, exact for whole seconds."""
        piece = np.maximum(np.searchsorted(self.wall, walls, side="right") - 1, 0)
        return self.utc[piece] + (walls - self.wall[piece]) * self.utc_share[piece] // self.wall_share[piece]


def wall_clock(zone: str, *, first_us: int, last_us: int) -> WallClock:
    """Build the wall clock of a time zone for the instants in ``[first_us, last_us]``.

    Parameters
    ----------
    zone
        IANA name of a time zone whose changes are all by whole seconds.

    >>> clock = wall_clock("America/New_York", first_us=0, last_us=DAY)
    >>> clock.to_wall(np.array([5 * 3600 * SECOND])).tolist()
    [0]
    """
    region = ZoneInfo(zone)
    first = first_us - DAY
    start = (first, first + offset_at(region, first), 1, 1)
    pieces = [start, *(piece for change in offset_changes(region, first, last_us + DAY) for piece in _pieces(*change))]
    utc, wall, utc_share, wall_share = (np.array(column, np.int64) for column in zip(*pieces, strict=True))
    return WallClock(utc=utc, wall=wall, utc_share=utc_share, wall_share=wall_share)


def offset_at(region: ZoneInfo, at: int) -> int:
    """Offset from UTC of a zone's wall at an instant, both in microseconds."""
    return delta_us(from_us(at).astimezone(region).utcoffset() or timedelta(0))


def offset_changes(region: ZoneInfo, first: int, last: int) -> list[tuple[int, int, int]]:
    """Each change of the offset between two instants: its first instant, the offset before, the offset after."""
    days = range(first, last, DAY)
    offsets = [offset_at(region, day) for day in days]
    return [
        (_change_within(region, days[n], days[n + 1]), offsets[n], offsets[n + 1])
        for n in range(len(days) - 1)
        if offsets[n] != offsets[n + 1]
    ]


def _change_within(region: ZoneInfo, low: int, high: int) -> int:
    before = offset_at(region, low)
    whole = range(low - low % SECOND, high + SECOND, SECOND)
    left, right = 0, len(whole) - 1
    while right - left > 1:
        middle = (left + right) // 2
        left, right = (middle, right) if offset_at(region, whole[middle]) == before else (left, middle)
    return whole[right]


def _pieces(change: int, before: int, after: int) -> list[tuple[int, int, int, int]]:
    """The stretched piece around a change, and the plain one behind it."""
    length = abs(after - before)
    begin, end, shares = (
        (change - length, change, (1, 2)) if after > before else (change - length, change + length, (2, 1))
    )
    return [(begin, begin + before, *shares), (end, end + after, 1, 1)]
