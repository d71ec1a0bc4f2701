"""Metrics of probabilities under row weights, many weightings at once: the bootstrap needs no second implementation.

Every function takes scores ``float64[n]``, labels ``int64[n]`` (0 or 1) and weights ``float64[b, n]``, and returns
``float64[b]``: NaN where a weighting leaves one of the two labels out and the metric needs both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Scores: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.int64]
Weights: TypeAlias = npt.NDArray[np.float64]
Metric: TypeAlias = Callable[[Scores, Labels, Weights], npt.NDArray[np.float64]]

BINS = 10
_TINY = 1e-15


def auc(scores: Scores, labels: Labels, weights: Weights) -> npt.NDArray[np.float64]:
    """Area under the ROC curve: how often a positive row scores above a negative one, a tie counting half.

    >>> auc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1]), np.ones((1, 4))).tolist()
    [0.875]
    """
    positive, negative = _by_score(scores, labels, weights)
    below = np.cumsum(negative, axis=1) - negative
    return _ratio((positive * (below + negative / 2)).sum(axis=1), positive.sum(axis=1) * negative.sum(axis=1))


def average_precision(scores: Scores, labels: Labels, weights: Weights) -> npt.NDArray[np.float64]:
    """Precision at each score, averaged over the recall it adds.

    >>> average_precision(np.array([0.1, 0.4, 0.8]), np.array([1, 0, 1]), np.ones((1, 3))).round(4).tolist()
    [0.8333]
    """
    positive, negative = (part[:, ::-1] for part in _by_score(scores, labels, weights))
    hits = np.cumsum(positive, axis=1)
    precision = _ratio(hits, hits + np.cumsum(negative, axis=1))
    return _ratio(np.nansum(precision * positive, axis=1), positive.sum(axis=1))


def logloss(scores: Scores, labels: Labels, weights: Weights) -> npt.NDArray[np.float64]:
    """Mean negative log likelihood, natural logarithm."""
    likely = np.where(labels == 1, scores, 1.0 - scores)
    return _mean(-np.log(np.clip(likely, _TINY, 1.0)), weights)


def brier(scores: Scores, labels: Labels, weights: Weights) -> npt.NDArray[np.float64]:
    """Mean squared distance of score and label."""
    return _mean((scores - labels) ** 2, weights)


def ece(scores: Scores, labels: Labels, weights: Weights) -> npt.NDArray[np.float64]:
    """Expected calibration error: distance of mean score and share of positives in ten equal-width bins, by weight.

    >>> ece(np.array([0.2, 0.2, 0.9]), np.array([0, 1, 1]), np.ones((1, 3))).round(4).tolist()
    [0.2333]
    """
    member = bins_of(scores)[:, None] == np.arange(BINS)
    gap = weights @ ((scores - labels)[:, None] * member)
    return _ratio(np.abs(gap).sum(axis=1), weights.sum(axis=1))


def bins_of(scores: Scores) -> npt.NDArray[np.int64]:
    """Bin of each score: ``[0, 0.1)`` is 0, ``[0.9, 1]`` is 9."""
    return np.minimum((scores * BINS).astype(np.int64), BINS - 1)


BY_NAME: dict[str, Metric] = {
    "auc": auc,
    "average_precision": average_precision,
    "logloss": logloss,
    "ece": ece,
    "brier": brier,
}


def _by_score(scores: Scores, labels: Labels, weights: Weights) -> tuple[Weights, Weights]:
    """Weight of positive and of negative rows at each distinct score, ascending."""
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    ordered, truth = weights[:, order], labels[order]
    return np.add.reduceat(ordered * truth, starts, axis=1), np.add.reduceat(ordered * (1 - truth), starts, axis=1)


def _mean(values: Scores, weights: Weights) -> npt.NDArray[np.float64]:
    return _ratio(weights @ values, weights.sum(axis=1))


def _ratio(part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0))
