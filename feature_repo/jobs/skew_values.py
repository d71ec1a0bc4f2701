"""Values as they are compared: what was served, and what the offline store says of it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from feature_repo.core.clock import SECOND
from feature_repo.jobs.both_sides import TOLERANCE, distance, same


def differ(served: Any, offline: Any) -> bool:
    """Whether two values differ by more than the noise of floats.

    >>> differ(1.0, 1.0 + 1e-12), differ(1.0, None), differ(3, 4)
    (False, True, True)
    """
    if same(offline, served):
        return False
    size = max([1.0, *(abs(each) for each in (served, offline) if isinstance(each, float))])
    return distance(offline, served) > TOLERANCE * size


def values_of(column: pa.ChunkedArray, *, seconds: bool = False) -> list[Any]:
    """Return plain values; times in microseconds, of ordinary views cut to seconds, as Feast stores them."""
    if not pa.types.is_timestamp(column.type):
        return list(column.to_pylist())
    unit = SECOND if seconds else 1
    times = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist()
    return [None if at is None else at // unit * unit for at in times]
