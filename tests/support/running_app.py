"""The HTTP application behind a port."""

from __future__ import annotations

from threading import Thread
from typing import Any

import httpx
import uvicorn

from feature_repo.core.clock import Clock, FixedClock
from feature_repo.core.settings import Settings
from serving.http.app import create_app
from serving.http.server import listen


class Running:
    """A real server in a thread, and a client of it."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._listener = listen("127.0.0.1", 0)
        app = create_app(settings, clock=clock or FixedClock(7))
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        self._thread = Thread(target=self._server.run, kwargs={"sockets": [self._listener]})
        self._thread.start()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self._listener.getsockname()[1]}", timeout=30)

    def post(self, path: str = "/v1/events", **request: Any) -> httpx.Response:
        """Send a request; to the route of events unless told otherwise."""
        return self.http.post(path, **request)

    def close(self) -> None:
        """End the server, then the listener."""
        self.http.close()
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()
