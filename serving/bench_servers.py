"""The servers a bench compares, each by its own command in a process of its own, with one worker."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from feature_repo.bench.ground import Ground
from feature_repo.bench.stock import write_stock_repo
from feature_repo.core.errors import PortraitError
from feature_repo.core.stores import LOOPBACK
from serving.bench_load import OK, Address

_START_S = 120.0
_END_S = 20.0
_POLL_S = 0.1
_SAID = 2_000


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    address: Address
    process: psutil.Process

    def cpu_s(self) -> float:
        """Seconds of processor its processes have taken so far."""
        together = [self.process, *self.process.children(recursive=True)]
        spent = [each.cpu_times() for each in together]
        return float(sum(each.user + each.system for each in spent))


@contextmanager
def portrait_serve(ground: Ground) -> Iterator[Server]:
    """Run ``portrait serve`` for the bench's home, its champions loaded.

    Raises
    ------
    PortraitError
        It ends, or is not ready within two minutes.
    """
    port = _free_port()
    words = ["-m", "feature_repo.cli", "serve", "--port", str(port)]
    with _running(words, ground.settings.home / "portrait-serve.log", (LOOPBACK, port), ready="/readyz") as server:
        yield server


@contextmanager
def feast_serve(ground: Ground) -> Iterator[Server]:
    """Run ``feast serve`` for stock Feast over the bench's Redis; its worker is not replaced after 1,000 requests.

    Raises
    ------
    PortraitError
        It ends, or is not ready within two minutes.
    """
    port, repo = _free_port(), write_stock_repo(ground.settings)
    options = ["--port", str(port), "--no-access-log", "--max-requests", "0"]
    words = ["-m", "feast.cli.cli", "--chdir", str(repo), "serve", *options]
    with _running(words, repo / "serve.log", (LOOPBACK, port), ready="/health") as server:
        yield server


@contextmanager
def _running(words: Sequence[str], log: Path, address: Address, *, ready: str) -> Iterator[Server]:
    environment = {**os.environ, "FEAST_USAGE": "False"}
    with log.open("wb") as said:
        process = subprocess.Popen(  # noqa: S603 - the interpreter that runs this, and commands of its packages
            [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment
        )
    try:
        _await(process, " ".join(words[1:3]), log, address, ready)
        yield Server(address, psutil.Process(process.pid))
    finally:
        _end(process)


def _await(process: subprocess.Popen[bytes], name: str, log: Path, address: Address, ready: str) -> None:
    until = time.monotonic() + _START_S
    while not _answers(address, ready):
        if process.poll() is not None or time.monotonic() > until:
            tail = log.read_text("utf-8", errors="replace")[-_SAID:]
            raise PortraitError(f"A server did not start: {name}.\n{tail}")
        time.sleep(_POLL_S)


def _answers(address: Address, path: str) -> bool:
    with closing(http.client.HTTPConnection(*address, timeout=_END_S)) as connection:
        try:
            connection.request("GET", path)
            return connection.getresponse().status == OK
        except (OSError, http.client.HTTPException):
            return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
