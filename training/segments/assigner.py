"""The segmentation as MLflow keeps it: logged as code with the base it builds on, and run by whoever loads the model.

It imports nothing else of this project. Its state is ``head.json``: scaling, and points that own their surroundings::

    z_i = (log1p(max(x_i or fill_i, 0)) - mean_i) / scale_i

A row is of the segment that owns its nearest point; farther than ``reach`` from every point (if there is one), of none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.written.head import HeadModel, Matrix, set_model

_BLOCK = 4096


class Placed(NamedTuple):
    """Where rows are: ``int64[n]`` index into the names, ``float64[n]`` distance, ``float64[n]`` strength."""

    segment: npt.NDArray[np.int64]
    distance: Matrix
    strength: Matrix


class Assigner(HeadModel):
    """Places shoppers into segments.

    The head holds ``columns``; ``fill``, ``mean``, ``scale`` as long as they; ``points`` (``[m][columns]``, scaled) and
    the ``owner`` of each, an index into ``names``; ``reach``, null for none, and then ``names`` ends with that of rows
    beyond it.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the segments."""
        return tuple(self._head["names"])

    def predict(
        self,
        context: Any,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Return ``segment``, ``distance`` and ``strength`` of each row; NaN or None is NULL.

        Raises
        ------
        ValueError
            A column is missing.
        """
        found = self.place(self.matrix(model_input))
        names = np.array(self.names, object)[found.segment]
        return pd.DataFrame({"segment": names, "distance": found.distance, "strength": found.strength})

    def scaled(self, matrix: Matrix) -> Matrix:
        """Return rows as the model sees them."""
        head = self._head
        filled = np.where(np.isnan(matrix), head["fill"], matrix)
        return np.asarray((np.log1p(np.maximum(filled, 0.0)) - head["mean"]) / head["scale"], np.float64)

    def place(self, matrix: Matrix) -> Placed:
        """Place rows, ``float64[n, columns]``.

        The distance is to the nearest point, in standard deviations; the strength is 1 minus that over the distance to
        the nearest point of another segment: 0 on the border. Rows beyond the reach have strength 0.
        """
        rows = self.scaled(matrix)
        parts = [self._place(rows[at : at + _BLOCK]) for at in range(0, max(len(rows), 1), _BLOCK)]
        return Placed(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def _place(self, rows: Matrix) -> Placed:
        points, owner = np.array(self._head["points"], np.float64), np.array(self._head["owner"], np.int64)
        apart = np.sqrt(((rows[:, None, :] - points[None, :, :]) ** 2).sum(axis=2))
        nearest = apart.argmin(axis=1)
        segment, distance = owner[nearest], apart.min(axis=1)
        elsewhere = np.where(owner[None, :] == segment[:, None], np.inf, apart).min(axis=1)
        with np.errstate(invalid="ignore"):
            strength = np.where(elsewhere > 0, 1.0 - distance / elsewhere, 0.0)
        reach = self._head["reach"]
        if reach is not None:
            beyond = distance > reach
            segment, strength = np.where(beyond, len(self.names) - 1, segment), np.where(beyond, 0.0, strength)
        return Placed(segment, distance, strength)


set_model(Assigner())
