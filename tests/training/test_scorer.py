from __future__ import annotations

import ast
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost

from training import scorer as scorer_file
from training.data.dataset import Dataset
from training.declaring.recipe import Boosting, Linear, Recipe
from training.fitting.calibration import platt
from training.fitting.fit import Fitted, fit

QUICK = Boosting(seeds=(1, 2), max_rounds=40, patience=10)


@pytest.fixture(scope="module")
def fitted(rows: Dataset) -> Fitted:
    return fit(Recipe(linear=Linear(strength=0.03), boosting=QUICK), rows)


def test_the_deployed_file_needs_nothing_of_this_project():
    tree = ast.parse(Path(scorer_file.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name if isinstance(node, ast.Import) else node.module for node in imports for alias in node.names}
    ours = {name.split(".")[0] for name in names} - sys.stdlib_module_names
    assert ours == {"mlflow", "numpy", "pandas", "xgboost"}
    assert "pickle" not in names


def test_a_frame_is_scored_by_name_whatever_its_order_and_extra_columns(fitted: Fitted, rows: Dataset):
    scorer = fitted.scorer()
    frame = rows.frame.head(50)
    shuffled = frame[[*reversed(frame.columns)]].assign(nothing=1)
    np.testing.assert_array_equal(scorer.predict(None, shuffled), scorer.score(rows.matrix()[:50]))


def test_a_missing_column_is_named(fitted: Fitted, rows: Dataset):
    with pytest.raises(ValueError, match="lacks campaign_days"):
        fitted.scorer().predict(None, rows.frame.drop(columns="campaign_days"))


def test_none_and_nan_are_null(fitted: Fitted, rows: Dataset):
    frame = rows.frame.head(3).assign(user_payments__days_since=np.nan)
    as_none = frame.assign(user_payments__days_since=pd.Series([None] * 3, dtype=object))
    scorer = fitted.scorer()
    assert np.isfinite(scorer.predict(None, frame)).all()
    np.testing.assert_array_equal(scorer.predict(None, frame), scorer.predict(None, as_none))


def test_contributions_sum_to_the_logit_of_the_score(fitted: Fitted, rows: Dataset):
    scorer = fitted.scorer()
    matrix = rows.matrix()[:200]
    logit = scorer.contributions(matrix).sum(axis=1)
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), scorer.score(matrix), atol=1e-6)


@pytest.mark.parametrize("parts", [("linear", "boosting"), ("linear",), ("boosting",)])
def test_shares_sum_to_the_margin_and_the_share_of_no_input_is_that_of_no_row(
    fitted: Fitted, rows: Dataset, parts: tuple[str, ...]
):
    weights = {name: float(name in parts) / len(parts) for name in ("linear", "boosting")}
    head = {**fitted.head, "weights": weights, "linear": fitted.head["linear"] if "linear" in parts else None}
    scorer = Fitted(head, fitted.boosters if "boosting" in parts else (), 0).scorer()
    matrix = rows.matrix()[:500]
    shares = scorer.shares(matrix)
    np.testing.assert_allclose(shares.sum(axis=1), scorer.margin(matrix), rtol=0, atol=1e-9)
    assert np.ptp(shares[:, -1]) < 1e-5
    assert scorer.shares(matrix[:0]).shape == (0, len(scorer.columns) + 1)


def test_shares_are_those_of_each_part_of_a_blend(fitted: Fitted, rows: Dataset):
    matrix = rows.matrix()[:50]
    scorer = fitted.scorer()
    read = xgboost.DMatrix(matrix, feature_names=list(scorer.columns))
    trees = np.mean([each.predict(read, pred_contribs=True) for each in scorer._boosters], axis=0)
    part = {name: np.asarray(value) for name, value in fitted.head["linear"].items()}
    line = (np.log1p(np.maximum(np.where(np.isnan(matrix), part["fill"], matrix), 0)) - part["mean"]) / part["scale"]
    np.testing.assert_allclose(scorer.shares(matrix)[:, :-1], (trees[:, :-1] + line * part["coef"]) / 2, atol=1e-7)


def test_a_row_scores_the_same_to_the_last_bit_alone_and_among_others(fitted: Fitted, rows: Dataset):
    scorer = fitted.scorer()
    matrix = rows.matrix()[:200]
    together = scorer.score(matrix)
    for size in (1, 2, 7, 64, 65):
        pieces = [scorer.score(matrix[start : start + size]) for start in range(0, len(matrix), size)]
        np.testing.assert_array_equal(np.concatenate(pieces), together)
    assert scorer.score(matrix[:0]).shape == (0,)


def test_trees_say_what_xgboost_says_and_an_error_of_its_is_raised(fitted: Fitted, rows: Dataset):
    booster = scorer_file._booster(bytearray(fitted.boosters[0]))
    matrix = rows.matrix()[:50]
    for asked in (matrix, np.asfortranarray(matrix), np.full_like(matrix[:1], np.nan)):
        expected = booster.inplace_predict(asked, predict_type="margin")
        np.testing.assert_array_equal(scorer_file._margin(booster, asked), expected)
    with pytest.raises(xgboost.core.XGBoostError, match="feature"):
        scorer_file._margin(booster, matrix[:, :3])


def test_a_blend_is_the_mean_of_its_parts_on_the_logit(fitted: Fitted, rows: Dataset):
    matrix = rows.matrix()[:100]
    parts = [
        Fitted({**fitted.head, "weights": weights}, fitted.boosters, 0).scorer().margin(matrix)
        for weights in ({"linear": 1, "boosting": 0}, {"linear": 0, "boosting": 1})
    ]
    np.testing.assert_allclose(fitted.scorer().margin(matrix), np.mean(parts, axis=0), rtol=1e-9, atol=1e-9)


def test_the_head_is_plain_json(fitted: Fitted):
    assert json.loads(json.dumps(fitted.head)) == fitted.head


def test_scores_only_rise_with_an_input_declared_rising(rows: Dataset):
    column = "user_redemptions__count_364d"
    model = fit(Recipe(boosting=Boosting(seeds=(1,), max_rounds=60, rising=(column,))), rows).scorer()
    matrix = np.repeat(rows.matrix()[:100], 8, axis=0)
    matrix[:, model.columns.index(column)] = np.tile(np.arange(8.0), 100)
    assert (np.diff(model.score(matrix).reshape(100, 8), axis=1) >= 0).all()


def test_the_test_rows_are_not_read_when_fitting(rows: Dataset, fitted: Fitted):
    frame = rows.frame.copy()
    hidden = ~rows.train
    frame.loc[hidden, "label"] = 1 - frame.loc[hidden, "label"]
    frame.loc[hidden, "campaign_days"] = 10_000
    again = fit(Recipe(linear=Linear(strength=0.03), boosting=QUICK), replace(rows, frame=frame))
    assert again.head == fitted.head
    assert again.boosters == fitted.boosters


def test_calibration_recovers_a_known_distortion():
    random = np.random.default_rng(3)
    margin = random.normal(size=60_000)
    labels = (random.uniform(size=60_000) < 1 / (1 + np.exp(-(0.5 * margin - 1)))).astype(np.int64)
    found = platt(margin, labels)
    assert (found["slope"], found["offset"]) == (pytest.approx(0.5, abs=0.03), pytest.approx(-1, abs=0.03))
