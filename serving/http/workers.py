"""Several processes that answer at one port: one that dies is replaced, and all end when they are told to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from socket import socket
from tempfile import TemporaryDirectory
from threading import Thread
from types import FrameType
from typing import Any

from serving.http.metrics import SHARED, TOGETHER

# One that dies at once would be started again and again.
_PAUSE_S = 1.0
_POLL_S = 0.2

Answer = Callable[[socket], None]


class Workers:
    """Worker processes of one listener.

    Parameters
    ----------
    answer
        What each does with the listener, until it is told to end by SIGTERM; a function of a module.
    count
        How many there are at a time.
    """

    def __init__(self, answer: Answer, listener: socket, count: int) -> None:
        self._answer, self._listener, self._count = answer, listener, count
        self._context = get_context("spawn")
        self._ending = False

    def run(self) -> None:
        """Keep so many alive until this process is told to end; then they answer what has begun, and end."""
        with (
            TemporaryDirectory(prefix="portrait-metrics-") as folder,
            _variable(SHARED, folder),
            _variable(TOGETHER, folder),
            self._told(),
        ):
            alive = [self._start() for _ in range(self._count)]
            try:
                while not self._ending:
                    alive = self._replaced(alive)
            finally:
                for each in alive:
                    each.terminate()
                for each in alive:
                    each.join()

    def _replaced(self, alive: Sequence[BaseProcess]) -> list[BaseProcess]:
        if not wait([each.sentinel for each in alive], timeout=_POLL_S) or self._ending:
            return list(alive)
        left = [each for each in alive if each.is_alive()]
        time.sleep(_PAUSE_S)
        return left if self._ending else left + [self._start() for _ in range(len(alive) - len(left))]

    def _start(self) -> BaseProcess:
        process = self._context.Process(target=_work, args=(self._answer, self._listener))
        process.start()
        return process

    @contextmanager
    def _told(self) -> Iterator[None]:
        def end(_number: int, _frame: FrameType | None) -> None:
            self._ending = True

        before = {each: signal.signal(each, end) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def _work(answer: Answer, listener: socket) -> None:
    Thread(target=_end_with_the_parent, name="parent", daemon=True).start()
    answer(listener)


def _end_with_the_parent() -> None:
    """A parent that was killed tells nobody to end: the port would stay taken, with nobody who replaces the dead."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before: Any = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before
