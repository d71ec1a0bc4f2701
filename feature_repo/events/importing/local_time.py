"""Local wall time to UTC, with a say in the hour that is missing in spring and the one that comes twice in autumn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from feature_repo.core.clock import DAY
from feature_repo.events.wall_clock import Instants, offset_at, offset_changes

# Instants that a log may hold: 1970 until the zone rules of 2100.
FIRST = 0
LAST = 47_482 * DAY

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Placed:
    """UTC instants of local times.

    Attributes
    ----------
    earlier, later
        Microseconds: the same, but for a time that comes twice. A time that does not exist is where it would have been
        if the clock had not been moved: both are that.
    skipped, twice
        Which times do not exist, and which come twice.
    """

    earlier: Instants
    later: Instants
    skipped: Flags
    twice: Flags


def place(walls: Instants, zone: str) -> Placed:
    """Find the UTC instants of wall times given in microseconds as if the wall were UTC.

    >>> spring = np.array([1_711_850_400, 1_711_854_000]) * 1_000_000  # 31 March 2024, 02:00 and 03:00
    >>> placed = place(spring, "Europe/Berlin")
    >>> placed.skipped.tolist(), ((placed.earlier - spring) // 1_000_000).tolist()
    ([True, False], [-3600, -7200])
    """
    starts, offsets = _pieces(zone)
    piece = np.maximum(np.searchsorted(starts + offsets, walls, side="right") - 1, 0)
    later = walls - offsets[piece]
    before = np.maximum(piece - 1, 0)
    earlier = walls - offsets[before]
    twice = (piece > 0) & (earlier < starts[piece])
    ends = np.append(starts[1:], np.iinfo(np.int64).max)
    return Placed(np.where(twice, earlier, later), later, later >= ends[piece], twice)


@cache
def _pieces(zone: str) -> tuple[Instants, Instants]:
    """Where each offset of a zone begins (UTC), and the offset, in microseconds."""
    region = ZoneInfo(zone)
    changes = offset_changes(region, FIRST, LAST)
    starts = [FIRST - DAY, *(change for change, _, _ in changes)]
    offsets = [offset_at(region, FIRST), *(after for _, _, after in changes)]
    return np.array(starts, np.int64), np.array(offsets, np.int64)
