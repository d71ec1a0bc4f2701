"""Fits a recipe on a dataset: rounds and calibration on the validation slice, then all training rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from training.datasets import Dataset, Labels, Matrix
from training.objective import BINARY, BY_OBJECTIVE
from training.recipe import Boosting, Copy, Linear, Recipe
from training.scorer import Scorer
from training.split import Mask

# Below this many cells a second thread costs more than it gains, and one gives the same trees on every machine.
CELLS_PER_THREAD = 2_000_000
UNCALIBRATED = {"slope": 1.0, "offset": 0.0}


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model in the parts it is stored in.

    Attributes
    ----------
    head
        Content of ``head.json``, see :class:`training.scorer.Scorer`.
    boosters
        XGBoost models in UBJSON, one per seed.
    rounds
        Trees in each; 0 without boosting.
    rehearsal
        The model that chose rounds and calibration, calibrated on the validation rows and not fitted on them:
        thresholds are chosen by its scores of them. None where nothing was fitted.
    """

    head: dict[str, Any] = field(repr=False)
    boosters: tuple[bytes, ...] = field(repr=False)
    rounds: int
    rehearsal: Fitted | None = field(default=None, repr=False)

    def scorer(self) -> Scorer:
        """Return what serving runs, built from the same parts."""
        return Scorer.of(self.head, self.boosters)


def fit(recipe: Recipe, data: Dataset, *, threads: int = 1) -> Fitted:
    """Fit a recipe.

    The number of rounds is the median over the seeds of where the loss on the validation slice was best, and the
    slope of the calibration (Platt's, on the logit; a regression has none) is fitted on that slice; the model is then
    fitted again on all training rows, where the offset makes the mean probability the share of positives: that share
    moves with the seasons, and the model of the slice did not know its own. The test rows are not read.

    Raises
    ------
    DeclarationError
        The recipe names an input the dataset lacks.
    """
    if recipe.copy is not None:
        return copied(recipe.copy, data)
    columns = recipe.inputs or data.inputs
    matrix, labels = data.matrix(columns), data.labels
    threads = min(threads, 1 + matrix.size // CELLS_PER_THREAD)
    with threadpool_limits(threads):
        searching = _Fit(recipe, columns, matrix, labels, data.task.objective, threads)
        first = searching.on(data.split.fit, valid=data.split.valid)
        final = searching.on(data.train, rounds=first.rounds)
        calibration, seen = UNCALIBRATED, UNCALIBRATED
        if data.task.objective == BINARY:
            seen = platt(first.scorer().margin(matrix[data.valid]), labels[data.valid])
            calibration = centred(seen["slope"], final.scorer().margin(matrix[data.train]), labels[data.train])
    rehearsal = replace(first, head={**first.head, "calibration": seen})
    return Fitted({**final.head, "calibration": calibration}, final.boosters, first.rounds, rehearsal)


def copied(copy: Copy, data: Dataset) -> Fitted:
    """Return a model that gives an input back, times a number.

    Raises
    ------
    DeclarationError
        The dataset lacks the input.
    """
    data.matrix((copy.column,))
    plain = {"fill": [0.0], "mean": [0.0], "scale": [1.0], "coef": [copy.times], "intercept": 0.0, "logarithmic": False}
    head = {
        "columns": [copy.column],
        "weights": {"linear": 1.0, "boosting": 0.0},
        "linear": plain,
        "calibration": UNCALIBRATED,
        "link": data.task.kind.link,
    }
    return Fitted(head, (), 0)


def centred(slope: float, margin: npt.NDArray[np.float64], labels: Labels) -> dict[str, float]:
    """Return the calibration of a slope whose mean probability is the share of positives.

    >>> found = centred(1.0, np.array([-1.0, 1.0]), np.array([0, 1]))
    >>> abs(found["offset"]) < 1e-9
    True
    """

    def excess(offset: float) -> float:
        return float((1 / (1 + np.exp(-(slope * margin + offset)))).mean() - labels.mean())

    reach = float(np.abs(slope * margin).max()) + 40.0
    return {"slope": slope, "offset": float(brentq(excess, -reach, reach))}


def platt(margin: npt.NDArray[np.float64], labels: Labels) -> dict[str, float]:
    """Fit ``slope * margin + offset`` to labels by maximum likelihood (Platt 1999, without his smoothing of labels)."""
    fitted = LogisticRegression(C=1e6, max_iter=1000).fit(margin[:, None], labels)
    return {"slope": float(fitted.coef_[0, 0]), "offset": float(fitted.intercept_[0])}


@dataclass(frozen=True, eq=False)
class _Fit:
    recipe: Recipe
    columns: tuple[str, ...]
    matrix: Matrix
    labels: Labels
    objective: str
    threads: int

    def on(self, rows: Mask, *, valid: Mask | None = None, rounds: int = 0) -> Fitted:
        linear, boosting = self.recipe.linear, self.recipe.boosting
        boosters = [self._boost(boosting, seed, rows, valid, rounds) for seed in boosting.seeds] if boosting else []
        head = {
            "columns": list(self.columns),
            "weights": _weights(linear, boosting),
            "linear": self._regress(linear, rows) if linear else None,
            "calibration": UNCALIBRATED,
            "link": BY_OBJECTIVE[self.objective].link,
        }
        found = [booster.num_boosted_rounds() for booster in boosters]
        raw = tuple(bytes(booster.save_raw("ubj")) for booster in boosters)
        return Fitted(head, raw, int(np.median(found)) if found else 0)

    def _boost(self, boosting: Boosting, seed: int, rows: Mask, valid: Mask | None, rounds: int) -> xgboost.Booster:
        params = boosting.params(objective=self.objective, columns=self.columns, seed=seed, threads=self.threads)
        if valid is None:
            return xgboost.train(params, self._rows(rows), num_boost_round=rounds)
        searched = xgboost.train(
            params,
            self._rows(rows),
            num_boost_round=boosting.max_rounds,
            evals=[(self._rows(valid), "valid")],
            early_stopping_rounds=boosting.patience,
            verbose_eval=False,
        )
        return searched[: searched.best_iteration + 1]

    def _rows(self, rows: Mask) -> xgboost.DMatrix:
        return xgboost.DMatrix(
            self.matrix[rows], self.labels[rows], feature_names=list(self.columns), nthread=self.threads
        )

    def _regress(self, linear: Linear, rows: Mask) -> dict[str, Any]:
        fill = np.array([linear.fill(column) for column in self.columns])
        values = np.where(np.isnan(self.matrix[rows]), fill, self.matrix[rows])
        if linear.logarithmic:
            values = np.log1p(np.maximum(values, 0.0))
        mean, deviation = values.mean(axis=0), values.std(axis=0)
        scale = np.where(deviation > 0, deviation, 1.0)
        read = np.array([linear.reads(column) for column in self.columns])
        fitted = self._estimator(linear).fit(((values - mean) / scale)[:, read], self.labels[rows])
        weights = np.zeros(len(self.columns))
        weights[read] = np.ravel(fitted.coef_)
        return {
            "fill": fill.tolist(),
            "mean": mean.tolist(),
            "scale": scale.tolist(),
            "coef": weights.tolist(),
            "intercept": float(np.ravel(fitted.intercept_)[0]),
            "logarithmic": linear.logarithmic,
        }

    def _estimator(self, linear: Linear) -> Any:
        if self.objective == BINARY:
            return LogisticRegression(C=linear.strength, max_iter=3000)
        return Ridge(alpha=1 / linear.strength)


def _weights(linear: Linear | None, boosting: Boosting | None) -> dict[str, float]:
    parts = {"linear": linear is not None, "boosting": boosting is not None}
    return {name: present / sum(parts.values()) for name, present in parts.items()}
