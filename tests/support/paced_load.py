"""Requests at a rate: each has an instant at which it is due, whether the ones before it are answered or not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from threading import Event

from serving.bench_load import Address, Connection

READ_EVERY = 20  # answers are read as JSON by the client now and then: it shares the machine with the server
WATCHED_EVERY_S = 0.5


@dataclass
class Paced:
    """What became of requests.

    Attributes
    ----------
    times
        Seconds of each, from the instant it was due to its answer.
    wrong
        Answers that were none, and those with too few rows.
    watched
        What was watched meanwhile, with the second it was seen in.
    """

    times: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    watched: list[tuple[float, int]] = field(default_factory=list)


def paced(
    address: Address,
    requests: Sequence[tuple[bytes, str, int]],
    *,
    per_s: float,
    seconds: float,
    connections: int,
    watch: Callable[[], int],
) -> Paced:
    """Send so many requests a second, in turn; with each stands the list its answer has to have, and how long it is."""
    found, numbers, began = Paced(), count(), time.monotonic()

    def run() -> None:
        with closing(Connection(address)) as connection:
            while (due := (number := next(numbers)) / per_s) < seconds:
                Event().wait(max(0.0, began + due - time.monotonic()))
                request, name, length = requests[number % len(requests)]
                status, body = connection.ask(request)
                found.times.append(time.monotonic() - began - due)
                if status != 200 or (number % READ_EVERY == 0 and len(json.loads(body)[name]) != length):
                    found.wrong.append(f"{status} {body[:200]!r}")

    with ThreadPoolExecutor(connections) as threads:
        running = [threads.submit(run) for _ in range(connections)]
        while wait(running, timeout=WATCHED_EVERY_S).not_done:
            found.watched.append((time.monotonic() - began, watch()))
        for each in running:
            each.result()
    return found
