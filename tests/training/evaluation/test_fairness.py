from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate

from training.evaluation.fairness import Fairness, measure_fairness
from training.evaluation.metrics import auc
from training.evaluation.slices import LEAST_ROWS

THRESHOLD = 0.5


def households(sizes: dict[str | None, int], *, seed: int = 0, harm: str = "") -> tuple[np.ndarray, ...]:
    """Two rows a shopper; the scores of the group ``harm`` are halved."""
    random = np.random.default_rng(seed)
    values = np.repeat(np.array(list(sizes), object), [2 * size for size in sizes.values()])
    scores = random.uniform(size=len(values))
    labels = (random.uniform(size=len(values)) < scores).astype(np.int64)
    scores = np.where(values == harm, scores / 2, scores)
    shoppers = np.repeat([f"u{n}" for n in range(len(values) // 2)], 2).astype(object)
    return scores, labels, shoppers, values


def measured(scores: np.ndarray, labels: np.ndarray, shoppers: np.ndarray, values: np.ndarray) -> Fairness:
    return measure_fairness(scores, labels, shoppers, pd.Series(values), threshold=THRESHOLD, is_input=False)


def test_figures_of_a_group_are_fairlearns_over_its_rows():
    scores, labels, shoppers, values = households({"19-24": 60, "25-34": 90, "65+": 70}, harm="65+")
    found = measured(scores, labels, shoppers, values)
    frame = MetricFrame(
        metrics={"selection_rate": selection_rate, "tpr": true_positive_rate, "fpr": false_positive_rate},
        y_true=labels,
        y_pred=scores >= THRESHOLD,
        sensitive_features=values,
    )
    for group in found.groups:
        rows = values == group
        for figure in ("selection_rate", "tpr", "fpr"):
            assert found.groups[group].metrics[figure].value == pytest.approx(frame.by_group.loc[group, figure])
        assert found.groups[group].metrics["auc"].value == auc(scores[rows], labels[rows], np.ones((1, rows.sum())))[0]
        assert found.groups[group].metrics["excess"].value == pytest.approx(scores[rows].mean() - labels[rows].mean())
    for figure, gap in found.gaps.items():
        if figure in frame.difference():
            assert gap.estimate.value == pytest.approx(frame.difference()[figure])
            assert found.ratios[figure] == pytest.approx(frame.ratio()[figure])


def test_a_group_that_is_passed_over_shows_and_equal_groups_do_not():
    sizes: dict[str | None, int] = {"19-24": 150, "25-34": 150, "65+": 150}
    harmed = measured(*households(sizes, harm="65+")).gaps["selection_rate"]
    assert harmed.notable
    assert harmed.lowest == "65+"
    assert 0 < harmed.estimate.low < harmed.estimate.value < harmed.estimate.high
    drawn = [measured(*households(sizes, seed=seed)).gaps["selection_rate"].notable for seed in range(40)]
    assert sum(drawn) <= 6  # one in twenty is what chance means


def test_who_is_not_known_forms_no_group_and_small_groups_are_listed():
    scores, labels, shoppers, values = households({"19-24": 60, "25-34": 60, "65+": 10, None: 30})
    found = measured(scores, labels, shoppers, values)
    assert list(found.groups) == ["19-24", "25-34", "65+"]
    assert found.unknown_rows == 60
    assert (found.groups["65+"].rows, found.groups["65+"].shoppers, found.groups["65+"].metrics) == (20, 10, {})
    assert found.groups["65+"].rows < LEAST_ROWS
    assert all("65+" not in (gap.highest, gap.lowest) for gap in found.gaps.values())


def test_a_single_group_has_no_gap():
    found = measured(*households({"19-24": 60, "65+": 3}))
    assert found.gaps == {}
    assert found.groups["19-24"].metrics


def test_a_regression_is_compared_by_its_errors():
    scores, _, shoppers, values = households({"19-24": 60, "65+": 60})
    answers = scores + np.where(values == "65+", 1.0, 0.5)
    found = measure_fairness(scores, answers, shoppers, pd.Series(values), threshold=None, is_input=False)
    assert found.gaps["mae"].estimate.value == pytest.approx(0.5)
    assert found.gaps["excess"].highest == "19-24"
    assert found.gaps["mae"].notable
