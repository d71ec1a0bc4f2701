"""Processes that stop themselves in the middle of their work, as a suspended machine does, until they are woken."""

from __future__ import annotations

import itertools
import os
import pkgutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from feature_repo.core.clock import SystemClock
from feature_repo.core.settings import load_settings
from feature_repo.jobs.consume import Consumer
from feature_repo.jobs.materialize import materialize
from mortal_consumers import choose, chosen, context

PATIENCE_S = 90.0


@dataclass(frozen=True)
class Sleeper:
    """A process that sleeps."""

    process: ForkServerProcess

    @classmethod
    def fall_asleep(cls, work: Callable[[], object], place: str, nth: int = 1) -> Sleeper:
        """Start some work in the home that the environment names; return when it has stopped before the nth call.

        Parameters
        ----------
        place
            Function or method that is called, as ``module:name``.
        """
        process = context().Process(target=_work, args=(work, place, nth, chosen()), daemon=True)
        process.start()
        deadline = time.monotonic() + PATIENCE_S
        while not is_stopped(process.pid or 0):
            process.join(0.01)
            assert process.exitcode is None, f"it ended with {process.exitcode} before it came to {place}"
            assert time.monotonic() < deadline, f"it did not come to {place}"
        return cls(process)

    def wake(self) -> int | None:
        """Let it go on to its end; return its exit code."""
        os.kill(self.process.pid or 0, signal.SIGCONT)
        self.process.join(PATIENCE_S)
        return self.process.exitcode

    def kill(self) -> None:
        """Let it never wake."""
        self.process.kill()
        self.process.join()


def is_stopped(pid: int) -> bool:
    """Whether the system says that a process does not run until it is told to."""
    return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "T"


def _work(work: Callable[[], object], place: str, nth: int, environment: Mapping[str, str]) -> None:
    choose(environment)
    owner_name, _, name = place.replace(":", ".").rpartition(".")
    owner = pkgutil.resolve_name(owner_name)
    called, calls = getattr(owner, name), itertools.count(1)

    def stop_before(*arguments: object, **named: object) -> object:
        if next(calls) == nth:
            os.kill(os.getpid(), signal.SIGSTOP)
        return called(*arguments, **named)

    setattr(owner, name, stop_before)
    work()


def consume() -> None:
    """Bring what waits into log and Redis; here, as a test's own module is not found by another process."""
    Consumer(load_settings(), SystemClock(), until_empty=True).run()


def build() -> None:
    """Build every view anew."""
    materialize(load_settings(), SystemClock(), full=True)
