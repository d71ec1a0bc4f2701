"""Metrics of lists of ten, one value per group: what is on the list against all there was to find.

What was never proposed cannot be on a list, and counts as missed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from training.declaring.objective import MAP, NDCG, PRECISION_10, RECALL

Floats: TypeAlias = npt.NDArray[np.float64]
Places: TypeAlias = npt.NDArray[np.int64]

K = 10
_DISCOUNT = 1 / np.log2(np.arange(2, K + 2))


def of_groups(
    metric: str, scores: Floats, labels: npt.NDArray[np.int64], groups: Places, relevant: Floats
) -> tuple[Floats, Places]:
    """Measure the list of each group: its ten rows of the highest scores, of equal ones the earlier.

    Parameters
    ----------
    relevant
        How much each row's group had to find, at least 1.

    Returns
    -------
    tuple
        ``float64[groups]``, and the place of a row of each.

    >>> rows = np.array([0.9, 0.5, 0.1]), np.array([0, 1, 1]), np.array([0, 0, 0]), np.array([4.0, 4.0, 4.0])
    >>> [of_groups(metric, *rows)[0].round(4).tolist() for metric in (RECALL, NDCG, MAP)]
    [[0.5], [0.4415], [0.2917]]
    """
    hits, found, firsts = top_hits(scores, labels, groups, relevant)
    return BY_NAME[metric](hits, found), firsts


def top_hits(
    scores: Floats, labels: npt.NDArray[np.int64], groups: Places, relevant: Floats
) -> tuple[Floats, Floats, Places]:
    """Return hits by place of each group's list, ``float64[groups, 10]``; what it had to find; a row of each."""
    order = np.lexsort((np.arange(len(scores)), -scores, groups))
    starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) != 0]) if len(order) else order
    sizes = np.diff(np.r_[starts, len(order)])
    place = np.arange(len(order)) - np.repeat(starts, sizes)
    group = np.repeat(np.arange(len(starts)), sizes)
    hits = np.zeros((len(starts), K))
    listed = place < K
    hits[group[listed], place[listed]] = labels[order[listed]]
    firsts = order[starts]
    return hits, np.asarray(relevant[firsts], np.float64), firsts


def recall(hits: Floats, relevant: Floats) -> Floats:
    """Share of what there was to find that is on the list."""
    return np.asarray(hits.sum(axis=1) / relevant)


def precision(hits: Floats, relevant: Floats) -> Floats:
    """Share of the list that was to be found."""
    del relevant
    return np.asarray(hits.sum(axis=1) / K)


def ndcg(hits: Floats, relevant: Floats) -> Floats:
    """Discounted gain against that of the best list (Järvelin and Kekäläinen 2002)."""
    best = np.cumsum(_DISCOUNT)[np.minimum(relevant, K).astype(np.int64) - 1]
    return np.asarray(hits @ _DISCOUNT / best)


def average_precision(hits: Floats, relevant: Floats) -> Floats:
    """Precision at each hit, over the hits the best list has."""
    at = np.cumsum(hits, axis=1) / np.arange(1, K + 1)
    return np.asarray((at * hits).sum(axis=1) / np.minimum(relevant, K))


BY_NAME: dict[str, Callable[[Floats, Floats], Floats]] = {
    RECALL: recall,
    NDCG: ndcg,
    MAP: average_precision,
    PRECISION_10: precision,
}
