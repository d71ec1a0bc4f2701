"""MLflow goes away while a model is registered: the run is kept, and uploaded once, without fitting anew."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pyarrow.parquet as pq
import pytest

from feature_repo import cli
from feature_repo.core.settings import Settings, load_settings
from feature_repo.privacy.tombstones import Tombstones
from mlflow_process import MlflowServer
from training import task as task_module
from training.data.dataset import Dataset
from training.declaring.recipe import Linear, Recipe
from training.evaluation.study import study
from training.evaluation.trained import Trained, fit_and_measure
from training.registry.erasure import ENTITY_ROWS, erase_entity_rows
from training.registry.pending import RunKeptError, pending, pending_root
from training.registry.register import read_report, register
from training.registry.upload import upload
from training.runs.tracking import tracking
from training.task import Task

pytestmark = [pytest.mark.slow(110), pytest.mark.usefixtures("one_reference", "undrawn")]

MOMENTS = {
    "before": "search_experiments",
    "during": "log_artifacts",
    "at_registration": "create_model_version",
    "at_promotion": "set_registered_model_tag",
}
GARBAGE = b"no database" * 1000


@pytest.fixture(scope="module")
def small(redemption: Task) -> Task:
    return replace(
        redemption, model=Recipe(linear=Linear(strength=0.03)), baselines={}, gates=(), must_beat=(), not_worse_than=()
    )


@pytest.fixture(autouse=True)
def declared(small: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_module, "all_tasks", lambda: {"redemption": small})
    monkeypatch.setattr("training.registry.upload.all_tasks", lambda: {"redemption": small})


@pytest.fixture(scope="module")
def trained(rows: Dataset, small: Task, demo_home: Path) -> Trained:
    found = fit_and_measure(replace(rows, task=small), threads=1, step=lambda what, done: None)
    return replace(found, study=study(found.data, found.fitted, load_settings(home=demo_home)))


@pytest.fixture
def server(tmp_path: Path, demo_home: Path) -> Iterator[MlflowServer]:
    started = MlflowServer(tmp_path / "server", demo_home / "mlflow" / "mlflow.db")
    try:
        started.start()
        yield started
    finally:
        started.stop()


def die_at(moment: str, die: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let MLflow's store end right before the first such call."""
    name = MOMENTS[moment]
    real = getattr(mlflow.MlflowClient, name)

    def dying(self: Any, *given: Any, **named: Any) -> Any:
        monkeypatch.setattr(mlflow.MlflowClient, name, real)
        die()
        return real(self, *given, **named)

    monkeypatch.setattr(mlflow.MlflowClient, name, dying)


def check_kept(settings: Settings, trained: Trained, moment: str) -> None:
    with pytest.raises(RunKeptError, match="is kept in") as caught:
        register(trained, settings, {"task": "redemption", "seconds": 1.0})
    assert "portrait models upload" in caught.value.hint
    [folder] = pending(settings)
    assert caught.value.folder == folder
    assert pq.read_table(folder / ENTITY_ROWS).num_rows == len(trained.data.frame), moment


def check_uploaded_once(settings: Settings, trained: Trained) -> None:
    [done] = upload(settings)
    assert (done.registered.version, done.registered.promoted) == ("1", True)
    assert upload(settings) == []
    assert not pending_root(settings).exists()
    with tracking(settings) as client:
        [version] = client.search_model_versions("name = 'redemption'")
        [run] = client.search_runs([client.get_experiment_by_name("redemption").experiment_id])
        history = client.get_metric_history(run.info.run_id, "auc")
        assert client.get_model_version_by_alias("redemption", "champion").version == version.version
    assert version.run_id == run.info.run_id == done.registered.run_id
    assert run.info.status == "FINISHED"
    assert [each.value for each in history] == [trained.evaluation.metrics["auc"].value]
    assert read_report(settings, run.info.run_id)["model_version"] == "1"
    check_study(settings, run, trained)


def check_study(settings: Settings, run: Any, trained: Trained) -> None:
    """The study came along: its figures, its files, and its part of the card."""
    assert trained.study
    assert dict(trained.study.metrics()).keys() <= run.data.metrics.keys()
    with tracking(settings) as client:
        names = {each.path for each in client.list_artifacts(run.info.run_id)}
    assert {"evaluation.json", "fairness.json", "fairness.md", "lift.png", "fairness_gaps.png"} <= names
    assert "## Fairness" in run.data.tags["mlflow.note.content"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_server_that_is_killed_costs_no_training(
    demo_home: Path,
    home: Path,
    server: MlflowServer,
    trained: Trained,
    moment: str,
    monkeypatch: pytest.MonkeyPatch,
):
    shutil.copytree(demo_home, home)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings = load_settings()
    if moment == "before":
        server.stop(signal.SIGKILL)
    else:
        die_at(moment, lambda: server.stop(signal.SIGKILL), monkeypatch)
    check_kept(settings, trained, moment)
    with pytest.raises(RunKeptError):  # it is still away
        upload(settings)
    assert len(pending(settings)) == 1
    server.start()
    check_uploaded_once(settings, trained)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_damaged_database_costs_no_training(
    demo_home: Path, home: Path, trained: Trained, moment: str, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(demo_home, home)
    settings = load_settings()
    with tracking(settings):
        pass
    database, whole = settings.home / "mlflow" / "mlflow.db", []

    def damage() -> None:
        whole.append(database.read_bytes())
        database.write_bytes(GARBAGE)

    if moment == "before":
        damage()
    else:
        die_at(moment, damage, monkeypatch)
    check_kept(settings, trained, moment)
    database.write_bytes(whole[0])
    check_uploaded_once(settings, trained)


@pytest.fixture
def kept(demo_home: Path, home: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home with a run that no MLflow took."""
    shutil.copytree(demo_home, home)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(RunKeptError):
        register(trained, load_settings())
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    return load_settings()


def test_who_is_erased_is_not_among_the_rows_of_a_kept_run(kept: Settings, trained: Trained):
    someone = trained.data.frame["user_id"].iloc[0]
    theirs = int((trained.data.frame["user_id"] == someone).sum())
    assert erase_entity_rows(kept, someone[2:], dry_run=False) == theirs
    [done] = upload(kept)
    with tracking(kept) as client:
        listed = pq.read_table(client.download_artifacts(done.registered.run_id, ENTITY_ROWS, str(kept.home)))
    assert someone not in listed["user_id"].to_pylist()
    assert listed.num_rows == len(trained.data.frame) - theirs


def test_who_was_erased_while_the_model_was_fitted_is_not_kept(
    own_demo: Settings, trained: Trained, monkeypatch: pytest.MonkeyPatch
):
    someone = trained.data.frame["user_id"].iloc[0]
    Tombstones(own_demo.home).add(someone)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(RunKeptError) as caught:
        register(trained, load_settings())
    assert someone not in pq.read_table(caught.value.folder / ENTITY_ROWS)["user_id"].to_pylist()


def test_a_kept_run_older_than_the_champion_is_no_champion(kept: Settings, trained: Trained):
    register(trained, kept)
    with tracking(kept) as client:
        client.set_model_version_tag("redemption", "1", "trained_until", "2027-01-01T00:00:00Z")
    [done] = upload(kept)
    assert (done.registered.version, done.registered.promoted, done.registered.challenger) == ("2", False, True)
    assert "was fitted on answers of rows" in done.registered.reason


def test_all_tasks_are_trained_though_mlflow_is_away(
    own_demo: Settings, small: Task, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    other = replace(small, name="another")
    monkeypatch.setattr(task_module, "all_tasks", lambda: {"redemption": small, "another": other})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert cli.main(["train", "--all"]) == 2
    out, err = capsys.readouterr()
    assert "redemption is trained and NOT registered" in out
    assert "another is trained and NOT registered" in out
    assert "portrait models upload" in err
    assert len(pending(own_demo)) == 2
