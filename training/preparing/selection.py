"""Leaves inputs out that a model does not need: by statistics, by elimination, or by a penalty.

Three ways to say which inputs go first, learnt on the rows before the validation slice:

filter
    chi-squared and mutual information of each input, cut into ten bins, with the answer; the mean of both ranks
wrapper
    recursive elimination (Guyon and others 2002): the model is fitted, the quarter of its inputs that moves its margins
    least goes, and again with what is left
embedded
    a linear model with an L1 penalty (Tibshirani 1996); the stronger the penalty, the fewer inputs keep a coefficient

Each gives a few sets of inputs, ever smaller. The task's recipe is fitted on each and measured on the validation slice;
the smallest set that costs at most ``MOST_COST`` of the leading metric there is taken. The test rows are not read.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2_contingency, rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, lasso_path
from sklearn.metrics import mutual_info_score

from training.data.dataset import Dataset, Labels, Matrix
from training.declaring.objective import BINARY
from training.declaring.recipe import Linear, Recipe
from training.evaluation.metrics import BY_NAME
from training.evaluation.trained import Step
from training.fitting.fit import Fitting
from training.fitting.linear import design
from training.fitting.options import EMBEDDED, FILTER, WRAPPER
from training.fitting.plain import thinned
from training.scorer import terms

MOST_COST = 0.002
LEFT = 0.75  # of the inputs, from one set to the next
FEWEST = 3
BINS = 10
PENALTIES = (0.1, 0.03, 0.01, 0.003, 0.001)
ROWS = 30_000
SEED = 7

Inputs = tuple[str, ...]
Weights = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rung:
    """A set of inputs, and the leading metric of the recipe on it, of the validation slice."""

    inputs: Inputs
    value: float


@dataclass(frozen=True)
class Selection:
    """What was kept, what was dropped, and what that cost.

    Attributes
    ----------
    method
        ``filter``, ``wrapper`` or ``embedded``.
    metric
        The leading metric of the task.
    rungs
        Sets that were measured, all inputs first.
    kept
        The one that was taken.
    scores
        Input -> what it was ranked by, where the method ranks inputs once.
    """

    method: str
    metric: str
    rungs: tuple[Rung, ...]
    kept: Rung
    scores: dict[str, dict[str, float]]

    @property
    def dropped(self) -> Inputs:
        """Inputs left out."""
        return tuple(name for name in self.rungs[0].inputs if name not in self.kept.inputs)

    @property
    def cost(self) -> float:
        """The leading metric of all inputs minus that of those kept, on the validation slice."""
        return self.rungs[0].value - self.kept.value

    def to_json(self) -> dict[str, Any]:
        """Return what the run keeps of it."""
        return {**asdict(self), "dropped": self.dropped, "cost": self.cost}


def select(recipe: Recipe, data: Dataset, method: str, *, threads: int, step: Step) -> Selection:
    """Choose inputs for a recipe."""
    metric, whole = data.task.kind.leading, recipe.inputs or data.inputs
    rungs = [_rung(recipe, whole, data, threads)]
    scores: dict[str, dict[str, float]] = {}
    if method == WRAPPER:
        found = _eliminated(recipe, data, threads, rungs[0][1])
    else:
        sets, scores = _SETS[method](data, whole)
        found = (_rung(recipe, inputs, data, threads) for inputs in sets)
    for done, each in enumerate(found, start=1):
        step(f"measuring {len(each[0].inputs)} of {len(whole)} inputs", done / (done + 3))
        rungs.append(each)
    measured = tuple(rung for rung, _ in rungs)
    return Selection(method, metric, measured, smallest(measured), scores)


def smallest(rungs: tuple[Rung, ...]) -> Rung:
    """Return the smallest set that costs at most ``MOST_COST`` against all inputs, which come first.

    >>> smallest((Rung(("a", "b"), 0.80), Rung(("a",), 0.799))).inputs, smallest((Rung(("a",), 0.8),)).inputs
    (('a',), ('a',))
    """
    good = [rung for rung in rungs if rung.value >= rungs[0].value - MOST_COST]
    return min(good, key=lambda rung: (len(rung.inputs), -rung.value))


def narrowed(recipe: Recipe, inputs: Inputs) -> Recipe:
    """Return a recipe that reads these inputs alone."""
    boosting = recipe.boosting and replace(
        recipe.boosting,
        rising=tuple(name for name in recipe.boosting.rising if name in inputs),
        falling=tuple(name for name in recipe.boosting.falling if name in inputs),
    )
    return replace(recipe, inputs=inputs, boosting=boosting)


def _rung(recipe: Recipe, inputs: Inputs, data: Dataset, threads: int) -> tuple[Rung, Weights]:
    """Fit on a set, with one seed; return its value and how far each input moves margins of the validation slice."""
    asked = narrowed(recipe, inputs)
    if asked.boosting:
        asked = replace(asked, boosting=replace(asked.boosting, seeds=asked.boosting.seeds[:1]))
    fitting = Fitting.of(asked, data, threads)
    scorer = fitting.on(data.split.fit, valid=data.valid).scorer()
    rows = fitting.matrix[data.valid]
    scores, labels = scorer.score(rows), data.labels[data.valid]
    value = float(BY_NAME[data.task.kind.leading](scores, labels, np.ones((1, len(labels))))[0])
    moved = scorer.contributions(rows)[:, :-1]
    return Rung(inputs, value), np.abs(moved - moved.mean(axis=0)).mean(axis=0)


def _eliminated(recipe: Recipe, data: Dataset, threads: int, moved: Weights) -> Iterator[tuple[Rung, Weights]]:
    inputs = recipe.inputs or data.inputs
    for size in sizes(len(inputs)):
        inputs = best(inputs, moved, size)
        rung, moved = _rung(recipe, inputs, data, threads)
        yield rung, moved


def sizes(inputs: int) -> Iterator[int]:
    """Return the sizes of the smaller sets of so many inputs.

    >>> list(sizes(10))
    [7, 5, 3]
    """
    while (inputs := int(inputs * LEFT)) >= FEWEST:
        yield inputs


def best(inputs: Inputs, weights: Weights, size: int) -> Inputs:
    """Return the inputs of the largest weights, in their own order; the first of two alike.

    >>> best(("a", "b", "c"), np.array([0.1, 0.5, 0.5]), 2)
    ('b', 'c')
    """
    kept = set(np.argsort(-weights, kind="stable")[:size].tolist())
    return tuple(name for place, name in enumerate(inputs) if place in kept)


def _filtered(data: Dataset, inputs: Inputs) -> tuple[list[Inputs], dict[str, dict[str, float]]]:
    rows = thinned(data.split.fit, ROWS)
    matrix, answers = data.matrix(inputs)[rows], _answers(data, data.labels[rows])
    measured = [_associations(column, answers) for column in matrix.T]
    ranks = np.mean([rankdata(each) for each in zip(*measured, strict=True)], axis=0)
    scores = {
        name: {"chi2": each[0], "mutual_information": each[1]} for name, each in zip(inputs, measured, strict=True)
    }
    return [best(inputs, ranks, size) for size in sizes(len(inputs))], scores


def _associations(values: Weights, answers: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Chi-squared per row, and mutual information in nats, of an input's bins with the answer."""
    cells = binned(values)
    table = np.zeros((cells.max() + 1, answers.max() + 1))
    np.add.at(table, (cells, answers), 1)
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    if min(table.shape) < 2:  # noqa: PLR2004 - one bin, or one answer, says nothing
        return 0.0, 0.0
    chi2 = chi2_contingency(table, correction=False).statistic / len(values)
    return float(chi2), float(mutual_info_score(None, None, contingency=table))


def binned(values: Weights) -> npt.NDArray[np.int64]:
    """Return the bin of each value: deciles of what is known, and one for NULL.

    >>> binned(np.array([1.0, 2.0, np.nan])).tolist()
    [0, 1, 3]
    """
    known = values[~np.isnan(values)]
    edges = (
        np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1], method="inverted_cdf")) if known.size else known
    )
    found = np.searchsorted(edges, values, side="left")
    return np.where(np.isnan(values), len(edges) + 1, found).astype(np.int64)


def _answers(data: Dataset, labels: Labels) -> npt.NDArray[np.int64]:
    return labels if data.task.objective == BINARY else binned(labels)


def _penalised(data: Dataset, inputs: Inputs) -> tuple[list[Inputs], dict[str, dict[str, float]]]:
    rows = thinned(data.split.fit, ROWS)
    matrix, labels = data.matrix(inputs)[rows], data.labels[rows]
    linear = replace(data.task.model.linear or Linear(logarithmic=data.task.objective == BINARY), without=())
    texts = {name: data.categories[name] for name in inputs if name in data.categories}
    part = design(linear, inputs, texts, matrix)
    source = np.asarray(part.get("source", range(len(inputs))))
    sets = [_with_weight(inputs, source, coef) for coef in _paths(data, terms(part, matrix), labels)]
    smaller = [each for each in dict.fromkeys(sets) if FEWEST <= len(each) < len(inputs)]
    return smaller, {}


def _paths(data: Dataset, values: Matrix, labels: Labels) -> Iterator[Weights]:
    """Coefficients under ever stronger penalties."""
    if data.task.objective != BINARY:
        strengths = np.array([0.3, 0.1, 0.03, 0.01, 0.003])
        centred = labels - labels.mean()
        top = float(np.abs(values.T @ centred).max()) / len(labels)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a ladder needs no last digit
            _, coefs, _ = lasso_path(values, centred, alphas=top * strengths)
        yield from coefs.T[::-1]
        return
    for strength in PENALTIES:
        model = LogisticRegression(l1_ratio=1.0, solver="liblinear", C=strength, random_state=SEED, max_iter=200)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            yield np.ravel(model.fit(values, labels).coef_)


def _with_weight(inputs: Inputs, source: npt.NDArray[np.int64], coef: Weights) -> Inputs:
    held = set(source[np.abs(coef) > 0].tolist())
    return tuple(name for place, name in enumerate(inputs) if place in held)


_SETS: dict[str, Callable[[Dataset, Inputs], tuple[list[Inputs], dict[str, dict[str, float]]]]] = {
    FILTER: _filtered,
    EMBEDDED: _penalised,
}
