"""Two models on the same rows: every metric with the paired difference and its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from training.data.dataset import Dataset
from training.declaring.objective import RANKED
from training.evaluation.evaluate import Estimate, Measure, Rows, estimate
from training.evaluation.metrics import BY_NAME, recommended
from training.evaluation.trained import rows_to_measure

# Two fits of the same rows differ in the last digits, where sums were taken in another order.
SLACK = 1e-9
LOWER_IS_BETTER = frozenset({"logloss", "ece", "brier", "mae"})

Scores = npt.NDArray[np.float64]


def scores_on_test(scorer: Any, data: Dataset) -> Scores:
    """Return a scorer's answers for the test rows of a dataset."""
    return np.asarray(scorer.score(data.matrix_for(scorer)[data.test]), np.float64)


def paired(metric: str, ours: Scores, theirs: Scores, rows: Rows) -> Estimate:
    """Return a metric of our scores minus theirs: both are measured on the same resampled shoppers."""
    one, other = _measure(metric, ours, rows), _measure(metric, theirs, rows)
    return estimate(lambda weights: one(weights) - other(weights), rows)


def paired_differences(ours: Scores, theirs: Scores, data: Dataset) -> dict[str, Estimate]:
    """Return :func:`paired` for every metric of the task."""
    rows = rows_to_measure(data)
    return {name: paired(name, ours, theirs, rows) for name in rows.metrics}


def values(scores: Scores, data: Dataset) -> dict[str, float]:
    """Return every metric of the task, without intervals."""
    rows = rows_to_measure(data)
    everyone = np.ones((1, len(rows.labels)))
    return {name: float(_measure(name, scores, rows)(everyone)[0]) for name in rows.metrics}


def better(metric: str, difference: Estimate, names: Mapping[bool, str]) -> str:
    """Say which is better: ``names[True]`` if it is ours, ``names[False]`` if theirs; empty where the interval holds 0.

    >>> better("logloss", Estimate(-0.1, -0.2, -0.01), {True: "new", False: "old"})
    'new'
    """
    if not (difference.low > SLACK or difference.high < -SLACK):
        return ""
    return names[(difference.value > 0) != (metric in LOWER_IS_BETTER)]


def _measure(metric: str, scores: Scores, rows: Rows) -> Measure:
    if metric in RANKED and rows.groups is not None:
        top = recommended(metric, scores, rows.labels, rows.groups)
        return lambda weights: BY_NAME[metric](scores[top], rows.labels[top], weights[:, top])
    return lambda weights: BY_NAME[metric](scores, rows.labels, weights)
