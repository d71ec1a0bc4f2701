"""Servers that take connections and do not answer."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

from feature_repo.core.settings import Settings
from feature_repo.core.stores import read_embedded


class Hung:
    """A port that takes connections and says nothing; or, every so often, one more byte of a reply without end."""

    def __init__(self, *, every_s: float | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._every_s = every_s
        self._ended = threading.Event()
        self._taken: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run)

    @property
    def url(self) -> str:
        """Address as of a Redis."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def __enter__(self) -> Self:
        self._listener.settimeout(0.05)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for each in (*self._taken, self._listener):
            each.close()

    def _run(self) -> None:
        while not self._ended.wait(self._every_s or 0):
            with suppress(TimeoutError):
                self._taken.append(self._listener.accept()[0])
            for each in self._taken if self._every_s else ():
                with suppress(OSError):
                    each.send(b"+")


@contextmanager
def paused(settings: Settings) -> Iterator[None]:
    """The home's own server takes connections, and answers nothing."""
    found = read_embedded(settings)
    assert found is not None
    os.kill(found.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(found.pid, signal.SIGCONT)
