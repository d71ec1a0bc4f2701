"""Time arithmetic of windows, and nothing else.

A hop ``h`` cuts time into tiles; tile ``k`` covers ``[k*h, (k+1)*h)`` since the epoch. The value at ``t`` of a window
``W`` aggregates events with ``floor_h(t - W) <= ts < t``: the head is exact, the tail rounded down to a whole hop, so
the window is between ``W`` and ``W + h`` long. All quantities are integer microseconds, UTC.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from feature_repo.core.clock import DAY

Int = TypeVar("Int", int, npt.NDArray[np.int64])


def floor(instant: Int, hop: int) -> Int:
    """Return the latest multiple of the hop that is not after the instant.

    >>> floor(7, 5), floor(-1, 5)
    (5, -5)
    """
    return instant - instant % hop


def first_tile(at: Int, window: int, hop: int) -> Int:
    """Index of the oldest tile of the window read at ``at``.

    >>> first_tile(at=12, window=10, hop=5)     # floor_5(2) = 0
    0
    >>> first_tile(at=15, window=10, hop=5)
    1
    """
    return (at - window) // hop


def hop_fits(hop: int) -> bool:
    """Whether a hop divides a day or is a whole number of days.

    >>> from feature_repo.core.clock import HOUR
    >>> hop_fits(HOUR), hop_fits(7 * HOUR), hop_fits(7 * DAY)
    (True, False, True)
    """
    return hop > 0 and (DAY % hop == 0 or hop % DAY == 0)


def floor_sql(us: str, hop: int) -> str:
    """DuckDB expression of the tile index of a BIGINT; ``//`` alone truncates towards zero.

    >>> floor_sql("ts", 5)
    '((ts - ((ts % 5) + 5) % 5) // 5)'
    """
    return f"(({us} - (({us} % {hop}) + {hop}) % {hop}) // {hop})"
