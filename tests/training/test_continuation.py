"""A training may go on from the champion's trees; what that is worth against a full refit is measured and told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import xgboost

from feature_repo import cli
from feature_repo.core.errors import DataError, PortraitError
from feature_repo.core.settings import Settings, load_settings
from training import task as task_module
from training.data.dataset import Dataset
from training.declaring.recipe import Boosting, Linear, Recipe
from training.evaluation.trained import fit_and_measure
from training.fitting.fit import fit
from training.fitting.options import Options
from training.fitting.preparation import Prepared
from training.jobs.train import train
from training.preparing.continuation import _differing, continued
from training.registry.register import register
from training.runs.tracking import tracking
from training.runs.version import champion_version
from training.task import Task

pytestmark = [pytest.mark.slow(52), pytest.mark.usefixtures("one_reference", "undrawn")]

MODEL = Recipe(linear=Linear(strength=0.03), boosting=Boosting(seeds=(1, 2), max_rounds=60, patience=10, eta=0.1))
FURTHER = Options(continue_from="champion")


def silent(what: str, done: float) -> None:
    del what, done


@pytest.fixture(scope="module")
def small(redemption: Task) -> Task:
    return replace(redemption, model=MODEL, baselines={}, gates=(), must_beat=(), not_worse_than=())


@pytest.fixture(scope="module")
def made(demo_home: Path, tmp_path_factory: pytest.TempPathFactory, small: Task) -> Iterator[tuple[Path, int]]:
    """A home whose champion was trained when half a year of the log was still to come, and its trees per seed."""
    home = tmp_path_factory.mktemp("continued") / "home"
    shutil.copytree(demo_home, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("PORTRAIT_HOME", str(home))
        earlier = replace(small, holdout=small.holdout + timedelta(days=91))
        assert train(earlier).promoted
        with tracking(load_settings()) as client:
            version = champion_version(client, load_settings(), "redemption")
            assert version is not None
            yield home, trees_of(version.parts()[1])


@pytest.fixture
def settings(made: tuple[Path, int], home: Path, small: Task, monkeypatch: pytest.MonkeyPatch) -> Settings:
    shutil.copytree(made[0], home)
    monkeypatch.setattr(task_module, "all_tasks", lambda: {"redemption": small})
    return load_settings()


@pytest.fixture
def data(rows: Dataset, small: Task) -> Dataset:
    return replace(rows, task=small)


def trees_of(boosters) -> int:
    return int(np.median([xgboost.Booster(model_file=bytearray(raw)).num_boosted_rounds() for raw in boosters]))


def test_the_champions_trees_stay_and_others_are_added(made: tuple[Path, int], settings: Settings, data: Dataset):
    found = continued(Prepared(data.task.model, FURTHER), data, settings)
    assert found.continued is not None
    with tracking(settings) as client:
        version = champion_version(client, settings, "redemption")
        assert version is not None
        head, before = version.parts()
    added = int(found.metrics["continue/added_rounds"])
    assert added >= 1
    for old, new in zip(before, found.continued.boosters, strict=True):
        longer = xgboost.Booster(model_file=bytearray(new))
        assert longer[: made[1]].get_dump() == xgboost.Booster(model_file=bytearray(old)).get_dump()
        assert longer.num_boosted_rounds() == made[1] + added
    assert found.continued.head["linear"] != head["linear"]
    assert 0 < found.metrics["continue/new_rows"] < data.train.sum()
    assert found.origin == "redemption@1"
    assert found.seconds > 0
    scores = found.continued.scorer().score(data.matrix()[data.train])
    assert scores.mean() == pytest.approx(data.labels[data.train].mean(), abs=1e-6)


def test_what_was_gone_on_with_is_measured_beside_a_full_refit_told_and_reproduced(
    settings: Settings, data: Dataset, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["train", "redemption", "--continue-from", "champion"]) == 0
    out = capsys.readouterr().out
    assert "Went on from redemption@1: " in out
    assert "Against full refit, on the test rows: AUC " in out
    with tracking(settings) as client:
        version = client.get_model_version("redemption", "2")
        run = client.get_run(version.run_id).data
    full = fit(data.task.model, data, threads=2).scorer()
    expected = fit_and_measure(data, threads=2, step=silent).evaluation.metrics["auc"].value
    assert full.columns == data.inputs
    assert run.metrics["baseline/full_refit/auc"] == pytest.approx(expected, abs=1e-6)
    assert abs(run.metrics["auc"] - expected) < 0.03
    assert (run.params["origin"], run.params["continue_from"]) == ("redemption@1", "champion")
    assert cli.main(["train", "redemption", "--reproduce", version.run_id]) == 0
    assert "came out the same" in capsys.readouterr().out


def test_on_rows_the_champion_knows_a_tenth_is_added_and_its_slope_stays(settings: Settings, data: Dataset):
    first = register(fit_and_measure(data, threads=2, step=silent), settings)
    assert first.promoted
    with tracking(settings) as client:
        version = champion_version(client, settings, "redemption")
        assert version is not None
        head, before = version.parts()
    found = continued(Prepared(data.task.model, FURTHER), data, settings)
    assert found.continued is not None
    assert found.metrics["continue/new_rows"] == 0
    assert found.metrics["continue/added_rounds"] == max(1, trees_of(before) // 10)
    calibration = found.continued.head["calibration"]
    assert calibration.get("slope") == head["calibration"].get("slope")


def test_a_champion_of_other_inputs_is_refused_by_their_names(
    settings: Settings, small: Task, data: Dataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    fewer = replace(small, model=replace(MODEL, inputs=data.inputs[1:]))
    monkeypatch.setattr(task_module, "all_tasks", lambda: {"redemption": fewer})
    assert cli.main(["train", "redemption", "--continue-from", "champion"]) == 2
    assert f"its inputs differ: it reads '{data.inputs[0]}' besides" in capsys.readouterr().err
    more = replace(small, model=replace(MODEL, boosting=replace(MODEL.boosting, seeds=(1, 2, 3))))
    with pytest.raises(DataError, match="another number of seeds"):
        continued(Prepared(more.model, FURTHER), replace(data, task=more), settings)


def test_a_champion_that_knows_answers_of_the_test_rows_is_refused(settings: Settings, small: Task, data: Dataset):
    register(fit_and_measure(data, threads=2, step=silent), settings)
    earlier = replace(data, split=replace(data.split, cut=data.split.cut - 91 * 86_400_000_000))
    with pytest.raises(DataError, match="knows answers of the test rows"):
        continued(Prepared(small.model, FURTHER), earlier, settings)


def test_without_a_champion_there_is_nothing_to_continue_from(own_demo: Settings, data: Dataset):
    with pytest.raises(DataError, match="no champion to continue from"):
        continued(Prepared(data.task.model, FURTHER), data, own_demo)


def test_nothing_can_be_chosen_where_a_champion_is_continued(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(PortraitError, match="nothing can be chosen"):
        Options(continue_from="champion", select="filter")
    assert cli.main(["train", "--all", "--continue-from", "champion"]) == 2
    assert "name its task" in capsys.readouterr().err
    assert _differing(("a",), ("a",)) == ""
