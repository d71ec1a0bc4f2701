"""What a consumer did, and how fresh what it wrote was: counts since it started, rates and quantiles of late."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from feature_repo.core.clock import HOUR, SECOND

# An event that arrives so long after it happened is counted as late.
LATE_US = HOUR

# Rates and quantiles are over so much of the past.
_RECENT_US = 60 * SECOND

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """What a consumer says of itself.

    Attributes
    ----------
    events
        Events committed since it started.
    events_per_s
        Over its last minute, or since it started.
    lag
        Entries of its partitions that are not committed and folded yet.
    freshness_ms
        ``p50`` and ``p99`` of arrival to visible, over the last minute; None without events.
    late
        Events that arrived more than an hour after they happened.
    duplicates
        Events the log held already.
    replayed
        Entries that were read again after a crash or a take-over, and were in the log.
    quarantined
        Refused events, by reason.
    erased
        Events of erased shoppers, dropped.
    expired
        Events older than the retention of their type, dropped.
    """

    events: int
    events_per_s: float
    lag: int
    freshness_ms: dict[str, float | None]
    late: int
    duplicates: int
    replayed: int
    quarantined: dict[str, int]
    erased: int
    expired: int


@dataclass
class _Batch:
    at: int
    events: int
    waited: Ints


@dataclass
class Meter:
    """Counts what a consumer does; all instants in microseconds."""

    started: int
    late: int = 0
    events: int = 0
    duplicates: int = 0
    replayed: int = 0
    erased: int = 0
    expired: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    _batches: deque[_Batch] = field(default_factory=deque)

    def visible(self, at: int, events: int, arrived: Ints) -> None:
        """Note a micro-batch that can be read since ``at``, and when its entries had arrived."""
        self.events += events
        # Clocks of broker and consumer may differ by some milliseconds.
        self._batches.append(_Batch(at, events, np.maximum(at - arrived, 0)))
        while self._batches and self._batches[0].at < at - _RECENT_US:
            self._batches.popleft()

    def read(self, at: int, lag: int) -> Reading:
        """Return what there is to say at an instant."""
        recent = [batch for batch in self._batches if batch.at >= at - _RECENT_US]
        since = max(self.started, at - _RECENT_US)
        waited = np.concatenate([batch.waited for batch in recent]) if recent else np.zeros(0, np.int64)
        quantiles = np.percentile(waited, [50, 99]) / 1_000 if len(waited) else [None, None]
        return Reading(
            events=self.events,
            events_per_s=sum(batch.events for batch in recent) * SECOND / max(at - since, 1),
            lag=lag,
            freshness_ms={"p50": _rounded(quantiles[0]), "p99": _rounded(quantiles[1])},
            late=self.late,
            duplicates=self.duplicates,
            replayed=self.replayed,
            quarantined=dict(sorted(self.quarantined.items())),
            erased=self.erased,
            expired=self.expired,
        )


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(float(milliseconds), 1)
