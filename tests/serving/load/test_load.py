"""A minute at four fifths of what the server can: its real champion, real Redis, loopback."""

from __future__ import annotations

import time
from itertools import islice

import numpy as np
import pytest

from feature_repo.core.settings import Settings
from paced_load import paced
from serving.bench_load import load, post
from serving_process import Serving, serving, until

pytestmark = pytest.mark.slow

CONNECTIONS = 4
SHARE = 0.8
SECONDS = 60.0
MEASURED_S = 5.0
HOUSEHOLDS = 2_500
# Bytes in a minute. With 2,000 portraits it goes up and down by 20 MiB, as each thread's DuckDB gives back late, and
# comes to nothing; an answer that is never given back, of 40 kB, would be 100.
MOST_GROWTH = 48 << 20


def questions() -> list[tuple[bytes, str, int]]:
    """Of ten requests six are scores of a hundred shoppers, three their features, one portraits of a few."""
    users = [str(1 + household) for household in np.random.default_rng(7).integers(0, HOUSEHOLDS, 4_000)]
    parts = (users[start : start + 100] for start in range(0, len(users), 100))
    found = []
    for number, part in enumerate(parts):
        if number % 10 < 6:
            found.append((post("/v1/predict", {"task": "redemption", "users": part}), "scores", len(part)))
        elif number % 10 < 9:
            found.append((post("/v1/features", {"users": part, "service": "redemption_v1"}), "rows", len(part)))
        else:
            found.append((post("/v1/profiles", {"users": part[:5]}), "profiles", 5))
    return found


def capacity(server: Serving) -> float:
    """Requests a second, for some seconds, after as many to warm up."""
    requests = [request for request, _, _ in questions()]
    counts: list[tuple[float, int]] = []
    for _ in range(2):
        began, asked = time.monotonic(), 0
        while time.monotonic() < began + MEASURED_S:
            load(server.address, requests, connections=CONNECTIONS)
            asked += len(requests)
        counts.append((time.monotonic() - began, asked))
    seconds, asked = counts[-1]
    return asked / seconds


def test_a_minute_at_80_percent_of_capacity_has_no_error_and_no_leak(
    shop: Settings, record_property: pytest.RecordProperty
) -> None:
    with serving() as server:
        until(lambda: server.status("/readyz") == 200)
        most = capacity(server)
        found = paced(
            server.address,
            questions(),
            per_s=SHARE * most,
            seconds=SECONDS,
            connections=2 * CONNECTIONS,
            watch=server.resident_bytes,
        )
    instants, memory = zip(*islice(found.watched, len(found.watched) // 3, None), strict=True)
    growth = SECONDS * np.polyfit(instants, memory, 1)[0]
    p50, p99 = 1e3 * np.percentile(found.times, [50, 99])
    said = f"{most:.0f} requests/s at most; p50 {p50:.1f} ms, p99 {p99:.1f} ms; {growth / 2**20:.1f} MiB a minute"
    record_property("load", said)
    print(said)  # noqa: T201 - shown by pytest -rP
    assert found.wrong == []
    assert len(found.times) == int(np.ceil(SHARE * most * SECONDS))
    assert growth < MOST_GROWTH, said
