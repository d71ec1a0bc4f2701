"""What each input of a model adds to its margin, asked of the scorer that was logged with it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from feature_repo.core.errors import ModelUnavailableError
from serving.models import Matrix, Model


def shares_of(model: Model, inputs: Matrix) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return shares, ``float64[n, len(model.columns) + 1]``, the last of no input, and the margins they sum to.

    Raises
    ------
    ModelUnavailableError
        The scorer cannot say: it has no ``shares(float64[n, d])`` and ``margin(float64[n, d])``.
    """
    scorer = model.scorer
    if not (callable(getattr(scorer, "shares", None)) and callable(getattr(scorer, "margin", None))):
        raise ModelUnavailableError(
            f"Model {model.name} answers, and cannot say why: it was registered before reasons were told.",
            hint=f"run `portrait train {model.task}`; its next champion can.",
        )
    return np.asarray(scorer.shares(inputs), np.float64), np.asarray(scorer.margin(inputs), np.float64)
