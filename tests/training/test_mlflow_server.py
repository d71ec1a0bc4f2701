"""Training and serving meet at a real MLflow server that keeps the artifacts itself."""

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
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feature_repo.core.clock import FixedClock
from feature_repo.core.settings import Settings, load_settings
from serving.scoring import ModelRegistry
from training.datasets import Dataset
from training.recipe import Linear, Recipe
from training.registry import register, up_to_date
from training.task import Task
from training.trained import fit_and_measure

START_S = 60.0
POLL_S = 0.1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Address of a server on loopback: SQLite and artifacts below the test's directory, one worker."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path / "server"
    folder.mkdir()
    options = {
        "host": "127.0.0.1",
        "port": port,
        "workers": 1,
        "backend-store-uri": f"sqlite:///{folder / 'mlflow.db'}",
        "artifacts-destination": (folder / "artifacts").as_uri(),
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--serve-artifacts", *words],
            env=inherited | quiet,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,  # the server's worker goes with it
        )
    try:
        address = f"http://127.0.0.1:{port}"
        await_health(address, process, folder / "log")
        yield address
    finally:
        stop(process)


def await_health(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=1.0).close()
        except (urllib.error.URLError, OSError):
            time.sleep(POLL_S)
        else:
            return
    pytest.fail(f"mlflow server did not start:\n{log.read_text()[-2000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
            process.wait(timeout=10)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait(timeout=10)


@pytest.fixture
def settings(demo_home: Path, home: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home with the demo's registry and log whose models are the server's."""
    shutil.copytree(demo_home, home)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    return load_settings()


def test_serving_loads_the_champion_that_training_registered_with_a_server(
    settings: Settings, rows: Dataset, redemption: Task, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    task = replace(redemption, model=Recipe(linear=Linear(strength=0.03)), baselines={}, must_beat=(), gates=())
    task = replace(task, not_worse_than=())
    data = replace(rows, task=task)
    trained = fit_and_measure(data, threads=1, step=lambda what, done: None)
    registered = register(trained, settings)
    assert registered.promoted
    champion = up_to_date(task, data, settings)
    assert champion is not None
    assert str(champion.version) == registered.version

    model = ModelRegistry(settings, FixedClock(0)).champion(task.name)
    assert capfd.readouterr() == ("", "")
    assert (model.name, model.service) == (f"{task.name}@{registered.version}", task.service)
    model.check(data.contract)
    matrix = data.matrix(model.columns)
    np.testing.assert_array_equal(model.scorer.score(matrix), trained.fitted.scorer().score(matrix))
    assert not (settings.home / "mlflow" / "mlflow.db").exists()
    assert list((tmp_path / "server" / "artifacts").rglob("contract.json"))
