"""The score as MLflow keeps it: logged as code with the base it builds on, and run by whoever loads the model.

It imports nothing else of this project, and nothing is pickled: the isolation forest is arrays in ``head.json``. The
path of a row through a tree ends in a leaf, which holds its expected length; short paths are unusual (Liu, Ting, Zhou
2008)::

    raw    2 ^ -(mean path / usual path)
    score  share of the rows it was fitted on whose raw is lower
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.written.head import HeadModel, Matrix, set_model


class Isolation(HeadModel):
    """Scores how unusual rows are.

    The head holds ``columns``; ``trees``, each with ``left``, ``right`` (-1 in a leaf), ``column``, ``threshold``,
    ``path`` by node; ``usual_path``; ``quantiles``, the raw scores of the rows it was fitted on at even shares from 0
    to 1.
    """

    def predict(
        self,
        context: Any,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> npt.NDArray[np.float64]:
        """Return the score of each row, 0 to 1; NaN or None counts as 0.

        Raises
        ------
        ValueError
            A column is missing.
        """
        return self.score(np.nan_to_num(self.matrix(model_input)))

    def score(self, matrix: Matrix) -> Matrix:
        """Return the share of fitted rows that were less unusual: ``float64[n]``."""
        quantiles = np.array(self._head["quantiles"], np.float64)
        return np.asarray(np.interp(self.raw(matrix), quantiles, np.linspace(0, 1, len(quantiles))), np.float64)

    def raw(self, matrix: Matrix) -> Matrix:
        """Return the forest's own score, as scikit-learn's ``-score_samples``: ``float64[n]``."""
        rows = np.log1p(np.maximum(matrix, 0.0)).astype(np.float32)
        paths = np.mean([_path(tree, rows) for tree in self._head["trees"]], axis=0) if len(rows) else np.zeros(0)
        return np.asarray(2.0 ** (-paths / self._head["usual_path"]), np.float64)


def _path(tree: dict[str, list[float]], rows: npt.NDArray[np.float32]) -> Matrix:
    left, right, column = (np.array(tree[name], np.int64) for name in ("left", "right", "column"))
    threshold = np.array(tree["threshold"], np.float64)
    node, every = np.zeros(len(rows), np.int64), np.arange(len(rows))
    while True:
        inner = left[node] >= 0
        if not inner.any():
            return np.array(tree["path"], np.float64)[node]
        below = rows[every, np.maximum(column[node], 0)] <= threshold[node]
        node = np.where(inner, np.where(below, left[node], right[node]), node)


set_model(Isolation())
