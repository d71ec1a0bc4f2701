"""What a server does, for Prometheus: ``/metrics``. Of all its processes, from their start; no shopper is named in it.

Several processes add up in files of a directory. The library is told of it by ``SHARED``, which Feast sets as well, for
itself; that there are several is said by ``TOGETHER``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from serving.features import Features
from serving.models import Scores
from serving.profile import Profile
from serving.transport import PROFILE

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

SHARED = "PROMETHEUS_MULTIPROC_DIR"
TOGETHER = "PORTRAIT_METRICS_TOGETHER"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_TENTHS = tuple(n / 10 for n in range(1, 11))


class _Distribution(Histogram):
    """A histogram that takes many values at once: one by one they took longer than the answer's JSON."""

    _upper_bounds: list[float]
    _buckets: list[Any]
    _sum: Any

    def observe_all(self, values: npt.NDArray[np.float64]) -> None:
        """Count values, each in the first bucket whose bound it does not exceed."""
        bucket = np.searchsorted(self._upper_bounds, values, side="left")
        for i, count in enumerate(np.bincount(bucket, minlength=len(self._buckets)).tolist()):
            if count:
                self._buckets[i].inc(count)
        self._sum.inc(float(values.sum()))


class Metrics:
    """Counts what is asked and answered.

    Attributes
    ----------
    seconds
        Time of each request, by route and status.
    asked, unknown, missing
        Rows that were asked about, rows about nobody the store knows, NULLs among their features; by service or task.
    degraded
        Rows that were answered without Redis; by service or task.
    scores
        Distribution of what a model says, by task: of probabilities; of other numbers all lies in the last bucket.
    models
        1 for each version that answered.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.seconds = Histogram(
            "portrait_http_seconds", "Time to answer.", ("route", "status"), buckets=_SECONDS, registry=self.registry
        )
        self.asked = Counter("portrait_rows", "Rows asked about.", ("of",), registry=self.registry)
        self.unknown = Counter("portrait_rows_unknown", "Rows about nobody known.", ("of",), registry=self.registry)
        self.missing = Counter("portrait_missing", "Features that were NULL.", ("of",), registry=self.registry)
        self.degraded = Counter("portrait_degraded", "Rows answered without Redis.", ("of",), registry=self.registry)
        self.scores = _Distribution(
            "portrait_scores", "What the models said.", ("task",), buckets=_TENTHS, registry=self.registry
        )
        self.models = Gauge(
            "portrait_model",
            "1 for each version that answered.",
            ("task", "version"),
            registry=self.registry,
            multiprocess_mode="max",
        )

    def scored(self, scores: Scores) -> None:
        """Count answers of a model."""
        if not len(scores):
            return
        task, version = scores.model.rsplit("@", 1)
        self.models.labels(task, version).set(1)
        self.scores.labels(task).observe_all(scores.values)
        self._note(task, len(scores), degraded=scores.degraded)
        self._count(task, len(scores), list(scores.known).count(False), int(scores.nulls.sum()))

    def read(self, service: str, found: Features) -> None:
        """Count rows of features."""
        self._note(service, found.reading.length, degraded=found.degraded)
        self._count(service, found.reading.length, found.known.count(False), found.nulls)

    def portrayed(self, profiles: Sequence[Profile]) -> None:
        """Count portraits."""
        self._note(PROFILE, len(profiles), degraded=any(each.degraded for each in profiles))

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        if TOGETHER not in os.environ:
            return generate_latest(self.registry)
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody, path=os.environ[TOGETHER])  # type: ignore[no-untyped-call]
        return generate_latest(everybody)

    def _note(self, of: str, rows: int, *, degraded: bool) -> None:
        if degraded:
            self.degraded.labels(of).inc(rows)

    def _count(self, of: str, rows: int, unknown: int, missing: int) -> None:
        self.asked.labels(of).inc(rows)
        self.unknown.labels(of).inc(unknown)
        self.missing.labels(of).inc(missing)


class Timed:
    """An application whose requests are timed, by the routes they went to."""

    def __init__(self, app: Asgi, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request as the application does."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 500, time.perf_counter()

        async def noting(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            # Addresses that are no route may hold anything: they are counted together.
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.seconds.labels(route, str(status)).observe(time.perf_counter() - began)
