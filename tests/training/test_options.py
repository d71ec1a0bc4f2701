"""A run with options says what was done, is compared with the run without, and comes out the same again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feature_repo import cli
from feature_repo.core.settings import Settings, load_settings
from training import task as task_module
from training.declaring.recipe import Boosting, Linear, Recipe
from training.fitting.options import Options
from training.jobs.train import train
from training.runs.tracking import tracking
from training.task import Task

pytestmark = [pytest.mark.slow(30), pytest.mark.usefixtures("one_reference", "undrawn")]

MODEL = Recipe(linear=Linear(strength=0.03), boosting=Boosting(seeds=(1, 2), max_rounds=30, patience=10))
WORDS = ["train", "redemption", "--select", "embedded", "--reduce", "pca"]


@pytest.fixture(scope="module")
def small(redemption: Task) -> Task:
    return replace(redemption, model=MODEL, baselines={}, gates=(), must_beat=(), not_worse_than=())


@pytest.fixture(scope="module")
def made(demo_home: Path, tmp_path_factory: pytest.TempPathFactory, small: Task) -> Iterator[tuple[Path, Any]]:
    """A home with one run that was asked for more than the task declares."""
    home = tmp_path_factory.mktemp("options") / "home"
    shutil.copytree(demo_home, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("PORTRAIT_HOME", str(home))
        yield home, train(small, options=Options(select="embedded", reduce="pca"))


@pytest.fixture
def settings(made: tuple[Path, Any], home: Path, small: Task, monkeypatch: pytest.MonkeyPatch) -> Settings:
    shutil.copytree(made[0], home)
    monkeypatch.setattr(task_module, "all_tasks", lambda: {"redemption": small})
    return load_settings()


def test_a_run_says_what_was_dropped_and_what_it_cost(made: tuple[Path, Any], settings: Settings, tmp_path: Path):
    report = made[1]
    with tracking(settings) as client:
        run = client.get_run(report.run_id).data
        folder = Path(client.download_artifacts(report.run_id, "", str(tmp_path)))
    chosen = json.loads((folder / "selection.json").read_text())
    assert chosen["dropped"]
    assert run.metrics["select/dropped"] == len(chosen["dropped"])
    assert run.metrics["select/validation_auc_all"] - run.metrics["select/validation_auc"] == pytest.approx(
        chosen["cost"]
    )
    assert (run.params["select"], run.params["reduce"]) == ("embedded", "pca")
    assert {"baseline/as_declared/auc", "auc", "reduce/components"} <= set(run.metrics)
    card = (folder / "model_card.md").read_text()
    assert all(f"- {note}" in card for note in report.notes)
    assert chosen["dropped"][0] in report.notes[0]
    assert "principal components" in report.notes[1]
    assert "Against as declared, on the test rows: AUC " in report.notes[2]
    assert report.baselines["as_declared"] != report.metrics


def test_a_run_with_options_comes_out_the_same_without_them_being_said(
    made: tuple[Path, Any], settings: Settings, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["train", "redemption", "--reproduce", made[1].run_id, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["outcome"] == "same"
    assert found["metrics"]["auc"]["rebuilt"] == pytest.approx(made[1].metrics["auc"], abs=1e-9)
    assert {"baseline/as_declared/auc", "reduce/components"} <= set(found["metrics"])
    assert found["not_compared"] == [
        "select/dropped",
        "select/inputs",
        "select/validation_auc",
        "select/validation_auc_all",
    ]
    assert cli.main([*WORDS, "--reproduce", made[1].run_id]) == 2
    assert "options of its training" in capsys.readouterr().err


def test_a_champion_of_other_options_is_not_up_to_date(
    made: tuple[Path, Any], settings: Settings, small: Task, capsys: pytest.CaptureFixture[str]
):
    assert made[1].promoted
    assert cli.main([*WORDS, "--if-changed"]) == 0
    out = capsys.readouterr().out
    assert "Nothing has changed" in out
    assert made[1].notes[0] in out
    assert not train(small, if_changed=True).unchanged
