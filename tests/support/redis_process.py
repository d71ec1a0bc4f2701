"""Debian's redis-server, as a process of the tests."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feature_repo.core.stores import LOOPBACK

REDIS_SERVER = "redis-server"


@contextmanager
def debian_redis(directory: Path) -> Iterator[str]:
    """Address of a server that keeps its append-only file in ``directory``, until the end of the block."""
    binary = shutil.which(REDIS_SERVER)
    if binary is None:
        raise RuntimeError(f"{REDIS_SERVER} is not installed; run `apt-get install redis-server`.")
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    options = f"--port {port} --bind {LOOPBACK} --appendonly yes --dir".split()
    command = [binary, *options, str(directory), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        words = iter(process.stdout or ())
        if not any("Ready to accept connections" in line for line in words):
            raise RuntimeError(f"{REDIS_SERVER} ended with {process.wait()} before it was ready.")
        try:
            yield f"redis://{LOOPBACK}:{port}/0"
        finally:
            process.terminate()
            process.wait()
