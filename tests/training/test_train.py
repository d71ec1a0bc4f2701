from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from feature_repo import cli
from feature_repo.core.clock import from_us
from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.mlflow_client import CHAMPION
from feature_repo.core.settings import Settings, load_settings
from feature_repo.engine.contract import fingerprint
from training import task as task_module
from training.data.dataset import Dataset
from training.declaring.recipe import Linear, Recipe
from training.evaluation.extras import Extras
from training.jobs.train import TrainReport, train
from training.registry.register import up_to_date
from training.runs.tracking import tracking
from training.task import Gate, Task

pytestmark = pytest.mark.slow(60)

LOAD = """
import sys, json, mlflow
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/redemption@champion")
scorer = model.unwrap_python_model()
example = model.input_example
print(json.dumps({
    "scores": model.predict(example).tolist(),
    "unwrapped": scorer.score(example[list(scorer.columns)].to_numpy(float)).tolist(),
    "columns": scorer.columns,
    "ours": sorted({"training", "feature_repo", "feast"} & set(sys.modules)),
}))
"""


@pytest.fixture(scope="module")
def trained(
    demo_home: Path, tmp_path_factory: pytest.TempPathFactory, redemption: Task
) -> Iterator[tuple[Path, TrainReport]]:
    """A home of its own with the demo, and the report of its first training."""
    home = tmp_path_factory.mktemp("trained") / "home"
    shutil.copytree(demo_home, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("PORTRAIT_HOME", str(home))
        yield home, train(redemption, extras=Extras(rolling=3, permute=True))


@pytest.fixture
def settings(trained: tuple[Path, TrainReport], home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of the trained home; the fixture ``home`` has cleared the environment before."""
    monkeypatch.setenv("PORTRAIT_HOME", str(trained[0]))
    return load_settings()


@pytest.fixture
def report(trained: tuple[Path, TrainReport]) -> TrainReport:
    return trained[1]


def champion_tags(settings: Settings) -> tuple[str, dict[str, str]]:
    with tracking(settings) as client:
        version = client.get_model_version_by_alias("redemption", CHAMPION)
    return str(version.version), version.tags


def test_the_gates_hold_on_the_real_data(report: TrainReport):
    assert all(report.gates.values()), report.measured
    assert report.promoted
    assert report.metrics["auc"] == pytest.approx(0.839, abs=0.004)
    assert 0.80 < report.intervals["auc"][0] < report.metrics["auc"] < report.intervals["auc"][1] < 0.88
    assert set(report.baselines) == {
        "recency",
        "rfm_logistic",
        "seven_feature_logistic",
        "all_feature_logistic",
        "xgboost",
        "decision_tree",
        "random_forest",
        "linear_svm",
    }
    assert report.rows == {"train": 3780, "test": 1653}


def test_no_result_is_too_good_to_be_true(report: TrainReport):
    assert report.metrics["auc"] < 0.90


def test_a_version_says_what_serving_and_an_auditor_need(report: TrainReport, settings: Settings, rows: Dataset):
    version, tags = champion_tags(settings)
    assert version == report.model_version
    assert tags["feature_service"] == "redemption_v1"
    assert tuple(json.loads(tags["feature_refs"])) == rows.features
    assert tags["definitions"] == fingerprint(rows.contract)
    assert tags["data_fingerprint"] == rows.fingerprint
    assert json.loads(tags["log_versions"]) == rows.log_versions
    assert [each["name"] for each in json.loads(tags["context"])] == ["campaign_type_a", "campaign_days"]
    assert pd.Timestamp(tags["trained_until"]) == rows.frame.known_at[rows.train].max()
    assert tags["gates"] == "passed"
    assert pd.Timestamp(tags["measured_from"]) == from_us(rows.split.cut)
    assert tags["task"] == rows.task.name
    with tracking(settings) as client:
        assert tags.items() <= client.get_run(report.run_id).data.tags.items()


def test_a_run_carries_its_evidence(report: TrainReport, settings: Settings, rows: Dataset, tmp_path: Path):
    with tracking(settings) as client:
        folder = Path(client.download_artifacts(report.run_id, "", str(tmp_path)))
        run = client.get_run(report.run_id).data
    names = {path.name for path in folder.iterdir()}
    pictures = {"calibration.png", "importance.png", "contributions.png"}
    pictures |= {"lift.png", "confusion.png", "slices.png", "rolling.png", "permutation.png"}
    pictures |= {"fairness_gaps.png", "fairness_groups.png"}
    assert names == pictures | {
        "evaluation.json",
        "fairness.json",
        "fairness.md",
        "contract.json",
        "entity_rows.parquet",
        "label.sql",
        "model_card.md",
        "reference.json",
        "report.json",
        "task.json",
    }
    assert json.loads((folder / "contract.json").read_text()) == rows.contract
    assert pq.read_table(folder / "entity_rows.parquet").column_names == [
        "user_id",
        "event_timestamp",
        "label",
        "split",
        "content",
    ]
    assert set(json.loads((folder / "reference.json").read_text())["columns"]) == set(rows.inputs)
    card = (folder / "model_card.md").read_text()
    assert "which is noise" in card
    for section in ("Data", "Label", "Windows", "Gates", "Slices", "Inputs", "Signature", "Limits"):
        assert f"\n## {section}\n" in card
    assert rows.fingerprint in card
    assert rows.task.label.strip() in card
    assert "look back over 28d, 84d, 182d, 364d." in card
    assert "u_" not in card.replace("u_se", "")
    observed = rows.frame.event_timestamp
    for instant in (observed[rows.train].min(), observed[rows.test].max(), rows.frame.known_at[rows.train].max()):
        assert f"{instant:%Y-%m-%d %H:%M} UTC" in card
    assert f"test stretch begins {from_us(rows.split.cut):%Y-%m-%d %H:%M} UTC" in card
    for name in ("auc", "auc_low", "baseline/rfm_logistic/auc", "slice/campaign_type_B_C/ece"):
        assert np.isfinite(run.metrics[name]), name
    for name in ("threshold", "f1_low", "lift_10pct", "precision_at/5pct", "rolling/auc_deviation"):
        assert np.isfinite(run.metrics[name]), name
    for name in ("fairness/age/gap_tpr", "slice/spend_band_over 977/excess", "permutation/user_payments"):
        assert np.isfinite(run.metrics[name]), name
    for title in ("Decisions", "Slices", "Over time", "What is lost without a view", "Fairness"):
        assert f"## {title}" in card
    assert "**By income.** The model does not read it. Known in 965 of 1,653 test rows" in card
    assert "Of 12 gaps, 0.6 exceed chance by chance." in card


def test_the_report_says_in_short_what_the_study_found(report: TrainReport):
    found = report.study
    assert 0.15 < found["decision"]["threshold"] < 0.40
    assert found["decision"]["f1"] == pytest.approx(0.56, abs=0.03)
    assert found["lift_10pct"] == pytest.approx(4.3, abs=0.2)
    assert found["slices"]["campaign_type=B/C"]["auc"] == report.slices["campaign_type=B/C"]["auc"]
    assert set(found["fairness"]) == {"age", "income"}
    assert found["rolling"]["auc"]["low"] < found["rolling"]["auc"]["high"]


def test_a_model_loads_without_this_project_and_scores_alike(settings: Settings, rows: Dataset, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", LOAD, settings.tracking_uri],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    found = json.loads(done.stdout)
    assert found["ours"] == []
    assert tuple(found["columns"]) == rows.inputs
    assert found["scores"] == found["unwrapped"]
    assert len(found["scores"]) == 9
    assert all(0 < score < 1 for score in found["scores"])


def test_a_datasets_rows_can_be_given_to_the_model_as_they_are(settings: Settings, rows: Dataset, report: TrainReport):
    with tracking(settings):
        model = mlflow.pyfunc.load_model(f"models:/redemption/{report.model_version}")
    columns = [column.name for column in model.metadata.get_input_schema().inputs]
    scores = model.predict(rows.frame[columns])
    np.testing.assert_array_equal(scores, model.unwrap_python_model().score(rows.matrix()))
    with pytest.raises(mlflow.MlflowException, match="campaign_days"):
        model.predict(rows.frame[columns].drop(columns="campaign_days"))


def test_the_champion_is_up_to_date_until_rows_features_or_task_change(
    settings: Settings, rows: Dataset, redemption: Task, report: TrainReport
):
    champion = up_to_date(redemption, rows, settings)
    assert champion is not None
    assert champion.version == int(report.model_version) or str(champion.version) == report.model_version
    longer = replace(redemption, validation=redemption.validation - timedelta(hours=1))
    assert up_to_date(longer, replace(rows, task=longer), settings) is None
    assert up_to_date(redemption, replace(rows, fingerprint="0" * 16), settings) is None
    assert up_to_date(redemption, replace(rows, contract={**rows.contract, "v__new": "[]"}), settings) is None


def test_nothing_is_trained_when_nothing_changed(settings: Settings, redemption: Task, report: TrainReport):
    again = train(redemption, if_changed=True)
    assert again.unchanged
    assert replace(again, unchanged=False, seconds=0, intervals={}) == replace(report, seconds=0, intervals={})


def quick(task: Task, **changes) -> Task:
    """The task with a model that takes no time."""
    return replace(task, model=Recipe(linear=Linear(strength=0.03)), **changes)


def test_a_model_that_fails_a_gate_is_registered_and_the_champion_stays(
    settings: Settings, redemption: Task, report: TrainReport, monkeypatch: pytest.MonkeyPatch, capsys
):
    strict = quick(redemption, gates=(Gate("auc", at_least=0.99),))
    monkeypatch.setattr(task_module, "all_tasks", lambda: {"redemption": strict})
    assert cli.main(["train", "redemption", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["tasks"]["redemption"]
    assert found["gates"]["auc"] is False
    assert found["promoted"] is False
    assert found["model_version"] != report.model_version
    assert champion_tags(settings)[0] == report.model_version


def test_the_command_prints_a_table_and_nothing_else(
    demo_home: Path, home: Path, redemption: Task, monkeypatch: pytest.MonkeyPatch, capfd
):
    shutil.copytree(demo_home, home)
    monkeypatch.setattr(task_module, "all_tasks", lambda: {"redemption": quick(redemption, must_beat=())})
    assert cli.main(["train", "--all"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert out.startswith("redemption: fitted on 3,780 rows, measured on 1,653 later ones\n")
    assert "auc@campaign_type=B/C" in out
    assert "redemption version 1 is champion" in out
    assert {path.name for path in (home / "mlflow").iterdir()} == {"artifacts", "lock", "mlflow.db"}


def test_a_log_that_cannot_support_a_task_is_told(shop: Settings, write, capsys):
    write("purchase", datetime(2026, 3, 1, tzinfo=UTC), user_id="u_" + "0" * 32, amount=1.0)
    assert cli.main(["train", "--all", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    lacks = "Task 'redemption' finds no row to learn from in this log: it has no 'campaign_exposure' and no "
    assert found["tasks"].pop("redemption") == {"unavailable": f"{lacks}'coupon_redeem' events."}
    assert found["tasks"].pop("purchase_intent") == {
        "unavailable": "Task 'purchase_intent' needs 'view' events, and the log has none."
    }
    assert set(found["tasks"]) == {"category", "churn", "items", "spend"}
    assert all("unavailable" in each for each in found["tasks"].values())
    assert cli.main(["train", "redemption", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "TaskUnavailableError"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train"], "Name one task"),
        (["train", ""], "There is no task ''"),
        (["train", "redemption", "--all"], "Name one task"),
        (["train", "x"], "redemption"),
    ],
)
def test_a_training_needs_one_task_or_all(words: list[str], message: str, home: Path, capsys):
    assert cli.main(words) == 2
    assert message in capsys.readouterr().err


def test_mlflow_points_where_it_did_before(home: Path):
    home.mkdir()
    mlflow.set_tracking_uri(None)
    levels = [logging.getLogger(name).level for name in ("mlflow", "alembic")]
    with tracking(load_settings()):
        assert mlflow.get_tracking_uri() == load_settings().tracking_uri
    assert not mlflow.is_tracking_uri_set()
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert [logging.getLogger(name).level for name in ("mlflow", "alembic")] == levels


def test_an_address_the_environment_no_longer_names_does_not_come_back(home: Path):
    mlflow.set_tracking_uri("http://127.0.0.1:1")
    try:
        os.environ.pop("MLFLOW_TRACKING_URI", None)  # where MLflow put it
        with tracking(load_settings()):
            pass
        assert mlflow.get_tracking_uri() == "http://127.0.0.1:1"
        assert "MLFLOW_TRACKING_URI" not in os.environ
    finally:
        mlflow.set_tracking_uri(None)


def test_a_server_that_is_away_is_told_without_its_password(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:s3cret@127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(StoreUnavailableError, match="cannot be read") as caught, tracking(load_settings()):
        pass
    assert "s3cret" not in str(caught.value)
