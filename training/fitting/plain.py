"""Other kinds of models on the same rows, by scikit-learn: compared with and never served."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_limits

from training.data.dataset import Dataset, Matrix
from training.data.split import Mask
from training.declaring.objective import BINARY
from training.declaring.recipe import Forest, Linear, Margin, Plain, Recipe, Tree
from training.fitting.calibration import Choice
from training.fitting.fit import calibration_of, centred_over, fit
from training.fitting.linear import design
from training.scorer import calibrated, terms

MOST_ROWS = 30_000
SEED = 7
CLOSE = 1e-8  # or a last digit of an input changes the answer in the sixth
_SURE = 1e-4  # a leaf of one kind alone is not certain


class Scores(Protocol):
    """What is compared: a model of any kind."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Inputs, in the order of the matrix."""

    def score(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Return probabilities, or numbers."""


@dataclass(frozen=True, eq=False)
class Compared:
    """A baseline as it was fitted.

    Attributes
    ----------
    scorer
        The model.
    rows
        How many rows of training it was fitted on.
    choice
        How it was calibrated.
    """

    scorer: Scores
    rows: int
    choice: Choice


def fit_baseline(recipe: Recipe, data: Dataset, *, threads: int = 1) -> Compared:
    """Fit a recipe of any kind: as a task's model is, and without reading the test rows.

    A model of scikit-learn is fitted on at most ``MOST_ROWS`` rows, evenly spaced in time.
    """
    if recipe.plain is None:
        fitted = fit(recipe, data, threads=threads)
        return Compared(fitted.scorer(), int(data.train.sum()), fitted.choice)
    columns = recipe.inputs or data.inputs
    rows = thinned(data.train)
    with threadpool_limits(threads):
        first = _fit(recipe.plain, columns, data, thinned(data.split.fit))
        choice = calibration_of(first.margin(data.matrix(columns)[data.valid]), data)
        final = _fit(recipe.plain, columns, data, rows)
        choice = centred_over(rows, choice, final.margin, data.matrix(columns), data)
    return Compared(_Calibrated(final, choice, binary=data.task.objective == BINARY), int(rows.sum()), choice)


def thinned(rows: Mask, most: int = MOST_ROWS) -> Mask:
    """Return at most so many of the rows, evenly spaced: the rows of a dataset are ordered by time, then content.

    >>> thinned(np.array([True, False, True, True, True]), most=2).tolist()
    [True, False, False, True, False]
    """
    places = np.flatnonzero(rows)
    if len(places) <= most:
        return rows
    kept = np.zeros(len(rows), bool)
    kept[places[np.arange(most) * len(places) // most]] = True
    return kept


class _Model(Protocol):
    @property
    def columns(self) -> tuple[str, ...]: ...

    def margin(self, matrix: Matrix) -> npt.NDArray[np.float64]: ...


@dataclass(frozen=True, eq=False)
class _Calibrated:
    model: _Model
    choice: Choice
    binary: bool

    @property
    def columns(self) -> tuple[str, ...]:
        return self.model.columns

    def score(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        margin = calibrated(self.choice.calibration, self.model.margin(matrix))
        return 1 / (1 + np.exp(-margin)) if self.binary else margin


@dataclass(frozen=True, eq=False)
class _Trees:
    columns: tuple[str, ...]
    estimator: Any = field(repr=False)
    binary: bool

    def margin(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        if not self.binary:
            return np.asarray(self.estimator.predict(matrix), np.float64)
        share = np.clip(self.estimator.predict_proba(matrix)[:, 1], _SURE, 1 - _SURE)
        return np.asarray(np.log(share / (1 - share)))


@dataclass(frozen=True, eq=False)
class _Plane:
    columns: tuple[str, ...]
    part: dict[str, Any] = field(repr=False)
    estimator: Any = field(repr=False)

    def margin(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        values = terms(self.part, matrix)
        found = self.estimator.decision_function if hasattr(self.estimator, "classes_") else self.estimator.predict
        return np.asarray(found(values), np.float64)


def _fit(kind: Plain, columns: tuple[str, ...], data: Dataset, rows: Mask) -> _Model:
    matrix, binary = data.matrix(columns)[rows], data.task.objective == BINARY
    if not isinstance(kind, Margin):
        return _Trees(columns, _estimator(kind, len(matrix), binary=binary).fit(matrix, data.labels[rows]), binary)
    texts = {name: data.categories[name] for name in columns if name in data.categories}
    part = design(Linear(logarithmic=binary), columns, texts, matrix)
    return _Plane(
        columns, part, _estimator(kind, len(matrix), binary=binary).fit(terms(part, matrix), data.labels[rows])
    )


def _estimator(kind: Plain, rows: int, *, binary: bool) -> Any:
    if isinstance(kind, Tree):
        tree = DecisionTreeClassifier if binary else DecisionTreeRegressor
        return tree(max_depth=kind.max_depth, min_samples_leaf=kind.min_samples_leaf, random_state=SEED)
    if isinstance(kind, Forest):
        forest = RandomForestClassifier if binary else RandomForestRegressor
        return forest(
            n_estimators=kind.trees,
            min_samples_leaf=kind.min_samples_leaf,
            max_features="sqrt" if binary else 1 / 3,
            max_samples=min(kind.rows_per_tree, rows),
            random_state=SEED,
        )
    if binary:
        return LinearSVC(C=kind.strength, dual=False, tol=CLOSE, random_state=SEED)
    return LinearSVR(C=kind.strength, loss="squared_epsilon_insensitive", dual=False, tol=CLOSE, random_state=SEED)
