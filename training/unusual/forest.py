"""Fits the isolation forest, and takes it apart into arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import IsolationForest

from training.unusual.isolation import Isolation

SEED = 20170101
TREES = 200
ROWS_PER_TREE = 256
_QUANTILES = 1001

Matrix = npt.NDArray[np.float64]


def fit_forest(matrix: Matrix, columns: tuple[str, ...]) -> dict[str, Any]:
    """Fit on rows in the order given, and return the state of an ``Isolation``."""
    rows = np.log1p(np.maximum(matrix, 0.0)).astype(np.float32)
    sampled = min(ROWS_PER_TREE, len(rows))
    forest = IsolationForest(n_estimators=TREES, max_samples=sampled, random_state=SEED, n_jobs=1).fit(rows)
    head = {
        "columns": list(columns),
        "trees": [_tree(each.tree_) for each in forest.estimators_],
        "usual_path": float(expected_path(np.array([sampled]))[0]),
        "quantiles": [0.0, 1.0],
    }
    raw = Isolation.of(head).raw(matrix)
    return head | {"quantiles": np.quantile(raw, np.linspace(0, 1, _QUANTILES)).tolist()}


def expected_path(sizes: npt.NDArray[Any]) -> Matrix:
    """Mean length of an unsuccessful search in a binary tree of so many rows.

    >>> [round(float(each), 3) for each in expected_path(np.array([1, 2, 256]))]
    [0.0, 1.0, 10.245]
    """
    n = np.maximum(np.asarray(sizes, np.float64), 2.0)
    path = 2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n
    return np.where(np.asarray(sizes) <= 1, 0.0, np.where(np.asarray(sizes) == 2, 1.0, path))  # noqa: PLR2004


def _tree(tree: Any) -> dict[str, list[float]]:
    depth = np.zeros(tree.node_count)
    for node in range(tree.node_count):  # a child comes behind its parent
        for child in (tree.children_left[node], tree.children_right[node]):
            if child >= 0:
                depth[child] = depth[node] + 1
    return {
        "left": tree.children_left.tolist(),
        "right": tree.children_right.tolist(),
        "column": tree.feature.tolist(),
        "threshold": tree.threshold.tolist(),
        "path": (depth + expected_path(tree.n_node_samples)).round(6).tolist(),
    }
