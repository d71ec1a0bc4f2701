"""What the models have in common as MLflow keeps them: a state that is JSON, and inputs by name.

A model is logged as one self-contained file, this one and its own (see :func:`self_contained`): whoever loads it needs
nothing of this project.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of type hints of its own
    import mlflow.pyfunc

Matrix = npt.NDArray[np.float64]
set_model = mlflow.models.set_model


class HeadModel(mlflow.pyfunc.PythonModel):
    """A model whose state is ``head.json``; its ``columns`` are the inputs."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}

    @classmethod
    def of(cls, head: dict[str, Any]) -> Self:
        """Build one without MLflow; what the head holds is said by the model."""
        made = cls()
        made._head = head
        return made

    def load_context(self, context: Any) -> None:
        """Read the artifact; MLflow calls it when the model is loaded."""
        self._head = json.loads(Path(context.artifacts["head"]).read_text("utf-8"))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the inputs, in the order of the matrix."""
        return tuple(self._head["columns"])

    def matrix(self, model_input: pd.DataFrame) -> Matrix:
        """Return the inputs as ``float64[n, columns]``, NULL as NaN.

        Raises
        ------
        ValueError
            A column is missing.
        """
        missing = [name for name in self.columns if name not in model_input.columns]
        if missing:
            raise ValueError(f"The model input lacks {', '.join(missing)}. Pass every column of the model's signature.")
        return np.asarray(model_input[list(self.columns)].to_numpy(np.float64, na_value=np.nan))
