"""Fits a recipe on a dataset: rounds and calibration on the validation slice, then all training rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost
from threadpoolctl import threadpool_limits
from xgboost.callback import TrainingCallback

from feature_repo.core.errors import DeclarationError
from training.data.dataset import Dataset, Labels, Matrix
from training.data.split import Mask
from training.declaring.objective import BINARY, BY_OBJECTIVE
from training.declaring.recipe import Boosting, Copy, Recipe
from training.fitting.calibration import NO_CHOICE, UNCALIBRATED, Choice, Margins, choose
from training.fitting.linear import Categories, design, regress
from training.scorer import Scorer, feature_types

# Below this many cells a second thread costs more than it gains, and one gives the same trees on every machine.
CELLS_PER_THREAD = 2_000_000


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
    choice
        How it was calibrated, and why.
    """

    head: dict[str, Any] = field(repr=False)
    boosters: tuple[bytes, ...] = field(repr=False)
    rounds: int
    rehearsal: Fitted | None = field(default=None, repr=False)
    choice: Choice = NO_CHOICE

    def scorer(self) -> Scorer:
        """Return what serving runs, built from the same parts."""
        return Scorer.of(self.head, self.boosters)

    def calibrated(self, choice: Choice) -> Fitted:
        """Return the model with a calibration."""
        return replace(self, head={**self.head, "calibration": choice.calibration}, choice=choice)


def fit(recipe: Recipe, data: Dataset, *, threads: int = 1) -> Fitted:
    """Fit a recipe.

    The number of rounds is the median over the seeds of where the loss on the validation slice was best, and the
    calibration (see :mod:`training.fitting.calibration`; a regression has none) is chosen and fitted on that slice; the
    model is then fitted again on all training rows, over which the calibration is centred: the share of positives moves
    with the seasons, and the model of the slice did not know its own. The test rows are not read.

    Raises
    ------
    DeclarationError
        The recipe names an input the dataset lacks, or is one of a model to compare with.
    """
    if recipe.copy is not None:
        return copied(recipe.copy, data)
    fitting = Fitting.of(recipe, data, threads)
    with threadpool_limits(fitting.threads):
        first = fitting.on(data.split.fit, valid=data.split.valid)
        choice = calibration_of(first.scorer().margin(fitting.matrix[data.valid]), data)
        final = fitting.on(data.train, rounds=first.rounds)
        last = centred_over(data.train, choice, final.scorer().margin, fitting.matrix, data)
    return replace(final.calibrated(last), rehearsal=first.calibrated(choice))


def calibration_of(margin: Margins, data: Dataset, rows: Mask | None = None) -> Choice:
    """Choose the calibration of a model from its margins on the validation slice, or on some of its rows."""
    if data.task.objective != BINARY:
        return NO_CHOICE
    valid = data.valid if rows is None else rows
    return choose(margin, data.labels[valid], data.frame.loc[valid, data.key].to_numpy())


def centred_over(
    rows: Mask, choice: Choice, margin: Callable[[Matrix], Margins], matrix: Matrix, data: Dataset
) -> Choice:
    """Centre a calibration over the rows a model was fitted on; that of a regression stays as it is."""
    return choice.centred(margin(matrix[rows]), data.labels[rows]) if data.task.objective == BINARY else choice


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
        "categories": {},
        "weights": {"linear": 1.0, "boosting": 0.0},
        "linear": plain,
        "calibration": UNCALIBRATED,
        "link": data.task.kind.link,
    }
    return Fitted(head, (), 0)


@dataclass(frozen=True, eq=False)
class Fitting:
    """A recipe over a dataset's rows, ready to be fitted on some of them.

    Attributes
    ----------
    columns, categories
        The inputs, and the values of those that are texts.
    matrix, labels
        All rows.
    threads
        As many as pay off.
    groups
        Which rows are ranked against each other, if the objective ranks.
    """

    recipe: Recipe
    columns: tuple[str, ...]
    categories: Categories
    matrix: Matrix = field(repr=False)
    labels: Labels = field(repr=False)
    objective: str
    threads: int
    groups: npt.NDArray[np.int64] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, recipe: Recipe, data: Dataset, threads: int) -> Fitting:
        """Read a recipe's inputs of a dataset.

        Raises
        ------
        DeclarationError
            The recipe names an input the dataset lacks, constrains a text, or is one of a model to compare with.
        """
        if recipe.linear is None and recipe.boosting is None:
            raise DeclarationError(
                "A model to compare with cannot be a task's model.", hint="give the recipe linear= or boosting=."
            )
        columns = recipe.inputs or data.inputs
        categories = {name: data.categories[name] for name in columns if name in data.categories}
        _check_directions(recipe.boosting, categories)
        matrix = data.matrix(columns)
        used = min(threads, 1 + matrix.size // CELLS_PER_THREAD)
        groups = data.groups if data.task.candidates else None
        return cls(recipe, columns, categories, matrix, data.labels, data.task.objective, used, groups)

    def on(
        self,
        rows: Mask,
        *,
        valid: Mask | None = None,
        rounds: int = 0,
        after: Sequence[bytes] = (),
        watched: Sequence[TrainingCallback] = (),
    ) -> Fitted:
        """Fit on some rows; the result is not calibrated.

        Parameters
        ----------
        valid
            Rows that end the boosting early; without them it takes ``rounds``.
        after
            Boosters to go on from, one per seed; ``rounds`` are those added.
        watched
            Called after each round that ``valid`` may end the boosting at.
        """
        linear, boosting = self.recipe.linear, self.recipe.boosting
        head = {
            "columns": list(self.columns),
            "categories": {name: list(values) for name, values in self.categories.items()},
            "weights": _weights(self.recipe),
            "linear": None,
            "calibration": UNCALIBRATED,
            "link": BY_OBJECTIVE[self.objective].link,
        }
        if linear:
            part = design(linear, self.columns, self.categories, self.matrix[rows])
            head["linear"] = regress(part, linear, self.objective, self.matrix[rows], self.labels[rows])
        boosters = self._boosters(boosting, rows, valid, rounds, after, watched) if boosting else []
        found = [booster.num_boosted_rounds() for booster in boosters]
        raw = tuple(bytes(booster.save_raw("ubj")) for booster in boosters)
        return Fitted(head, raw, int(np.median(found)) if found else 0)

    def params(self, boosting: Boosting, seed: int) -> dict[str, Any]:
        """Return what XGBoost is told."""
        return boosting.params(objective=self.objective, columns=self.columns, seed=seed, threads=self.threads)

    def rows(self, rows: Mask) -> xgboost.DMatrix:
        """Return some rows as XGBoost reads them."""
        places = np.flatnonzero(rows)
        if self.groups is not None:  # XGBoost wants the rows of a group together
            places = places[np.argsort(self.groups[places], kind="stable")]
        return xgboost.DMatrix(
            self.matrix[places],
            self.labels[places],
            qid=None if self.groups is None else self.groups[places],
            feature_names=list(self.columns),
            feature_types=feature_types(self.columns, self.categories),
            nthread=self.threads,
        )

    def _boosters(
        self,
        boosting: Boosting,
        rows: Mask,
        valid: Mask | None,
        rounds: int,
        after: Sequence[bytes],
        watched: Sequence[TrainingCallback],
    ) -> list[xgboost.Booster]:
        start = [xgboost.Booster(model_file=bytearray(raw)) for raw in after] or [None] * len(boosting.seeds)
        read, held = self.rows(rows), None if valid is None else self.rows(valid)
        pairs = zip(boosting.seeds, start, strict=True)
        return [
            self._boost(boosting, self.params(boosting, seed), read, held, rounds, old, watched) for seed, old in pairs
        ]

    @staticmethod
    def _boost(
        boosting: Boosting,
        params: dict[str, Any],
        rows: xgboost.DMatrix,
        valid: xgboost.DMatrix | None,
        rounds: int,
        after: xgboost.Booster | None,
        watched: Sequence[TrainingCallback],
    ) -> xgboost.Booster:
        if valid is None:
            return xgboost.train(params, rows, num_boost_round=rounds, xgb_model=after)
        searched = xgboost.train(
            params,
            rows,
            num_boost_round=boosting.max_rounds,
            evals=[(valid, "valid")],
            early_stopping_rounds=boosting.patience,
            verbose_eval=False,
            xgb_model=after,
            callbacks=list(watched),
        )
        return searched[: searched.best_iteration + 1]


def _check_directions(boosting: Boosting | None, categories: Categories) -> None:
    wrong = [name for name in categories if boosting and boosting.direction(name)]
    if wrong:
        raise DeclarationError(
            f"Boosting lets the score only rise or fall with {', '.join(wrong)}, which is a text.",
            hint="texts have no order: take it out of rising= and falling=.",
        )


def _weights(recipe: Recipe) -> dict[str, float]:
    parts = {"linear": recipe.linear is not None, "boosting": recipe.boosting is not None}
    return {name: present / sum(parts.values()) for name, present in parts.items()}
