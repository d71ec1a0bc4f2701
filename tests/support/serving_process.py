"""``portrait serve`` in a process of its own, for the home PORTRAIT_HOME names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

PATIENCE_S = 120


def until(reached: Callable[[], object]) -> None:
    """Ask again and again until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Serving:
    """The server: one process, or one that has several workers."""

    def __init__(self, workers: int = 1) -> None:
        options = ["--port", "0", "--workers", str(workers), "--json"]
        command = [sys.executable, "-m", "feature_repo.cli", "serve", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout
        at = json.loads(self.process.stdout.readline())
        self.address = ("127.0.0.1", int(at["port"]))
        self.url = f"http://127.0.0.1:{at['port']}"
        until(lambda: self.status("/healthz") == 200 and (workers == 1 or len(self.workers()) == workers))

    def workers(self) -> list[int]:
        """Worker processes; not the one of ``multiprocessing`` that tracks what they share."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(each) for each in children if b"resource_tracker" not in Path(f"/proc/{each}/cmdline").read_bytes()]

    def status(self, path: str) -> int:
        """Ask a route by GET; 0 if nobody answers."""
        try:
            return httpx.get(self.url + path, timeout=60).status_code
        except httpx.TransportError:
            return 0

    def tell_to_end(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def resident_bytes(self) -> int:
        """Memory the process holds."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def serving(workers: int = 1) -> Iterator[Serving]:
    """Run a server for a block; what it writes on stderr is read by nobody."""
    found = Serving(workers)
    with found.process:
        try:
            yield found
        finally:
            found.process.terminate()
