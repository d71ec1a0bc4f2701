"""A home that was moved or copied reads and writes its own models, never those of the place it was made in."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest

from feature_repo.core.clock import FixedClock
from feature_repo.core.errors import ModelUnavailableError
from feature_repo.core.mlflow_client import quiet_mlflow
from feature_repo.core.mlflow_home import MOVED, settle
from feature_repo.core.settings import Settings, load_settings
from once import once
from serving.scoring import ModelRegistry
from training.declaring.recipe import Linear, Recipe
from training.jobs import train as train_module
from training.jobs.train import TrainReport, train
from training.runs.tracking import tracking
from training.task import Task

pytestmark = [pytest.mark.slow(50), pytest.mark.usefixtures("one_reference", "undrawn")]

# Paths, URIs and databases write these differently.
NAMES = ["home of 张三", "a b#c's"]


@pytest.fixture(scope="module", autouse=True)
def fitted_once() -> Iterator[None]:
    """All homes here hold the same log: the same model, with the same study, is registered in each."""
    with pytest.MonkeyPatch.context() as patch:
        once(patch, train_module, "fit_and_measure", "study")
        yield


@pytest.fixture
def small(redemption: Task) -> Task:
    return replace(
        redemption, model=Recipe(linear=Linear(strength=0.03)), baselines={}, gates=(), must_beat=(), not_worse_than=()
    )


@pytest.fixture
def made(own_demo: Settings, small: Task) -> tuple[Settings, TrainReport]:
    """A home with one champion, and the report of its training."""
    return own_demo, train(small)


def settings_of(home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PORTRAIT_HOME", str(home))
    return load_settings()


def locations(settings: Settings) -> set[str]:
    with sqlite3.connect(settings.home / "mlflow" / "mlflow.db") as database:
        found = database.execute(
            "SELECT artifact_location FROM experiments WHERE name <> 'Default' UNION SELECT artifact_uri FROM runs "
            "UNION SELECT artifact_location FROM logged_models UNION SELECT storage_location FROM model_versions"
        ).fetchall()
    database.close()
    return {location for (location,) in found}


def files(home: Path) -> dict[str, int]:
    return {str(path.relative_to(home)): path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", NAMES)
def test_a_moved_home_answers_and_trains_in_its_new_place(
    made: tuple[Settings, TrainReport], small: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    before, first = made
    moved = before.home.rename(tmp_path / name)
    now = settings_of(moved, monkeypatch)
    model = ModelRegistry(now, FixedClock(0)).champion(small.name)
    assert model.version == first.model_version
    again = train(small, if_changed=True)
    assert again.unchanged
    assert again.run_id == first.run_id
    second = train(small)
    assert ModelRegistry(now, FixedClock(0)).champion(small.name).version == second.model_version != first.model_version
    assert list((moved / "mlflow" / "artifacts" / small.name / second.run_id).rglob("report.json"))
    assert not before.home.exists()
    assert all(location.startswith((moved / "mlflow" / "artifacts").as_uri()) for location in locations(now))


def test_a_copy_leaves_the_original_alone(
    made: tuple[Settings, TrainReport], small: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    original, first = made
    copied = tmp_path / "copy"
    shutil.copytree(original.home, copied)
    held = files(original.home)
    now = settings_of(copied, monkeypatch)
    second = train(small)
    assert files(original.home) == held
    shutil.rmtree(copied / "mlflow" / "artifacts" / small.name / first.run_id)
    assert ModelRegistry(now, FixedClock(0)).champion(small.name).version == second.model_version
    back = settings_of(original.home, monkeypatch)
    assert ModelRegistry(back, FixedClock(0)).champion(small.name).version == first.model_version
    assert files(original.home) == held


def test_what_was_rewritten_is_noted_beside_the_database_and_only_once(
    made: tuple[Settings, TrainReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before, _ = made
    assert not (before.home / "mlflow" / MOVED).exists()
    now = settings_of(before.home.rename(tmp_path / "moved"), monkeypatch)
    for _ in range(2):
        settle(now)
    [line] = (now.home / "mlflow" / MOVED).read_text("utf-8").splitlines()
    assert before.home.as_uri() in line
    assert now.home.as_uri() in line


def test_another_name_for_the_same_home_changes_nothing(
    made: tuple[Settings, TrainReport], small: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before, first = made
    (tmp_path / "link").symlink_to(before.home)
    known = locations(before)
    linked = settings_of(tmp_path / "link", monkeypatch)
    assert ModelRegistry(linked, FixedClock(0)).champion(small.name).version == first.model_version
    assert locations(linked) == known


def test_experiments_that_keep_their_artifacts_elsewhere_are_left_there(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    elsewhere = {
        "shared": tmp_path / "shared" / "mlflow" / "artifacts" / "shared",
        "mine": tmp_path / "mine",
    }
    with tracking(load_settings()) as client:
        for name, place in elsewhere.items():
            place.mkdir(parents=True)
            client.create_experiment(name, artifact_location=place.as_uri())
        client.create_experiment("bucket", artifact_location="s3://bucket/mlflow/artifacts/bucket")
    known = locations(load_settings())
    now = settings_of(home.rename(tmp_path / "moved"), monkeypatch)
    settle(now)
    assert locations(now) == known


def test_a_database_that_a_setting_names_is_not_touched(
    made: tuple[Settings, TrainReport], small: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before, _ = made
    known = locations(before)
    moved = before.home.rename(tmp_path / "moved")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{moved / 'mlflow' / 'mlflow.db'}")
    now = settings_of(moved, monkeypatch)
    with pytest.raises(ModelUnavailableError):
        ModelRegistry(now, FixedClock(0)).champion(small.name)
    assert locations(now) == known


def test_artifacts_that_are_gone_are_told_with_what_to_do(made: tuple[Settings, TrainReport], small: Task):
    settings, _ = made
    shutil.rmtree(settings.home / "mlflow" / "artifacts")
    with pytest.raises(ModelUnavailableError, match="cannot be read") as caught:
        ModelRegistry(settings, FixedClock(0)).champion(small.name)
    assert str(settings.home / "mlflow") in caught.value.hint
    assert "portrait train" in caught.value.hint
    assert "MLFLOW_TRACKING_URI" not in caught.value.hint


def test_a_plain_mlflow_reads_the_moved_home_too(
    made: tuple[Settings, TrainReport], small: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before, first = made
    now = settings_of(before.home.rename(tmp_path / "moved"), monkeypatch)
    with tracking(now), quiet_mlflow():
        model = mlflow.pyfunc.load_model(f"models:/{small.name}/{first.model_version}")
        assert np.isfinite(model.predict(model.input_example)).all()
