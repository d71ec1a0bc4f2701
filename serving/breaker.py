"""A circuit breaker: who does not answer is left alone for a while, and nobody waits for it.

Closed, every question is asked. After some failures one behind the other it opens: questions are refused at once. When
its time is over it is half open: one question is let through, the others are refused still; its outcome closes the
breaker, or opens it anew.

Source: M. Nygard, Release It!, 2007, chapter 5.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

FAILURES = 3
OPEN_S = 1.0

_CLOSED = float("-inf")


class Breaker:
    """Counts failures of one dependency. Threads may share one.

    Parameters
    ----------
    failures
        How many, one behind the other, open it.
    open_s
        How long it stays open.
    now
        Seconds of a clock that only goes on.

    Examples
    --------
    >>> breaker = Breaker(failures=1, open_s=5, now=iter([0.0, 1.0, 6.0, 6.5]).__next__)
    >>> breaker.failed()
    True
    >>> breaker.admits(), breaker.admits(), breaker.admits()
    (False, True, False)
    >>> breaker.succeeded()
    True
    >>> breaker.admits()
    True
    """

    def __init__(
        self, *, failures: int = FAILURES, open_s: float = OPEN_S, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._failures, self._open_s, self._now = failures, open_s, now
        self._lock = Lock()
        self._count = 0
        self._until = _CLOSED

    def admits(self) -> bool:
        """Whether a question may be asked; who is told so says :meth:`succeeded` or :meth:`failed` afterwards."""
        if self._until == _CLOSED:
            return True
        with self._lock:
            now = self._now()
            if now < self._until:
                return False
            if self._until == _CLOSED:
                return True
            # Whoever tries has as long; one that never says what became of it must not keep the breaker open for good.
            self._until = now + self._open_s
            return True

    def succeeded(self) -> bool:
        """Close it; return whether it was not."""
        if not self._count and self._until == _CLOSED:
            return False
        with self._lock:
            opened, self._count, self._until = self._until != _CLOSED, 0, _CLOSED
        return opened

    def failed(self) -> bool:
        """Count a failure, and open it if that was one too many; return whether it was closed until then."""
        with self._lock:
            self._count += 1
            closed = self._until == _CLOSED
            if self._count >= self._failures:
                self._until = self._now() + self._open_s
            return closed and self._until != _CLOSED
