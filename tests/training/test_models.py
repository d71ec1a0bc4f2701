"""Which version answers: judged at training, promoted and rolled back by hand, seen by serving without a restart."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feature_repo import cli
from feature_repo.core.clock import FixedClock
from feature_repo.core.errors import CheckFailedError, DataError, ModelUnavailableError
from feature_repo.core.settings import Settings, load_settings
from serving.scoring import REFRESH_US, ModelRegistry
from training.data.dataset import Dataset
from training.declaring.baselines import RFM
from training.declaring.recipe import Linear, Recipe
from training.evaluation.trained import Trained, fit_and_measure
from training.registry.models import compare, list_versions, show_version
from training.registry.promotion import promote, rollback
from training.registry.register import Registered, register
from training.runs.aliases import moves
from training.runs.tracking import tracking
from training.task import Gate, Task

pytestmark = [pytest.mark.slow(45), pytest.mark.usefixtures("one_reference", "undrawn")]

MODEL = Recipe(linear=Linear(strength=0.03))
WEAKER = Recipe(inputs=RFM, linear=Linear())


def fitted(rows: Dataset, task: Task) -> Trained:
    return fit_and_measure(replace(rows, task=task), threads=1, step=lambda what, done: None)


@pytest.fixture(scope="module")
def shelf(
    demo_home: Path, tmp_path_factory: pytest.TempPathFactory, rows: Dataset, redemption: Task
) -> Iterator[tuple[Path, list[Registered], list[Trained]]]:
    """A home with versions 1 and 2 of one fit, a weaker 3, and 4 whose gate does not hold."""
    home = tmp_path_factory.mktemp("shelf") / "home"
    shutil.copytree(demo_home, home)
    plain = replace(redemption, model=MODEL, baselines={}, gates=(), must_beat=(), not_worse_than=())
    tasks = [
        plain,
        plain,
        replace(plain, model=WEAKER),
        replace(plain, gates=(Gate("auc", at_least=0.99),)),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("PORTRAIT_HOME", str(home))
        found = [fitted(rows, task) for task in tasks]
        yield home, [register(each, load_settings()) for each in found], found


@pytest.fixture
def settings(shelf: tuple[Path, list[Registered], list[Trained]], home: Path, monkeypatch: pytest.MonkeyPatch):
    """Settings of a copy of the shelf that may be written to."""
    shutil.copytree(shelf[0], home)
    return load_settings()


def champion(settings: Settings) -> str:
    [answering] = [
        each.version for each in list_versions(settings, "redemption").tasks["redemption"] if "champion" in each.aliases
    ]
    return answering


def test_of_two_alike_the_newer_is_champion_a_weaker_one_challenger_and_one_that_fails_neither(shelf):
    first, again, weaker, failing = shelf[1]
    assert [each.version for each in shelf[1]] == ["1", "2", "3", "4"]
    assert (first.promoted, first.reason) == (True, "there was no champion")
    assert again.promoted
    assert "AUC +0.0000 [+0.0000, +0.0000] against redemption@1" in again.reason
    assert (weaker.promoted, weaker.challenger) == (False, True)
    assert "AUC -0." in weaker.reason
    assert (failing.promoted, failing.challenger, failing.reason) == (False, False, "a gate does not hold")


def test_a_list_says_who_answers_how_well_and_whether_features_mean_the_same(settings: Settings, shelf, capsys):
    assert cli.main(["models", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    versions = {each["version"]: each for each in found["tasks"]["redemption"]}
    assert list(versions) == ["4", "3", "2", "1"]
    assert [versions[number]["aliases"] for number in "1234"] == [[], ["champion"], ["challenger"], []]
    assert [versions[number]["gates"] for number in "1234"] == ["passed"] * 3 + ["failed"]
    assert {each["definitions"] for each in versions.values()} == {"valid"}
    auc = shelf[2][1].evaluation.metrics["auc"]
    assert versions["2"]["metrics"]["auc"] == {"value": auc.value, "low": auc.low, "high": auc.high}
    assert not [name for name in versions["2"]["metrics"] if "/" in name]
    assert found["pending"] == []
    assert cli.main(["models", "list"]) == 0
    assert "champion" in capsys.readouterr().out


def test_two_versions_are_compared_on_the_same_rows_in_pairs(settings: Settings, shelf):
    found = compare(settings, "redemption@2", "redemption@challenger")
    assert (found.a, found.b, found.paired, found.rows) == ("redemption@2", "redemption@3", True, 1653)
    ours, theirs = (shelf[2][place].evaluation.metrics for place in (1, 2))
    auc, loss = found.metrics["auc"], found.metrics["logloss"]
    assert (auc.a, auc.b) == (pytest.approx(ours["auc"].value), pytest.approx(theirs["auc"].value))
    assert auc.difference == pytest.approx(ours["auc"].value - theirs["auc"].value)
    assert 0 < auc.low < auc.difference < auc.high
    apart = [each["auc"].high - each["auc"].low for each in (ours, theirs)]
    assert auc.high - auc.low < np.hypot(*apart)  # what pairing is for
    assert auc.better == loss.better == "redemption@2"
    assert loss.difference < 0


def test_versions_of_other_questions_are_set_side_by_side(settings: Settings):
    with tracking(settings) as client:
        client.set_model_version_tag("redemption", "3", "question", "another")
    found = compare(settings, "redemption@2", "redemption@3")
    assert not found.paired
    assert "different questions" in found.reason
    assert found.metrics["auc"].difference is None
    assert found.metrics["auc"].a > found.metrics["auc"].b


def test_a_version_that_saw_the_test_rows_is_not_measured_on_them(settings: Settings):
    with tracking(settings) as client:
        client.set_model_version_tag("redemption", "3", "trained_until", "2030-01-01T00:00:00Z")
    assert "fitted on answers" in compare(settings, "redemption@2", "redemption@3").reason


def test_serving_takes_a_promoted_version_and_the_one_before_without_a_restart(settings: Settings):
    clock = FixedClock(0)
    registry = ModelRegistry(settings, clock)
    assert registry.champion("redemption").version == "2"
    promote(settings, "redemption", "challenger")
    assert registry.champion("redemption").version == "2"
    clock.at_us += REFRESH_US
    assert registry.champion("redemption").version == "3"
    done = rollback(settings, "redemption")
    assert (done.version, done.before) == ("2", "3")
    clock.at_us += REFRESH_US
    assert registry.champion("redemption").version == "2"
    assert rollback(settings, "redemption").version == "1"
    with pytest.raises(DataError, match="No champion of 'redemption' before redemption@1"):
        rollback(settings, "redemption")


def test_the_history_says_who_moved_which_alias_when_and_how(settings: Settings):
    promote(settings, "redemption", "3")
    rollback(settings, "redemption")
    with tracking(settings) as client:
        history = moves(client, "redemption")
        assert "challenger" not in client.get_registered_model("redemption").aliases
    assert [(each.alias, each.before, each.after, each.action) for each in history] == [
        ("champion", "", "1", "train"),
        ("champion", "1", "2", "train"),
        ("challenger", "", "3", "train"),
        ("champion", "2", "3", "promote"),
        ("challenger", "3", "", "promote"),
        ("champion", "3", "2", "rollback"),
    ]
    assert all(each.by and each.at for each in history)
    assert [each.at for each in history] == sorted(each.at for each in history)


def test_a_version_whose_gates_fail_answers_only_for_a_reason(settings: Settings, capsys):
    assert cli.main(["models", "promote", "redemption", "4"]) == 1
    assert "--despite-gates" in capsys.readouterr().err
    assert champion(settings) == "2"
    assert cli.main(["models", "promote", "redemption", "4", "--despite-gates", "the shop closes"]) == 0
    assert champion(settings) == "4"
    details = show_version(settings, "redemption", "champion")
    assert details.facts.despite_gates == "the shop closes"
    assert details.moves[-1].reason == "the shop closes"
    assert cli.main(["models", "show", "redemption"]) == 0
    assert "the shop closes" in capsys.readouterr().out


def test_a_version_whose_features_mean_something_else_is_not_promoted(
    settings: Settings, rows: Dataset, monkeypatch: pytest.MonkeyPatch
):
    changed = {name: text + " " if name == RFM[0] else text for name, text in rows.contract.items()}
    monkeypatch.setattr("training.registry.promotion.current_contract", lambda service: changed)
    with pytest.raises(ModelUnavailableError, match=RFM[0]):
        promote(settings, "redemption", "3")
    with pytest.raises(ModelUnavailableError, match=RFM[0]):
        rollback(settings, "redemption")
    assert champion(settings) == "2"
    # A feature the model does not read may mean what it likes.
    unread = next(name for name in rows.contract if name not in RFM)
    monkeypatch.setattr(
        "training.registry.promotion.current_contract", lambda service: {**rows.contract, unread: "new"}
    )
    assert promote(settings, "redemption", "3").version == "3"


@pytest.mark.parametrize(("task", "version"), [("redemption", "9"), ("redemption", "best"), ("unheard", "1")])
def test_what_is_not_there_is_told(settings: Settings, task: str, version: str):
    with pytest.raises(DataError, match=task):
        promote(settings, task, version)


def test_gates_are_checked_before_definitions(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("training.registry.promotion.current_contract", lambda service: {})
    with pytest.raises(CheckFailedError):
        promote(settings, "redemption", "4")
