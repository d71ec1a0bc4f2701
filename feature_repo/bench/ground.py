"""Where a bench runs: a temporary home with a Redis of its own, so that nothing of the user's is read or written."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feature_repo.core.clock import Clock, SystemClock
from feature_repo.core.console import Step
from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import connect_redis
from feature_repo.jobs import services

# What a user may have set that would lead a bench out of its own home.
_INHERITED = ("PORTRAIT_HOME", "PORTRAIT_REDIS_URL", "MLFLOW_TRACKING_URI")


@dataclass(frozen=True)
class Ground:
    """What a bench stands on.

    Attributes
    ----------
    settings
        Of the temporary home, which ``PORTRAIT_HOME`` names too as long as the ground is there, for child processes
        and for what Feast constructs.
    step
        Told what is being done, and the share of the whole that is done.
    clock
        Says when now is.
    """

    settings: Settings
    step: Step
    clock: Clock

    def empty_redis(self) -> None:
        """Remove everything from the bench's own server."""
        with self.redis() as client:
            client.flushall()

    def new_redis(self) -> None:
        """Replace the bench's server by a new one, which holds nothing; clients of the old one lead nowhere.

        A server that was emptied hands out the scattered memory of what it held, and is slower than one that was not.
        """
        services.down(self.settings)
        shutil.rmtree(self.settings.home / "redis")
        services.up(self.settings, self.clock)

    @contextmanager
    def redis(self) -> Iterator[Any]:
        """A client of the bench's server."""
        with contextlib.closing(connect_redis(self.settings, timeout_s=60.0)) as client:
            yield client


@contextmanager
def temporary_ground(step: Step) -> Iterator[Ground]:
    """Make a home, start its Redis, and remove both in the end, also on an interruption or SIGTERM.

    Raises
    ------
    StoreUnavailableError
        The server cannot start.
    """
    with (
        ended_by_sigterm(),
        tempfile.TemporaryDirectory(prefix="portrait-bench-") as directory,
        _home_named(Path(directory) / "home"),
    ):
        settings = load_settings()
        services.up(settings, SystemClock())
        try:
            yield Ground(settings, step, SystemClock())
        finally:
            services.down(settings)


@contextmanager
def _home_named(home: Path) -> Iterator[None]:
    held = {name: os.environ.pop(name) for name in _INHERITED if name in os.environ}
    os.environ["PORTRAIT_HOME"] = str(home)
    try:
        yield
    finally:
        del os.environ["PORTRAIT_HOME"]
        os.environ.update(held)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the bench as an interruption does: its server would outlive it otherwise."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
