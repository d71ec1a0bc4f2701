"""What the score rests on: how much worse it gets when the values of a view's inputs are dealt out to other rows.

Inputs of one view are alike, so that one alone is missed little: a view is permuted as a whole (Breiman 2001). The
model asked is the one fitted on the rows before validation, which has not seen the rows it is asked about.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from training.data.dataset import Dataset
from training.evaluation.evaluate import SEED
from training.evaluation.metrics import BY_NAME
from training.evaluation.tallies import Floats
from training.scorer import Scorer

MOST_ROWS = 5_000
TIMES = 5
CALLER = "what the caller says"


@dataclass(frozen=True)
class Drop:
    """How much of the leading metric goes when the inputs of a view are permuted.

    Attributes
    ----------
    inputs
        How many of the view the model reads.
    mean, deviation
        Of the drop over ``TIMES`` permutations.
    shap
        Mean size of what the view adds to the margin (SHAP), as a share of all views'.
    """

    inputs: int
    mean: float
    deviation: float
    shap: float


def permutation(data: Dataset, scorer: Scorer) -> dict[str, Drop]:
    """Return view -> drop on the validation rows, the largest first.

    Parameters
    ----------
    scorer
        A model that has not seen the validation rows.
    """
    random = np.random.default_rng(SEED)
    rows = np.flatnonzero(data.valid)
    if len(rows) > MOST_ROWS:
        rows = np.sort(random.choice(rows, MOST_ROWS, replace=False))
    matrix, labels = data.matrix(scorer.columns)[rows], data.labels[rows]
    metric = BY_NAME[data.task.kind.leading]

    def measured(values: Floats) -> float:
        return float(metric(scorer.score(values), labels, np.ones((1, len(rows))))[0])

    whole, views = measured(matrix), views_of(scorer.columns)
    added = scorer.contributions(matrix)
    sizes = {view: float(np.abs(added[:, columns].sum(axis=1)).mean()) for view, columns in views.items()}
    total = sum(sizes.values()) or 1.0
    drops = {}
    for view, columns in views.items():
        found = []
        for _ in range(TIMES):
            mixed = matrix.copy()
            mixed[:, columns] = matrix[random.permutation(len(rows))][:, columns]
            found.append(whole - measured(mixed))
        drops[view] = Drop(len(columns), float(np.mean(found)), float(np.std(found, ddof=1)), sizes[view] / total)
    return dict(sorted(drops.items(), key=lambda each: -each[1].mean))


def views_of(columns: Iterable[str]) -> dict[str, list[int]]:
    """Return view -> places of its inputs; context columns are one more.

    >>> views_of(["user_payments__count_28d", "campaign_days", "user_payments__days_since"])
    {'user_payments': [0, 2], 'what the caller says': [1]}
    """
    found: dict[str, list[int]] = {}
    for place, column in enumerate(columns):
        view, parted, _ = column.partition("__")
        found.setdefault(view if parted else CALLER, []).append(place)
    return found
