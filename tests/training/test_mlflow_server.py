"""Training and serving meet at a real MLflow server that keeps the artifacts itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feature_repo.core.clock import FixedClock
from feature_repo.core.settings import Settings, load_settings
from mlflow_process import MlflowServer
from serving.scoring import ModelRegistry
from training.data.dataset import Dataset
from training.declaring.recipe import Linear, Recipe
from training.evaluation.trained import fit_and_measure
from training.registry.register import register, up_to_date
from training.task import Task

pytestmark = pytest.mark.slow(20)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Address of a server on loopback."""
    started = MlflowServer(tmp_path / "server")
    try:
        started.start()
        yield started.address
    finally:
        started.stop()


@pytest.fixture
def settings(demo_home: Path, home: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home with the demo's registry and log whose models are the server's."""
    shutil.copytree(demo_home, home, ignore=shutil.ignore_patterns("mlflow"))
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
