"""Parameters are searched on validation rows, from the declared ones on, the same whenever it is done."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from feature_repo.core.errors import PortraitError
from training.data.dataset import Dataset
from training.declaring.recipe import Boosting, Copy, Linear, Recipe
from training.fitting.options import Options
from training.preparing.prepare import prepare
from training.preparing.search import WARMUP, Search, declared, search, with_params

pytestmark = pytest.mark.slow(30)

# Slow, and told to overfit: easily bettered.
POOR = Recipe(boosting=Boosting(eta=0.9, max_depth=8, min_child_weight=0.0, seeds=(1, 2), max_rounds=80, patience=45))
BLEND = replace(POOR, linear=Linear(strength=0.03))


def silent(what: str, done: float) -> None:
    del what, done


def found(
    data: Dataset, recipe: Recipe = POOR, trials: int = 14, step: Callable[[str, float], None] = silent
) -> Search:
    return search(recipe, data, trials, threads=1, step=step)


@pytest.fixture(scope="module")
def once(rows: Dataset) -> Search:
    return found(rows)


def test_a_search_begins_with_what_is_declared_and_finds_better(once: Search):
    assert once.trials[0].params == declared(POOR)
    assert len(once.trials) == 15
    assert once.best.loss is not None
    assert once.trials[0].loss is not None
    assert once.best.loss < once.trials[0].loss
    assert declared(once.recipe) == once.best.params
    assert once.recipe.boosting is not None
    assert once.recipe.boosting.seeds == (1, 2)


def test_a_trial_that_lies_behind_is_ended_and_never_taken(once: Search):
    ended = [each for each in once.trials if each.loss is None]
    assert len(ended) == once.pruned > 0
    assert all(each.rounds >= WARMUP for each in ended)
    assert once.best.loss == min(each.loss for each in once.trials if each.loss is not None)


def test_a_search_does_not_read_the_test_rows_and_comes_out_the_same_again(rows: Dataset, once: Search):
    frame = rows.frame.copy()
    frame.loc[rows.test, "label"] = 1 - frame.loc[rows.test, "label"]
    frame.loc[rows.test, list(rows.features)] = 0.0
    assert found(replace(rows, frame=frame)) == once


def test_a_blend_is_searched_as_a_whole_and_the_bar_follows(rows: Dataset):
    told: list[tuple[str, float]] = []
    best = found(rows, BLEND, trials=3, step=lambda what, done: told.append((what, done)))
    assert set(best.best.params) == {*declared(POOR), "strength"}
    assert [done for _, done in told] == [0.25, 0.5, 0.75, 1.0]
    assert told[-1][0].startswith("trial 4 of 4, best logloss 0.")
    assert declared(with_params(BLEND, best.best.params)) == best.best.params


def test_declared_parameters_that_nothing_beats_stay(rows: Dataset, demo, monkeypatch: pytest.MonkeyPatch):
    data = replace(rows, task=replace(rows.task, model=BLEND))
    monkeypatch.setattr("training.preparing.search._Trying._loss", lambda self, scores: 0.5)
    prepared = prepare(data, Options(trials=2), demo, step=silent)
    assert prepared.recipe == BLEND
    assert prepared.baselines == {}
    assert "the declared ones stay" in prepared.notes[0]


def test_a_run_keeps_every_trial(rows: Dataset, demo):
    data = replace(rows, task=replace(rows.task, model=POOR))
    prepared = prepare(data, Options(trials=2), demo, step=silent)
    study = json.loads(prepared.artifacts["study.json"])
    assert len(study["trials"]) == 3
    assert study["best"]["loss"] == prepared.metrics["search/validation_logloss"]
    assert prepared.params == {"trials": "2"}
    assert np.isfinite(prepared.metrics["search/validation_logloss_declared"])


def test_a_search_says_what_it_lacks(rows: Dataset, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(PortraitError, match="no parameters"):
        found(rows, Recipe(copy=Copy("campaign_days")))
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(PortraitError, match="Optuna") as caught:
        found(rows)
    assert "user-portrait[search]" in caught.value.hint
