"""Until when a question is to be answered, for the connections that are asked on its way.

A time-out of a socket bounds one wait. A question waits several times: to connect, to be let in, for each reply, and
once more after a failure. All of them end at the question's deadline.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Of a wait that may still begin: a time-out of 0 would mean not to wait, which sockets tell by another error.
_LEAST_S = 0.001


class Deadline(threading.local):
    """Of the question each thread is answering.

    >>> deadline = Deadline()
    >>> deadline.left_s
    inf
    >>> with deadline.within(60), deadline.within(3600):
    ...     59 < deadline.left_s <= 60
    True
    """

    until = math.inf

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """A question has so long; one that is part of another has as long as that one."""
        if self.until != math.inf:
            yield
            return
        self.until = time.monotonic() + seconds
        try:
            yield
        finally:
            self.until = math.inf

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done until the end of the block is done once, and takes no time of the question."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.until += time.monotonic() - began

    @property
    def left_s(self) -> float:
        """Seconds; below 0 when it has passed, infinite where no question is asked."""
        return self.until - time.monotonic()


def bound(client: Any, deadline: Deadline) -> None:
    """Make a client's connections, of which none is open yet, keep to a deadline beside their own time-outs."""
    pool = client.connection_pool
    bases = (_Bounded, pool.connection_class)
    pool.connection_class = type(f"Bounded{pool.connection_class.__name__}", bases, {"deadline": deadline})


class _Bounded:
    """A connection of redis-py whose waits end at a deadline."""

    deadline: Deadline
    _sock: Any
    _socket_timeout: float
    _socket_connect_timeout: float

    def set_parser(self, parser_class: type) -> None:
        """Read by a parser that keeps to the deadline: a reply may come in many pieces."""
        facts = {"deadline": self.deadline, "most_s": self._socket_timeout}
        kept = type("BoundedParser", (_BoundedParser, parser_class), facts)
        super().set_parser(kept)  # type: ignore[misc]

    @property
    def socket_timeout(self) -> float:
        """For a wait that begins now."""
        return _shorter(self.deadline, self._socket_timeout)

    @socket_timeout.setter
    def socket_timeout(self, value: float) -> None:
        self._socket_timeout = value

    @property
    def socket_connect_timeout(self) -> float:
        """To connect, from now on."""
        return _shorter(self.deadline, self._socket_connect_timeout)

    @socket_connect_timeout.setter
    def socket_connect_timeout(self, value: float) -> None:
        self._socket_connect_timeout = value

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send; as redis-py says."""
        if self._sock is not None:
            self._sock.settimeout(self.socket_timeout)
        super().send_packed_command(command, check_health)  # type: ignore[misc]


class _BoundedParser:
    deadline: Deadline
    most_s: float
    _sock: Any

    def read_from_socket(self, *given: Any, **named: Any) -> Any:
        """Wait for the next piece; where the caller says how long, so long."""
        if not given and not named:
            if self.deadline.left_s <= 0:
                raise TimeoutError("the deadline has passed")  # as a socket says it
            self._sock.settimeout(_shorter(self.deadline, self.most_s))
        return super().read_from_socket(*given, **named)  # type: ignore[misc]


def _shorter(deadline: Deadline, most_s: float) -> float:
    return max(_LEAST_S, min(deadline.left_s, most_s))
