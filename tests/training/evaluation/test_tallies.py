from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from training.evaluation.evaluate import Rows, evaluate
from training.evaluation.metrics import auc
from training.evaluation.slices import LEAST_ROWS, area, measure_part
from training.evaluation.tallies import SCORE_BINS, Tallies, auc_of_counts, ratio, score_cells


def shop(shoppers: int, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    scores = random.uniform(size=shoppers * each)
    labels = (random.uniform(size=shoppers * each) < scores).astype(np.int64)
    return scores, labels, np.repeat([f"u{n}" for n in range(shoppers)], each).astype(object)


def test_sums_resampled_by_shopper_give_the_intervals_that_rows_do():
    scores, labels, shoppers = shop(150, 3)
    tallies = Tallies.of(shoppers)
    squared = tallies.sums((scores - labels) ** 2, np.ones(len(scores)))
    ours = tallies.estimates(squared, lambda sums: {"brier": ratio(sums[:, 0], sums[:, 1])})["brier"]
    theirs = evaluate(scores, Rows(labels, shoppers, pd.DataFrame(index=range(len(scores))))).metrics["brier"]
    assert (ours.value, ours.low, ours.high) == pytest.approx((theirs.value, theirs.low, theirs.high), rel=1e-9)


def test_the_area_from_few_scores_is_exact_and_from_many_nearly_so():
    for size in (SCORE_BINS // 2, 20 * SCORE_BINS):
        scores, labels, _ = shop(size, 1, seed=size)
        cells, cell_count = score_cells(scores, labels)
        binned = auc_of_counts(np.bincount(cells, minlength=cell_count).astype(float)[None])[0]
        [exact] = auc(scores, labels, np.ones((1, size)))
        assert binned == pytest.approx(exact, abs=1e-12 if size < SCORE_BINS else 2e-4)


def test_the_area_of_a_slice_is_exact_whatever_its_interval_rests_on():
    scores, labels, shoppers = shop(3000, 1)
    [exact] = auc(scores, labels, np.ones((1, len(scores))))
    found = area(scores, labels, Tallies.of(shoppers))
    assert found.value == exact
    assert found.low < exact < found.high


def test_a_part_with_few_rows_or_a_single_answer_is_listed_and_not_measured():
    scores, labels, shoppers = shop(LEAST_ROWS, 1)
    assert measure_part(scores, labels, shoppers).metrics
    few = measure_part(scores[1:], labels[1:], shoppers[1:])
    assert (few.rows, few.positives, few.metrics) == (LEAST_ROWS - 1, int(labels[1:].sum()), {})
    assert measure_part(scores, np.ones_like(labels), shoppers).metrics == {}


def test_a_part_of_a_regression_is_measured_by_r2_and_mae():
    scores, _, shoppers = shop(80, 2)
    answers = scores + np.where(np.arange(len(scores)) % 2, 0.1, -0.1)
    found = measure_part(scores, answers, shoppers).metrics
    assert found["mae"].value == pytest.approx(0.1)
    assert found["r2"].value == pytest.approx(1 - 0.01 / answers.var())
    assert found["excess"].value == pytest.approx(0.0, abs=1e-12)
