"""The model as MLflow deploys it: one self-contained file, logged as code and run by whoever loads the model.

It imports nothing of this project, so a model trained today loads under tomorrow's checkout, and serving needs no
part of ``training``. Its state is the file ``head.json`` and one XGBoost file per booster; nothing is pickled.

The margin of a row is the weighted mean of two margins, then calibrated: a logit, or the number itself::

    linear    intercept + sum_t coef_t * (term_t - mean_t) / scale_t, where a term is of an input x
              log1p(max(x or fill_t, 0))   (not ``logarithmic``: x or fill_t as it is)
              1 if x is value number level_t of a text, else 0
              1 if x is NULL, else 0       (level_t is -1)
    boosting  mean over the boosters of their margin
    margin    calibrated(w_l * linear + w_b * boosting), which rises strictly
    score     1 / (1 + exp(-margin)) of the link ``logit``, margin of the link ``identity``

A text is a number to the model: its place in a list that is stored with it, NaN if it is not there.
"""

from __future__ import annotations

import ctypes
import json
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost
from xgboost.libpath import find_lib_path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of type hints of its own
    import mlflow.pyfunc

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

IS_NULL = -1
# XGBoost's own library, which this process has loaded already, and what `inplace_predict` asks it for a margin with:
# https://xgboost.readthedocs.io/en/stable/c.html
_LIBRARY = ctypes.CDLL(find_lib_path()[0])
_LIBRARY.XGBGetLastError.restype = ctypes.c_char_p
_MARGIN = (
    b'{"type": 1, "training": false, "iteration_begin": 0, "iteration_end": 0, "strict_shape": false, "missing": NaN}'
)
_FLAT = 1e-9  # shares that sum to less than this cannot be stretched


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
            Content of ``head.json``: ``columns``; ``categories`` of those that are texts; ``weights`` of ``linear`` and
            ``boosting``; ``linear`` or null: ``intercept``, ``logarithmic``, and for each term ``fill``, ``mean``,
            ``scale`` and ``coef``, ``source`` (place of its column; without, the terms are the columns) and ``level``
            (null for a number); ``calibration``, see :func:`calibrated`; ``link`` (``logit``, or ``identity`` of a
            regression).
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

    @property
    def categories(self) -> dict[str, list[str]]:
        """Inputs that are texts, each with the values the model knows: a text's number is its place."""
        return dict(self._head.get("categories", {}))

    def codes(self, column: str, values: Sequence[Any]) -> Vector:
        """Return the numbers :meth:`score` takes for the texts of a column: NaN for NULL and for an unknown text."""
        return codes(values, self.categories[column])

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
            Columns by name, in any order; others are ignored. NaN or None is NULL, and so is a text the model has not
            seen.

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
        return self.score(matrix_of(model_input, self.columns, self.categories))

    def score(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Return calibrated probabilities, or the numbers of a regression, ``float64[n]``.

        Parameters
        ----------
        matrix
            ``float64[n, len(columns)]`` in the order of :attr:`columns`; NaN is NULL.
        """
        margin = calibrated(self._head["calibration"], self.margin(matrix))
        return margin if self._head.get("link") == "identity" else 1.0 / (1.0 + np.exp(-margin))

    def margin(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Return the logit (or number) before calibration, ``float64[n]``."""
        weights = self._head["weights"]
        total = np.zeros(len(matrix))
        if self._linear is not None:
            # Added up row by row, each in one piece: a product of matrices rounds a row by how many others there are.
            shares = np.ascontiguousarray(terms(self._linear, matrix) * self._linear["coef"]).sum(axis=1)
            total += weights["linear"] * (shares + self._linear["intercept"])
        if self._boosters and len(matrix):
            total += weights["boosting"] * np.mean([_margin(booster, matrix) for booster in self._boosters], axis=0)
        return total

    def shares(self, matrix: Matrix) -> Matrix:
        """Return what each input adds to the margin before calibration: ``float64[n, len(columns) + 1]``.

        The last column is the share of no input; a row sums to its :meth:`margin`. The trees' part are SHAP values
        (XGBoost's ``pred_contribs``; Lundberg et al. 2018), the linear part is each term's distance from the average
        training row. XGBoost adds up in 32 bits: what it is off by (some 1e-6) is in the share of no input.
        """
        weights = self._head["weights"]
        total = np.zeros((len(matrix), len(self.columns) + 1))
        if self._linear is not None:
            shares = terms(self._linear, matrix) * self._linear["coef"]
            total[:, :-1] += weights["linear"] * self._by_column(shares)
        if self._boosters and len(matrix):
            rows = xgboost.DMatrix(matrix, feature_names=list(self.columns), feature_types=self._types, nthread=1)
            each = [booster.predict(rows, pred_contribs=True)[:, :-1] for booster in self._boosters]
            total[:, :-1] += weights["boosting"] * np.mean(each, axis=0, dtype=np.float64)
        total[:, -1] = self.margin(matrix) - total.sum(axis=1)
        return total

    def contributions(self, matrix: Matrix) -> Matrix:
        """Return what each input adds to the calibrated margin: ``float64[n, len(columns) + 1]``.

        The last column is the share of no input; a row sums to the logit of its score, of a regression to the score.
        These are :meth:`shares`, of each row stretched by one positive number, the mean slope of the calibration
        between the row of no input and this row, so that within a row order, signs and proportions are those before
        calibration.
        """
        return self._stretched(self.shares(matrix))

    def use_threads(self, threads: int) -> None:
        """Let the boosters use so many threads; one is fastest for a few rows, and the default."""
        for booster in self._boosters:
            booster.set_param({"nthread": threads})

    @cached_property
    def _linear(self) -> dict[str, Any] | None:
        part = self._head["linear"]
        return None if part is None else {name: np.asarray(value) for name, value in part.items()}

    @property
    def _types(self) -> list[str]:
        return feature_types(self.columns, self.categories)

    def _by_column(self, shares: Matrix) -> Matrix:
        source = (self._linear or {}).get("source")
        if source is None:
            return shares
        total = np.zeros((len(self.columns), len(shares)))
        np.add.at(total, source, shares.T)
        return total.T

    def _stretched(self, shares: Matrix) -> Matrix:
        calibration = self._head["calibration"]
        base, margin = shares[:, -1], shares.sum(axis=1)
        floor = calibrated(calibration, base)
        rise, run = calibrated(calibration, margin) - floor, margin - base
        slope = np.divide(rise, run, out=np.ones(len(run)), where=np.abs(run) > _FLAT)
        return np.column_stack([shares[:, :-1] * slope[:, None], floor])


def calibrated(calibration: Mapping[str, Any], margin: Vector) -> Vector:
    """Return margins after calibration, which rises strictly: it never changes an order.

    Parameters
    ----------
    calibration
        ``slope`` and ``offset`` of a straight line; or knots ``x`` and ``y``, both rising: straight between two knots,
        with slope 1 beyond the first and the last.

    >>> calibrated({"x": [0.0, 1.0], "y": [0.0, 4.0]}, np.array([-1.0, 0.5, 3.0])).tolist()
    [-1.0, 2.0, 6.0]
    """
    if "x" not in calibration:
        return np.asarray(calibration["slope"] * margin + calibration["offset"])
    x, y = calibration["x"], calibration["y"]
    beyond = margin - np.clip(margin, x[0], x[-1])
    return np.asarray(np.interp(margin, x, y) + beyond)


def terms(part: Mapping[str, Any], matrix: Matrix) -> Matrix:
    """Return the standardised terms of a linear part, ``float64[n, terms]``; its values are arrays."""
    inputs = matrix[:, part["source"]] if "source" in part else matrix
    values = np.where(np.isnan(inputs), part["fill"], inputs)
    if part.get("logarithmic", True):
        values = np.log1p(np.maximum(values, 0.0))
    if "level" in part:
        level = np.asarray(part["level"], np.float64)
        for place in np.flatnonzero(~np.isnan(level)):
            column = inputs[:, place]
            values[:, place] = np.isnan(column) if level[place] == IS_NULL else column == level[place]
    return np.asarray((values - part["mean"]) / part["scale"])


def codes(values: Sequence[Any], known: Sequence[str]) -> Vector:
    """Return the place of each text in a list, NaN for NULL and for a text that is not in it.

    >>> codes(["b", None, "z"], ["a", "b"]).tolist()
    [1.0, nan, nan]
    """
    places = {text: float(place) for place, text in enumerate(known)}
    return np.array([places.get(value, np.nan) for value in values], np.float64)


def matrix_of(frame: pd.DataFrame, columns: Sequence[str], categories: Mapping[str, Sequence[str]]) -> Matrix:
    """Return columns of a frame as the matrix a model reads, texts by their numbers."""
    texts = {name: codes(frame[name].tolist(), categories[name]) for name in columns if name in categories}
    numbers = frame[list(columns)]
    return np.asarray((numbers.assign(**texts) if texts else numbers).to_numpy(np.float64, na_value=np.nan))


def feature_types(columns: Sequence[str], categories: Mapping[str, Sequence[str]]) -> list[str]:
    """Return XGBoost's word for each column: ``c`` of a text, ``float`` of a number."""
    return ["c" if name in categories else "float" for name in columns]


def _booster(source: bytearray | str) -> xgboost.Booster:
    booster = xgboost.Booster(model_file=source)
    booster.set_param({"nthread": 1})
    return booster


def _margin(booster: xgboost.Booster, matrix: Matrix) -> npt.NDArray[np.float64]:
    """Return the margin of ``Booster.inplace_predict``, without what it does to find out what it was given.

    That takes as long as the trees of 30 rows.
    """
    rows = np.ascontiguousarray(matrix, np.float64)
    shape, dimensions = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
    found = ctypes.POINTER(ctypes.c_float)()
    told = b'{"data": [%d, true], "shape": [%d, %d], "typestr": "<f8", "version": 3}' % (rows.ctypes.data, *rows.shape)
    outputs = map(ctypes.byref, (shape, dimensions, found))
    if _LIBRARY.XGBoosterPredictFromDense(booster.handle, told, _MARGIN, None, *outputs):
        raise xgboost.core.XGBoostError(_LIBRARY.XGBGetLastError().decode())
    # The numbers are this thread's until it asks again: they are copied.
    return np.ctypeslib.as_array(found, (len(rows),)).astype(np.float64)


mlflow.models.set_model(Scorer())
