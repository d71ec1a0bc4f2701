"""Two models on the same rows: every metric with the paired difference and its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from training.data.dataset import Dataset
from training.evaluation.evaluate import Estimate, difference, value_of
from training.evaluation.trained import rows_to_measure

# Two fits of the same rows differ in the last digits, where sums were taken in another order.
SLACK = 1e-9
LOWER_IS_BETTER = frozenset({"logloss", "ece", "brier", "mae"})

Scores = npt.NDArray[np.float64]


def scores_on_test(scorer: Any, data: Dataset) -> Scores:
    """Return a scorer's answers for the test rows of a dataset."""
    return np.asarray(scorer.score(data.matrix_for(scorer)[data.test]), np.float64)


def paired_differences(ours: Scores, theirs: Scores, data: Dataset) -> dict[str, Estimate]:
    """Return :func:`training.evaluation.evaluate.difference` for every metric of the task."""
    rows = rows_to_measure(data)
    return {name: difference(name, ours, theirs, rows) for name in rows.metrics}


def values(scores: Scores, data: Dataset) -> dict[str, float]:
    """Return every metric of the task, without intervals."""
    rows = rows_to_measure(data)
    return {name: value_of(name, scores, rows) for name in rows.metrics}


def better(metric: str, difference: Estimate, names: Mapping[bool, str]) -> str:
    """Say which is better: ``names[True]`` if it is ours, ``names[False]`` if theirs; empty where the interval holds 0.

    >>> better("logloss", Estimate(-0.1, -0.2, -0.01), {True: "new", False: "old"})
    'new'
    """
    if not (difference.low > SLACK or difference.high < -SLACK):
        return ""
    return names[(difference.value > 0) != (metric in LOWER_IS_BETTER)]
