"""Events past their type's retention: they are removed from the log, and must not come back by being sent again.

What has left the log is no longer known there, so an event that came again would be taken for a new one, and be folded
a second time into windows that still reach it.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.core.clock import DAY
from feature_repo.events.log import EVENT_TIMESTAMP

# What is no event, and has an age as well: features that were served.
SERVED = "served"


def kept_since(days: Mapping[str, int], event_type: str, now_us: int) -> int | None:
    """Return the instant (us) before which events of a type are not kept; None of one that is kept for ever.

    >>> kept_since({"view": 2}, "view", now_us=3 * DAY) == DAY, kept_since({}, "view", now_us=0)
    (True, None)
    """
    return now_us - days[event_type] * DAY if event_type in days else None


def within(rows: pa.Table, since_us: int | None) -> pa.Array | None:
    """Return which rows happened at or after an instant, as a mask; None if all may be kept."""
    if since_us is None:
        return None
    return pc.greater_equal(rows[EVENT_TIMESTAMP].cast(pa.int64()), since_us).combine_chunks()
