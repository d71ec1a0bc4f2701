"""A client that asks as fast as it is answered, over a few connections that are kept.

It does the least that HTTP/1.1 asks for, so that what is measured is the server: requests are bytes that are there
already, and answers have to carry their length, as those of the servers compared here do.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from feature_repo.core.errors import CheckFailedError

Address = tuple[str, int]

OK = 200
_TIMEOUT_S = 60.0


def post(path: str, said: Any) -> bytes:
    r"""Return a request whose body is JSON.

    >>> post("/v1/predict", {"a": 1}).split(b"\r\n")[0]
    b'POST /v1/predict HTTP/1.1'
    """
    body = json.dumps(said).encode()
    lines = f"POST {path} HTTP/1.1", "Host: bench", "Content-Type: application/json", f"Content-Length: {len(body)}"
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """A connection to a server.

    Raises
    ------
    OSError
        Nothing listens there.
    """

    def __init__(self, address: Address) -> None:
        self._socket = socket.create_connection(address, timeout=_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")

    def close(self) -> None:
        """Hang up."""
        self._answers.close()
        self._socket.close()

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; return the status and the body of its answer.

        Raises
        ------
        OSError
            The server hung up, or did not answer within a minute.
        """
        self.send(request)
        return self.answer()

    def send(self, part: bytes) -> None:
        """Send a part of a request."""
        self._socket.sendall(part)

    def answer(self) -> tuple[int, bytes]:
        """Wait for an answer, as :meth:`ask`."""
        line = self._answers.readline()
        if not line:
            raise ConnectionResetError("the server hung up before it answered")
        return int(line.split(None, 2)[1]), self._answers.read(self._length())

    def _length(self) -> int:
        length = 0
        for line in iter(self._answers.readline, b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return length


@dataclass(frozen=True)
class Load:
    """What a number of requests took: seconds for all of them, and of each from its sending to its answer."""

    wall: float
    times: Sequence[float]

    @property
    def per_s(self) -> float:
        """Requests answered in a second."""
        return len(self.times) / self.wall


def load(address: Address, requests: Sequence[bytes], *, connections: int = 1) -> Load:
    """Send requests over so many connections, on each the next one when the last is answered.

    Raises
    ------
    CheckFailedError
        An answer is not 200.
    OSError
        The server is not there, or hung up.
    """
    waiting = iter(requests)
    with ExitStack() as stack, ThreadPoolExecutor(connections) as threads:
        opened = [stack.enter_context(closing(Connection(address))) for _ in range(connections)]
        began = time.perf_counter()
        taken = list(threads.map(lambda connection: list(_times(connection, waiting)), opened))
        wall = time.perf_counter() - began
    return Load(wall, [each for times in taken for each in times])


def _times(connection: Connection, waiting: Iterator[bytes]) -> Iterator[float]:
    for request in waiting:
        began = time.perf_counter()
        status, body = connection.ask(request)
        yield time.perf_counter() - began
        if status != OK:
            raise CheckFailedError(f"A server answered {status}: {body[:200].decode(errors='replace')}")
