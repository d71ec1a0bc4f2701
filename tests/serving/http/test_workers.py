"""Several processes at one port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from feature_repo.core.settings import Settings

BUY = {"event_type": "purchase", "event_id": "a", "user_id": "ada@example.com", "amount": 3.49}


def until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Server:
    """``portrait serve --workers 2``, in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "feature_repo.cli", "serve", "--port", "0", "--workers", "2", "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout
        at = json.loads(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{at['port']}"
        until(lambda: len(self.workers()) == 2 and self.status("/healthz") == 200)

    def workers(self) -> list[int]:
        """Worker processes; not the one of ``multiprocessing`` that tracks what they share."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(each) for each in children if b"resource_tracker" not in Path(f"/proc/{each}/cmdline").read_bytes()]

    def status(self, path: str) -> int:
        try:
            return httpx.get(self.url + path, timeout=60).status_code
        except httpx.TransportError:
            return 0


@pytest.fixture
def server(settings: Settings) -> Iterator[Server]:
    found = Server()
    with found.process:
        yield found
        found.process.terminate()


def test_one_that_is_killed_is_replaced_and_all_end_when_told(server: Server) -> None:
    first = server.workers()
    os.kill(first[0], signal.SIGKILL)
    until(lambda: len(server.workers()) == 2 and set(server.workers()) != set(first))
    assert httpx.post(f"{server.url}/v1/events", json={"events": [BUY]}, timeout=60).status_code == 202
    workers = server.workers()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_none_outlives_a_parent_that_is_killed(server: Server) -> None:
    workers = server.workers()
    server.process.kill()
    until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def test_what_they_did_is_told_as_one(server: Server) -> None:
    for _ in range(20):
        assert httpx.get(f"{server.url}/nothing", timeout=60).status_code == 404
    line = 'portrait_http_seconds_count{route="none",status="404"} 20.0'
    assert line in httpx.get(f"{server.url}/metrics", timeout=60).text
