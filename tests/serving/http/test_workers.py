"""Several processes at one port."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from feature_repo.core.settings import Settings
from serving_process import Serving, serving, until

pytestmark = pytest.mark.slow(25)

BUY = {"event_type": "purchase", "event_id": "a", "user_id": "ada@example.com", "amount": 3.49}


@pytest.fixture
def server(settings: Settings) -> Iterator[Serving]:
    with serving(workers=2) as found:
        yield found


def test_one_that_is_killed_is_replaced_and_all_end_when_told(server: Serving) -> None:
    first = server.workers()
    os.kill(first[0], signal.SIGKILL)
    until(lambda: len(server.workers()) == 2 and set(server.workers()) != set(first))
    assert httpx.post(f"{server.url}/v1/events", json={"events": [BUY]}, timeout=60).status_code == 202
    workers = server.workers()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_none_outlives_a_parent_that_is_killed(server: Serving) -> None:
    workers = server.workers()
    server.process.kill()
    until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def test_what_they_did_is_told_as_one(server: Serving) -> None:
    for _ in range(20):
        assert httpx.get(f"{server.url}/nothing", timeout=60).status_code == 404
    line = 'portrait_http_seconds_count{route="none",status="404"} 20.0'
    assert line in httpx.get(f"{server.url}/metrics", timeout=60).text
