"""Three ways to cut shoppers into segments; each gives points that own their surroundings, by which anybody is placed.

What is kept are middles and cells of a grid, so a model holds no shopper's values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import DBSCAN, AgglomerativeClustering, KMeans
from threadpoolctl import threadpool_limits

Matrix = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

SEED = 20170101
SAMPLE = 2_000
CELL = 0.25
EPS = 0.6
CROWD = 0.02
MOST = 8


@dataclass(frozen=True, eq=False)
class Cut:
    """Points (``float64[m, d]``), the segment of each, 0 the first, and how far they reach (None: everywhere)."""

    points: Matrix
    owner: Labels
    reach: float | None = None

    @property
    def segments(self) -> int:
        """How many segments there are, rows beyond the reach aside."""
        return int(self.owner.max()) + 1


def kmeans(rows: Matrix, k: int, *, starts: int = 10, seed: int = SEED) -> Cut:
    """Cut by k-means; the best of so many starts."""
    with threadpool_limits(limits=1):
        fitted = KMeans(k, n_init=starts, random_state=seed).fit(rows)
    return Cut(_sorted(np.asarray(fitted.cluster_centers_, np.float64)), np.arange(k))


def hierarchical(rows: Matrix, k: int, *, starts: int = 10, seed: int = SEED) -> Cut:
    """Cut a sample by Ward's method; whoever is placed goes to the nearest middle."""
    del starts
    chosen = rows
    if len(rows) > SAMPLE:
        chosen = rows[np.sort(np.random.default_rng(seed).choice(len(rows), SAMPLE, replace=False))]
    labels = AgglomerativeClustering(k, linkage="ward").fit_predict(chosen)
    middles = np.array([chosen[labels == each].mean(axis=0) for each in range(k)])
    return Cut(_sorted(middles), np.arange(k))


def dbscan(rows: Matrix, k: int = 0, *, starts: int = 10, seed: int = SEED) -> Cut:
    """Cut by density, over the cells of a grid weighted by the rows in them; the largest segments first, at most 8.

    How many there are follows from the data: `k` is not asked. A cell is a core if 2% of the rows are within `EPS`.
    """
    del k, starts, seed
    cells, counts = np.unique(np.round(rows / CELL), axis=0, return_counts=True)
    found = DBSCAN(eps=EPS, min_samples=max(1, int(CROWD * len(rows)))).fit(cells * CELL, sample_weight=counts)
    core = np.zeros(len(cells), bool)
    core[found.core_sample_indices_] = True
    if not core.any():
        return Cut(rows.mean(axis=0, keepdims=True), np.zeros(1, np.int64), EPS)
    sizes = np.bincount(found.labels_[core], weights=counts[core])
    rank = np.empty(len(sizes), np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    owner = rank[found.labels_[core]]
    kept = owner < MOST
    return Cut(cells[core][kept] * CELL, owner[kept], EPS)


METHODS: dict[str, Callable[..., Cut]] = {"kmeans": kmeans, "dbscan": dbscan, "hierarchical": hierarchical}


@dataclass(frozen=True, eq=False)
class Scaling:
    """Mean and spread of the logarithms of each column."""

    mean: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]

    @classmethod
    def of(cls, matrix: Matrix) -> Scaling:
        """Learn it from rows; a column of one value keeps its unit."""
        logs = np.log1p(np.maximum(matrix, 0.0))
        scale = logs.std(axis=0)
        return cls(logs.mean(axis=0), np.where(scale > 0, scale, 1.0))

    def head(self, cut: Cut, columns: tuple[str, ...], fill: tuple[float, ...], names: list[str]) -> dict[str, Any]:
        """Return the state of an ``Assigner``."""
        return {
            "columns": list(columns),
            "fill": list(fill),
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "points": cut.points.tolist(),
            "owner": cut.owner.tolist(),
            "reach": cut.reach,
            "names": names,
        }


def _sorted(middles: Matrix) -> Matrix:
    """By recency: the order k-means finds them in says nothing."""
    return np.asarray(middles[np.argsort(middles[:, 0], kind="stable")], np.float64)
