"""A real MLflow server on loopback that can be stopped, and started again over the same data on the same port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

START_S = 60.0
POLL_S = 0.1


class MlflowServer:
    """SQLite and artifacts below a directory, one worker.

    It begins with a copy of a database that was made for another, as to make one takes seconds.
    """

    def __init__(self, folder: Path, database: Path | None = None) -> None:
        folder.mkdir()
        if database is not None:
            shutil.copy(database, folder / "mlflow.db")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        options = {
            "host": "127.0.0.1",
            "port": self._port,
            "workers": 1,
            "backend-store-uri": f"sqlite:///{self._folder / 'mlflow.db'}",
            "artifacts-destination": (self._folder / "artifacts").as_uri(),
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", "--serve-artifacts", *words],
                env=inherited | quiet,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the server's worker goes with it
            )
        self._await_health(self._process)

    def stop(self, *how: signal.Signals) -> None:
        """End the server; at once by SIGKILL alone."""
        process, self._process = self._process, None
        if process is None:
            return
        for each in how or (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, each)
                process.wait(timeout=10)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        process.wait(timeout=10)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It takes connections, and answers nothing."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def _await_health(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until and process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.address}/health", timeout=1.0).close()
            except (urllib.error.URLError, OSError):
                time.sleep(POLL_S)
            else:
                return
        pytest.fail(f"mlflow server did not start:\n{(self._folder / 'log').read_text()[-2000:]}")
