"""Inputs are left out by what training rows say, and what that cost is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from feature_repo.core.errors import PortraitError
from training.data.dataset import Dataset
from training.declaring.recipe import Boosting, Linear, Recipe
from training.fitting.options import SELECTIONS, Options
from training.preparing.prepare import VARIANCE, prepare
from training.preparing.selection import MOST_COST, Rung, binned, narrowed, select, sizes, smallest

QUICK = Recipe(linear=Linear(strength=0.03))
NOISE = tuple(f"noise_{n}" for n in range(6))
TRUTH = ("a", "b", "c")


def silent(what: str, done: float) -> None:
    del what, done


@pytest.fixture(scope="module")
def known(rows: Dataset) -> Dataset:
    """The demo's rows with three inputs that make the answer, and six that are noise."""
    random = np.random.default_rng(3)
    values = random.normal(size=(len(rows.frame), len(TRUTH) + len(NOISE)))
    logit = 1.5 * values[:, 0] - 1.5 * values[:, 1] + np.abs(values[:, 2]) - 1
    frame = rows.frame.assign(**dict(zip((*TRUTH, *NOISE), values.T, strict=True)))
    frame["label"] = (random.uniform(size=len(frame)) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    model = Recipe(boosting=Boosting(seeds=(1,), max_rounds=100, patience=20, eta=0.2, falling=("b", "noise_1")))
    return replace(rows, frame=frame, features=(*TRUTH, *NOISE), task=replace(rows.task, context=(), model=model))


@pytest.mark.parametrize("method", ["filter", "wrapper"])
def test_noise_is_dropped_and_what_makes_the_answer_is_kept(known: Dataset, method: str):
    found = select(known.task.model, known, method, threads=1, step=silent)
    assert set(TRUTH) <= set(found.kept.inputs)
    assert len(found.dropped) >= 4
    assert found.cost <= MOST_COST
    assert found.rungs[0].inputs == known.inputs


def test_a_penalty_keeps_what_a_straight_line_sees(known: Dataset):
    linear = replace(known, task=replace(known.task, model=Recipe(linear=Linear(logarithmic=False))))
    found = select(linear.task.model, linear, "embedded", threads=1, step=silent)
    assert {"a", "b"} <= set(found.kept.inputs)
    assert found.dropped


def test_the_statistics_of_a_filter_tell_noise_from_truth(known: Dataset):
    scores = select(known.task.model, known, "filter", threads=1, step=silent).scores
    for name in ("chi2", "mutual_information"):
        assert min(scores[each][name] for each in TRUTH) > 2 * max(scores[each][name] for each in NOISE)


@pytest.mark.parametrize("method", SELECTIONS)
def test_a_selection_does_not_read_the_test_rows(known: Dataset, method: str):
    frame = known.frame.copy()
    frame.loc[known.test, list(TRUTH)] = 0.0
    frame.loc[known.test, "label"] = 1 - frame.loc[known.test, "label"]
    once, again = (select(QUICK, data, method, threads=1, step=silent) for data in (known, replace(known, frame=frame)))
    assert once == again


def test_the_smallest_set_within_the_cost_is_taken():
    rungs = tuple(Rung(tuple("abcd"[:size]), value) for size, value in [(4, 0.80), (3, 0.7985), (2, 0.7979)])
    assert smallest(rungs) is rungs[1]
    assert smallest(rungs[:1]) is rungs[0]


def test_directions_of_inputs_that_went_go_with_them(known: Dataset):
    kept = narrowed(known.task.model, ("a", "b")).boosting
    assert kept is not None
    assert (kept.falling, list(sizes(10))) == (("b",), [7, 5, 3])


def test_null_has_a_bin_of_its_own():
    assert binned(np.full(3, np.nan)).tolist() == [1, 1, 1]
    values = np.r_[np.arange(100.0), np.nan]
    assert binned(values)[-1] == binned(values)[:-1].max() + 1


def test_components_hold_the_variance_and_are_fewer_than_the_terms(rows: Dataset, demo):
    data = replace(rows, task=replace(rows.task, model=QUICK))
    found = prepare(data, Options(reduce="pca"), demo, step=silent)
    assert found.recipe.linear is not None
    assert found.recipe.linear.variance == VARIANCE
    assert 2 < found.metrics["reduce/components"] < found.metrics["reduce/terms"] == len(rows.inputs)
    assert found.baselines == {"as_declared": QUICK}
    plain = Recipe(boosting=Boosting())
    with pytest.raises(PortraitError, match="no linear part"):
        prepare(replace(rows, task=replace(rows.task, model=plain)), Options(reduce="pca"), demo, step=silent)


@pytest.mark.parametrize(
    ("asked", "message"),
    [({"select": "filtr"}, "--select is 'filtr'"), ({"reduce": "svd"}, "--reduce"), ({"trials": -1}, "--trials is -1")],
)
def test_what_is_no_option_is_told(asked: dict, message: str):
    with pytest.raises(PortraitError, match=message):
        Options(**asked)
