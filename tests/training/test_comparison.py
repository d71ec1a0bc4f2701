"""Paired differences of every metric there is, on small rows made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from training.declaring.objective import BINARY, REGRESSION
from training.evaluation.comparison import better
from training.evaluation.evaluate import Rows, difference, evaluate

SHOPPERS = np.repeat(np.array([f"s{n}" for n in range(40)], object), 10)
RANDOM = np.random.default_rng(3)
NOISE = RANDOM.normal(size=400)


def rows_of(objective: str) -> Rows:
    labels = (NOISE > 0.5).astype(np.int64) if objective == BINARY else NOISE
    groups = np.repeat(np.arange(40), 10) if objective == BINARY else None
    return Rows(labels, SHOPPERS, pd.DataFrame(index=range(400)), objective=objective, groups=groups)


def scores_of(objective: str, error: float) -> np.ndarray:
    scores = NOISE + error * RANDOM.normal(size=400)
    return 1 / (1 + np.exp(-scores)) if objective == BINARY else scores


@pytest.mark.parametrize("objective", [BINARY, REGRESSION])
def test_each_difference_is_that_of_the_two_evaluations_and_names_the_better(objective: str):
    rows, good, bad = rows_of(objective), scores_of(objective, 0.3), scores_of(objective, 3.0)
    ours, theirs = (evaluate(scores, rows).metrics for scores in (good, bad))
    assert set(ours) == set(rows.metrics)
    for name in rows.metrics:
        gap = difference(name, good, bad, rows)
        assert gap.value == pytest.approx(ours[name].value - theirs[name].value), name
        assert gap.low <= gap.value <= gap.high, name
        if name != "ece":  # how well a score is calibrated does not follow from its error
            assert better(name, gap, {True: "good", False: "bad"}) == "good", name
        assert better(name, difference(name, good, good, rows), {True: "good", False: "bad"}) == ""
