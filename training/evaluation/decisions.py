"""Yes or no from a score: the threshold that validation chose, and what it decides on the test rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluation.evaluate import Estimate
from training.evaluation.tallies import Figures, Floats, Tallies, ratio

POLICY = "highest F1 on the validation rows"


@dataclass(frozen=True)
class Confusion:
    """Rows by answer and decision."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


@dataclass(frozen=True)
class Decisions:
    """What saying yes from a threshold on comes to.

    Attributes
    ----------
    threshold
        A score of at least this is a yes.
    policy
        How it was chosen.
    confusion
        The test rows.
    metrics
        ``accuracy``, ``precision``, ``recall``, ``f1`` and ``selection_rate`` (the share of yes) on them.
    """

    threshold: float
    policy: str
    confusion: Confusion
    metrics: dict[str, Estimate]


def best_f1(scores: Floats, labels: npt.NDArray[Any]) -> float:
    """Return the score from which on saying yes has the highest F1; of equally good ones the highest.

    >>> best_f1(np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1]))
    0.4
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(ranked[1:] != ranked[:-1], True)  # rows of one score are decided alike
    hits = np.cumsum(labels[order])[last]
    chosen = (np.arange(len(scores)) + 1)[last]
    return float(ranked[last][np.argmax(2 * hits / (chosen + labels.sum()))])


def decide(scores: Floats, labels: npt.NDArray[Any], tallies: Tallies, *, threshold: float) -> Decisions:
    """Measure a threshold on rows it was not chosen on."""
    yes = scores >= threshold
    sums = tallies.sums(yes & (labels == 1), yes & (labels == 0), ~yes & (labels == 1), ~yes & (labels == 0))
    counts = Confusion(*(int(total) for total in sums.sum(axis=0)))
    return Decisions(threshold, POLICY, counts, tallies.estimates(sums, _metrics))


def _metrics(sums: Floats) -> Figures:
    hit, false_alarm, miss, rest = sums.T
    return {
        "accuracy": ratio(hit + rest, sums.sum(axis=1)),
        "precision": ratio(hit, hit + false_alarm),
        "recall": ratio(hit, hit + miss),
        "f1": ratio(2 * hit, 2 * hit + false_alarm + miss),
        "selection_rate": ratio(hit + false_alarm, sums.sum(axis=1)),
    }
