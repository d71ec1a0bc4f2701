from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
)

from training.declaring.objective import REGRESSION
from training.declaring.recipe import Linear, Recipe
from training.evaluation.evaluate import Rows, check_gates, difference, evaluate
from training.evaluation.metrics import BINS, BY_NAME, auc, average_precision, ece, mae, r2, spearman, top_rows
from training.task import Gate, Task

PEERS = {
    "auc": roc_auc_score,
    "average_precision": average_precision_score,
    "logloss": lambda y, p, sample_weight: log_loss(y, p, sample_weight=sample_weight, labels=[0, 1]),
    "brier": brier_score_loss,
}
# A coarse grid: scores tie, and some fall on a bin's edge.
grid = st.integers(1, 19).map(lambda k: k / 20)
cases = st.lists(st.tuples(grid, st.integers(0, 1), st.integers(0, 3)), min_size=2, max_size=40)


def weighted(pairs: list[tuple[float, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, labels, weights = map(np.array, zip(*pairs, strict=True))
    return scores, labels, weights.astype(float)


@given(cases)
def test_metrics_are_scikit_learns_under_weights(pairs: list[tuple[float, int, int]]):
    scores, labels, weights = weighted(pairs)
    both = all((weights * (labels == k)).sum() > 0 for k in (0, 1))
    for name, peer in PEERS.items():
        [ours] = BY_NAME[name](scores, labels, weights[None])
        if both:
            assert ours == pytest.approx(peer(labels, scores, sample_weight=weights)), name
        elif name == "auc":
            assert np.isnan(ours)


@given(cases)
def test_calibration_error_is_the_plain_sum_over_bins(pairs: list[tuple[float, int, int]]):
    scores, labels, weights = weighted(pairs)
    repeated = np.repeat(np.arange(len(scores)), weights.astype(int))
    p, y = scores[repeated], labels[repeated]
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    plain = sum((bins == k).mean() * abs(p[bins == k].mean() - y[bins == k].mean()) for k in set(bins.tolist()))
    [ours] = ece(scores, labels, weights[None])
    assert np.isnan(ours) if not len(p) else ours == pytest.approx(plain)


@given(cases)
def test_a_weight_of_two_is_a_row_twice(pairs: list[tuple[float, int, int]]):
    scores, labels, weights = weighted(pairs)
    repeated = np.repeat(np.arange(len(scores)), weights.astype(int))
    if not len(repeated):
        return
    for measure in (auc, average_precision, ece):
        once = measure(scores, labels, weights[None])
        twice = measure(scores[repeated], labels[repeated], np.ones((1, len(repeated))))
        np.testing.assert_allclose(once, twice, rtol=1e-9, atol=1e-12)  # an error of 4e-17 is none


def some_rows(shoppers: int, each: int, seed: int = 0) -> tuple[np.ndarray, Rows]:
    """A shopper's rows are copies of each other: there is no more to learn from ``each`` rows than from one."""
    random = np.random.default_rng(seed)
    scores = np.repeat(random.uniform(size=shoppers), each)
    labels = (np.repeat(random.uniform(size=shoppers), each) < scores).astype(np.int64)
    names = np.repeat([f"u{i}" for i in range(shoppers)], each).astype(object)
    kinds = pd.DataFrame({"kind": np.where(scores > 0.5, "hot", "cold")})
    return scores, Rows(labels, names, kinds)


def test_an_interval_is_as_wide_as_the_shoppers_are_few():
    scores, rows = some_rows(100, 1)
    many_scores, many = some_rows(100, 10)
    one, ten = evaluate(scores, rows).metrics["auc"], evaluate(many_scores, many).metrics["auc"]
    assert one.low < one.value < one.high
    assert ten.high - ten.low == pytest.approx(one.high - one.low, rel=0.01)


def test_an_evaluation_is_the_same_twice():
    scores, rows = some_rows(50, 2)
    assert evaluate(scores, rows) == evaluate(scores, rows)


def test_draws_that_are_kept_are_those_that_are_drawn_anew(monkeypatch: pytest.MonkeyPatch):
    scores, rows = some_rows(50, 2)
    kept = [evaluate(scores, rows) for _ in range(2)]
    monkeypatch.setattr("training.evaluation.evaluate._KEPT_CELLS", 0)
    assert [evaluate(scores, rows)] * 2 == kept


def test_a_model_does_not_differ_from_itself():
    scores, rows = some_rows(50, 2)
    same = difference("auc", scores, scores, rows)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_a_pair_is_compared_on_the_same_shoppers():
    scores, rows = some_rows(200, 1)
    noisy = scores + np.random.default_rng(1).normal(scale=0.01, size=len(scores))
    paired = difference("auc", scores, np.clip(noisy, 0, 1), rows)
    alone = evaluate(scores, rows).metrics["auc"]
    assert paired.high - paired.low < (alone.high - alone.low) / 5


def test_slices_and_the_calibration_table_cover_all_rows():
    scores, rows = some_rows(80, 1)
    found = evaluate(scores, rows)
    assert list(found.slices) == ["kind=cold", "kind=hot"]
    assert sum(part.rows for part in found.slices.values()) == found.rows == 80
    assert sum(point.rows for point in found.calibration) == 80


def test_gates_compare_with_bounds_baselines_and_slices_and_an_absent_slice_holds_nothing():
    scores, rows = some_rows(200, 1)
    good, poor = evaluate(scores, rows), evaluate(1 - scores, rows)
    task = Task(
        name="x",
        description="",
        service="s",
        label="",
        model=Recipe(linear=Linear()),
        holdout=pd.Timedelta(days=1).to_pytimedelta(),
        validation=pd.Timedelta(days=1).to_pytimedelta(),
        slices=("kind",),
        gates=(Gate("auc", at_least=0.6), Gate("auc", at_least=0.1, where="kind=lukewarm")),
        must_beat=("rfm_logistic",),
        not_worse_than=("all_feature_logistic",),
    )
    others = {"rfm_logistic": poor, "all_feature_logistic": good}
    differences = {"all_feature_logistic": difference("auc", scores, scores, rows)}
    held = {name: each.holds for name, each in check_gates(task, good, others, differences).items()}
    assert held == {
        "auc": True,
        "auc@kind=lukewarm": False,
        "not_worse_than:all_feature_logistic": True,
        "beats:rfm_logistic": True,
    }
    worse = {"all_feature_logistic": difference("auc", 1 - scores, scores, rows)}
    failed = check_gates(task, poor, others, worse)
    assert not any(each.holds for each in failed.values())


amounts = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3)), min_size=3, max_size=30)


@given(amounts)
def test_metrics_of_numbers_are_their_peers_on_rows_repeated(rows: list[tuple[int, int, int]]):
    scores, labels, weights = (np.array(part, float) for part in zip(*rows, strict=True))
    repeated = np.repeat(np.arange(len(rows)), weights.astype(int))
    p, y = scores[repeated], labels[repeated]
    found = {each.__name__: each(scores, labels, weights[None])[0] for each in (r2, mae, spearman)}
    if len(p):
        assert found["mae"] == pytest.approx(mean_absolute_error(y, p))
    varied = [len(set(part)) > 1 for part in (y, p)]
    assert found["r2"] == pytest.approx(r2_score(y, p) if varied[0] else np.nan, nan_ok=True)
    assert found["spearman"] == pytest.approx(spearmanr(p, y).statistic if all(varied) else np.nan, nan_ok=True)


def test_precision_at_five_is_the_mean_over_groups_those_without_a_positive_too():
    scores = np.tile(np.arange(8) / 10, 3)
    labels = np.r_[np.ones(8), [0, 0, 0, 0, 0, 0, 1, 1], np.zeros(8)].astype(np.int64)
    groups = np.repeat([2, 0, 1], 8)
    rows = Rows(labels, np.repeat(["a", "b", "c"], 8).astype(object), pd.DataFrame(index=range(24)), groups=groups)
    assert evaluate(scores, rows).metrics["precision_at_5"].value == pytest.approx((1 + 2 / 5 + 0) / 3)
    assert top_rows(scores, groups, k=2).tolist() == [6, 7, 14, 15, 22, 23]


def test_precision_of_groups_with_any_leaves_out_those_without_a_positive():
    scores = np.tile(np.arange(8) / 10, 3)
    labels = np.r_[np.ones(8), [0, 0, 0, 0, 0, 0, 1, 1], np.zeros(8)].astype(np.int64)
    groups, shoppers = np.repeat([2, 0, 1], 8), np.repeat(["a", "b", "c"], 8).astype(object)
    rows = Rows(labels, shoppers, pd.DataFrame(index=range(24)), groups=groups)
    assert evaluate(scores, rows).metrics["precision_at_5_with_any"].value == pytest.approx((1 + 2 / 5) / 2)


def test_precision_of_groups_with_any_is_of_nothing_where_nobody_has_any():
    rows = Rows(
        np.zeros(8, np.int64), np.array(["a"] * 8, object), pd.DataFrame(index=range(8)), groups=np.zeros(8, np.int64)
    )
    assert np.isnan(evaluate(np.arange(8.0) / 10, rows).metrics["precision_at_5_with_any"].value)


def test_a_regression_is_measured_as_one():
    answers = np.arange(40.0)
    rows = Rows(answers, np.arange(40).astype(str).astype(object), pd.DataFrame(index=range(40)), objective=REGRESSION)
    found = evaluate(answers + 1, rows)
    assert list(found.metrics) == ["r2", "mae", "spearman"]
    assert (found.metrics["mae"].value, found.metrics["spearman"].value) == (1, pytest.approx(1))
    assert [point.rows for point in found.calibration] == [4] * 10
