"""``/healthz``: the process lives. ``/readyz``: it can answer. ``/metrics``: what it did."""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Event, Thread
from typing import Any

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from feature_repo.core.errors import PortraitError
from serving.http.metrics import Metrics
from serving.http.places import without_places
from serving.sdk import ProfileClient
from serving.transport import WITHOUT

_log = logging.getLogger("portrait")
_PATIENCE_S = 10.0


class WarmUp:
    """Compiles plans and loads champions before the first request has to wait for it."""

    def __init__(self, client: ProfileClient) -> None:
        self._client = client
        self._done = Event()
        self._thread = Thread(target=self._run, name="warm-up", daemon=True)

    @property
    def done(self) -> bool:
        """Whether it has ended: what could not be loaded is tried again when it is asked for."""
        return self._done.is_set()

    def start(self) -> None:
        """Begin, beside the requests."""
        self._thread.start()

    def wait(self) -> None:
        """Wait until it has ended, ten seconds at most: nothing is to be loaded by a client that is closed."""
        self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        try:
            self._client.warm_up()
        except PortraitError as error:
            _log.info("Warm-up: %s", error)  # `/readyz` tells it, for as long as it holds
        finally:
            self._done.set()


def health_router(client: ProfileClient, warm_up: WarmUp, metrics: Metrics, home: Path) -> APIRouter:
    """Return the routes operators' tools ask; no key is needed for them, and they name no shopper."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="Whether the process lives")
    async def healthz() -> dict[str, Any]:
        return {"alive": True}

    @router.get("/readyz", summary="Whether it can answer", responses={503: {}})
    async def readyz() -> JSONResponse:
        found = await run_in_threadpool(client.health) if warm_up.done else {"warm_up": "under way"}
        wrong = {name: without_places(why, home) for name, why in found.items() if why}
        ready = not wrong.keys() - WITHOUT
        return JSONResponse({"ready": ready, "wrong": wrong}, 200 if ready else 503)

    @router.get("/metrics", summary="What it did, for Prometheus", response_class=Response)
    async def told() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
