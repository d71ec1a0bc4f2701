"""The model as MLflow deploys it: one self-contained file, logged as code and run by whoever loads the model.

It imports nothing of this project, so a model trained today loads under tomorrow's checkout, and serving needs no
part of ``training``. Its state is the file ``head.json`` and one XGBoost file per booster; nothing is pickled.

The margin of a row is the weighted mean of two margins, then calibrated: a logit, or the number itself::

    linear    intercept + sum_i coef_i * (log1p(max(x_i or fill_i, 0)) - mean_i) / scale_i
              (not ``logarithmic``: x_i or fill_i as it is)
    boosting  mean over the boosters of their margin
    margin    slope * (w_l * linear + w_b * boosting) + offset
    score     1 / (1 + exp(-margin)) of the link ``logit``, margin of the link ``identity``
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of type hints of its own
    import mlflow.pyfunc

Matrix = npt.NDArray[np.float64]


class Scorer(mlflow.pyfunc.PythonModel):
    """Scores rows of model inputs.

    Use :meth:`score` for speed (a matrix in, an array out), ``predict`` of the loaded model for a DataFrame.
    """

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._boosters: tuple[xgboost.Booster, ...] = ()

    @classmethod
    def of(cls, head: dict[str, Any], boosters: Sequence[bytes]) -> Scorer:
        """Build a scorer from its parts, without MLflow.

        Parameters
        ----------
        head
            Content of ``head.json``: ``columns``; ``weights`` of ``linear`` and ``boosting``; ``linear`` (``fill``,
            ``mean``, ``scale``, ``coef``, each as long as ``columns``, ``intercept`` and ``logarithmic``) or null;
            ``calibration`` (``slope`` and ``offset``); ``link`` (``logit``, or ``identity`` of a regression).
        boosters
            XGBoost models in UBJSON.
        """
        scorer = cls()
        scorer._head = head
        scorer._boosters = tuple(_booster(bytearray(raw)) for raw in boosters)
        return scorer

    def load_context(self, context: Any) -> None:
        """Read the artifacts; MLflow calls it when the model is loaded."""
        self._head = json.loads(Path(context.artifacts["head"]).read_text("utf-8"))
        paths = [path for name, path in sorted(context.artifacts.items()) if name.startswith("booster_")]
        self._boosters = tuple(_booster(path) for path in paths)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the inputs, in the order of :meth:`score`'s matrix."""
        return tuple(self._head["columns"])

    def predict(
        self,
        context: Any,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> npt.NDArray[np.float64]:
        """Return the calibrated probability, or the number, of each row.

        Parameters
        ----------
        model_input
            Columns by name, in any order; others are ignored. NaN or None is NULL.

        Raises
        ------
        ValueError
            A column is missing.
        """
        missing = [name for name in self.columns if name not in model_input.columns]
        if missing:
            raise ValueError(
                f"The model input lacks {', '.join(missing)}. "
                "Pass every column of the model's signature; context columns have defaults in the version's tags."
            )
        return self.score(model_input[list(self.columns)].to_numpy(np.float64, na_value=np.nan))

    def score(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Return calibrated probabilities, or the numbers of a regression, ``float64[n]``.

        Parameters
        ----------
        matrix
            ``float64[n, len(columns)]`` in the order of :attr:`columns`; NaN is NULL.
        """
        margin = self._calibrated(self.margin(matrix))
        return margin if self._head.get("link") == "identity" else 1.0 / (1.0 + np.exp(-margin))

    def margin(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Return the logit (or number) before calibration, ``float64[n]``."""
        weights = self._head["weights"]
        total = np.zeros(len(matrix))
        if self._linear is not None:
            total += weights["linear"] * (self._standardised(matrix) @ self._linear["coef"] + self._linear["intercept"])
        if self._boosters and len(matrix):
            total += weights["boosting"] * np.mean([_margin(booster, matrix) for booster in self._boosters], axis=0)
        return total

    def contributions(self, matrix: Matrix) -> Matrix:
        """Return what each input adds to the calibrated margin: ``float64[n, len(columns) + 1]``.

        The last column is the share of no input; a row sums to the logit of its score, of a regression to the score.
        The trees' part are SHAP values (XGBoost's ``pred_contribs``), the linear part is each term's distance from the
        average training row.
        """
        weights = self._head["weights"]
        total = np.zeros((len(matrix), len(self.columns) + 1))
        if self._linear is not None:
            total[:, :-1] += weights["linear"] * self._standardised(matrix) * self._linear["coef"]
            total[:, -1] += weights["linear"] * self._linear["intercept"]
        if self._boosters and len(matrix):
            rows = xgboost.DMatrix(matrix, feature_names=list(self.columns))
            shares = [booster.predict(rows, pred_contribs=True) for booster in self._boosters]
            total += weights["boosting"] * np.mean(shares, axis=0)
        total *= self._head["calibration"]["slope"]
        total[:, -1] += self._head["calibration"]["offset"]
        return total

    def use_threads(self, threads: int) -> None:
        """Let the boosters use so many threads; one is fastest for a few rows, and the default."""
        for booster in self._boosters:
            booster.set_param({"nthread": threads})

    @cached_property
    def _linear(self) -> dict[str, Any] | None:
        part = self._head["linear"]
        return None if part is None else {name: np.asarray(value) for name, value in part.items()}

    def _standardised(self, matrix: Matrix) -> Matrix:
        part = self._linear or {}
        filled = np.where(np.isnan(matrix), part["fill"], matrix)
        if part.get("logarithmic", True):
            filled = np.log1p(np.maximum(filled, 0.0))
        return np.asarray((filled - part["mean"]) / part["scale"])

    def _calibrated(self, margin: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        calibration = self._head["calibration"]
        return np.asarray(calibration["slope"] * margin + calibration["offset"])


def _booster(source: bytearray | str) -> xgboost.Booster:
    booster = xgboost.Booster(model_file=source)
    booster.set_param({"nthread": 1})
    return booster


def _margin(booster: xgboost.Booster, matrix: Matrix) -> npt.NDArray[np.float64]:
    return np.asarray(booster.inplace_predict(matrix, predict_type="margin", validate_features=False), np.float64)


mlflow.models.set_model(Scorer())
