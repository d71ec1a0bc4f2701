"""Metrics of scores under row weights, many weightings at once: the bootstrap needs no second implementation.

Every function takes scores ``float64[n]``, labels (``int64[n]``, 0 or 1; ``float64[n]`` of a regression) and weights
``float64[b, n]``, and returns ``float64[b]``: NaN where a weighting leaves one of the two labels out and the metric
needs both, or leaves no variance to explain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from training.declaring.objective import PRECISION, PRECISION_WITH_ANY

Scores: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[Any]
Weights: TypeAlias = npt.NDArray[np.float64]
Metric: TypeAlias = Callable[[Scores, Labels, Weights], npt.NDArray[np.float64]]

BINS = 10
AT_K = 5
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
    return mean(-np.log(np.clip(likely, _TINY, 1.0)), weights)


def brier(scores: Scores, labels: Labels, weights: Weights) -> npt.NDArray[np.float64]:
    """Mean squared distance of score and label."""
    return mean((scores - labels) ** 2, weights)


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


def r2(scores: Scores, labels: Labels, weights: Weights) -> npt.NDArray[np.float64]:
    """Share of the labels' variance that the scores explain: 1 less squared error over squared distance from the mean.

    >>> r2(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]), np.ones((1, 3))).round(4).tolist()
    [0.5]
    """
    variance = mean(labels**2, weights) - mean(labels, weights) ** 2
    return 1 - _ratio(mean((labels - scores) ** 2, weights), np.where(variance > _TINY, variance, 0.0))


def mae(scores: Scores, labels: Labels, weights: Weights) -> npt.NDArray[np.float64]:
    """Mean absolute distance of score and label, in the label's unit."""
    return mean(np.abs(labels - scores), weights)


def spearman(scores: Scores, labels: Labels, weights: Weights) -> npt.NDArray[np.float64]:
    """Correlation of the ranks of scores and labels, ties sharing their mean rank (Spearman 1904).

    >>> spearman(np.array([0.1, 0.2, 0.9]), np.array([1.0, 3.0, 2.0]), np.ones((1, 3))).tolist()
    [0.5]
    """
    one, other = _centred_ranks(scores, weights), _centred_ranks(np.asarray(labels, np.float64), weights)
    product = (weights * one * other).sum(axis=1)
    return _ratio(product, np.sqrt((weights * one**2).sum(axis=1) * (weights * other**2).sum(axis=1)))


def precision_at_k(scores: Scores, labels: Labels, weights: Weights) -> npt.NDArray[np.float64]:
    """Share of positives among rows that :func:`top_rows` chose; all rows of a group must have one weight."""
    del scores
    return mean(labels, weights)


def top_rows(scores: Scores, groups: npt.NDArray[np.int64], k: int = AT_K) -> npt.NDArray[np.int64]:
    """Return the rows with the ``k`` highest scores of each group, of equal ones the earlier; all of a smaller group.

    >>> top_rows(np.array([0.1, 0.9, 0.9, 0.2]), np.array([0, 0, 0, 1]), k=1).tolist()
    [1, 3]
    """
    order = np.lexsort((np.arange(len(scores)), -scores, groups))
    starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) != 0]) if len(order) else order
    sizes = np.diff(np.r_[starts, len(order)])
    place = np.arange(len(order)) - np.repeat(starts, sizes)
    return np.sort(order[place < k])


def recommended(
    metric: str, scores: Scores, labels: Labels, groups: npt.NDArray[np.int64], k: int = AT_K
) -> npt.NDArray[np.int64]:
    """Return the rows a metric of rankings looks at: of every group, or of those with a positive alone.

    Recommenders are measured on users with something to find (as in the package `implicit`): to the others no order
    can do any good.

    >>> scores, labels = np.array([0.1, 0.9, 0.5, 0.4]), np.array([1, 0, 0, 0])
    >>> for metric in (PRECISION, PRECISION_WITH_ANY):
    ...     recommended(metric, scores, labels, np.array([0, 0, 1, 1]), k=1).tolist()
    [1, 2]
    [1]
    """
    top = top_rows(scores, groups, k)
    return top[np.isin(groups[top], groups[labels > 0])] if metric == PRECISION_WITH_ANY else top


BY_NAME: dict[str, Metric] = {
    "auc": auc,
    "average_precision": average_precision,
    "logloss": logloss,
    "ece": ece,
    "brier": brier,
    "r2": r2,
    "mae": mae,
    "spearman": spearman,
    PRECISION: precision_at_k,
    PRECISION_WITH_ANY: precision_at_k,
}


def _by_score(scores: Scores, labels: Labels, weights: Weights) -> tuple[Weights, Weights]:
    """Weight of positive and of negative rows at each distinct score, ascending."""
    if (scores[1:] < scores[:-1]).any():
        order = np.argsort(scores, kind="stable")
        scores, labels, weights = scores[order], labels[order], weights[:, order]
    starts = np.flatnonzero(np.r_[True, scores[1:] != scores[:-1]])
    positive, whole = (np.add.reduceat(each, starts, axis=1) for each in (weights * labels, weights))
    return positive, whole - positive


def _centred_ranks(values: Scores, weights: Weights) -> npt.NDArray[np.float64]:
    """Mid-ranks of values among rows repeated as often as their weight says, less their mean: ``float64[b, n]``."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    order = np.argsort(place, kind="stable")
    starts = np.cumsum(counts) - counts
    tied = np.add.reduceat(weights[:, order], starts, axis=1)
    middle = np.cumsum(tied, axis=1) - tied / 2
    return np.asarray((middle - weights.sum(axis=1, keepdims=True) / 2)[:, place])


def mean(values: Scores, weights: Weights) -> npt.NDArray[np.float64]:
    """Return the weighted mean of values, NaN of no weight."""
    return _ratio(weights @ values, weights.sum(axis=1))


def _ratio(part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0))
