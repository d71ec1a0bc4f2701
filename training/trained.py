"""A fitted model with everything that was measured on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from training.datasets import Dataset
from training.evaluate import Estimate, Evaluation, Outcome, Rows, check_gates, difference, evaluate
from training.evaluation.study import Study
from training.fit import Fitted, fit

Step = Callable[[str, float], None]

EXPLAINED = 10_000  # test rows whose scores are explained: of 240,000 it took 170 s of processor, for means as good


@dataclass(frozen=True, eq=False)
class Trained:
    """A model, its baselines and its gates, before anything is registered.

    Attributes
    ----------
    data, fitted
        The rows, and the model.
    evaluation, baselines
        Measured on the test rows.
    differences
        Baseline -> the leading metric (AUC, or R2) of the model minus the baseline's, paired by shopper.
    gates
        Gate -> outcome.
    study
        What else was measured on the model.
    """

    data: Dataset
    fitted: Fitted
    evaluation: Evaluation
    baselines: dict[str, Evaluation]
    differences: dict[str, Estimate]
    gates: dict[str, Outcome]
    study: Study | None = None

    @property
    def holds(self) -> bool:
        """Whether every gate holds."""
        return all(outcome.holds for outcome in self.gates.values())

    @cached_property
    def explained(self) -> npt.NDArray[np.float64]:
        """Inputs of test rows, ``float64[rows, inputs]``: of all, or of ``EXPLAINED`` spread evenly over them."""
        rows = self.data.matrix(self.fitted.scorer().columns)[self.data.test]
        return rows[spread(len(rows), EXPLAINED)]

    @cached_property
    def contributions(self) -> npt.NDArray[np.float64]:
        """What each input adds to the margin of each row of ``explained``, in its shape."""
        return self.fitted.scorer().contributions(self.explained)[:, :-1]


def fit_and_measure(
    data: Dataset, *, threads: int, step: Step, ceiling: npt.NDArray[np.float64] | None = None
) -> Trained:
    """Fit the model of a task and its baselines, and measure them on the test rows.

    Parameters
    ----------
    step
        Called with what is being done and the share done, 0 to 1.
    ceiling
        True probabilities of the test rows, if they are known: measured as the baseline ``ceiling``.
    """
    task = data.task
    recipes = {task.name: task.model, **task.all_baselines}
    rows = rows_to_measure(data)
    fitted, scores = {}, {}
    for n, (name, recipe) in enumerate(recipes.items()):
        step(f"fitting {name}", n / len(recipes))
        fitted[name] = fit(recipe, data, threads=threads)
        scorer = fitted[name].scorer()
        scores[name] = scorer.score(data.matrix(scorer.columns)[data.test])
    measured = {name: evaluate(each, rows) for name, each in scores.items()}
    baselines = {name: measured[name] for name in task.all_baselines}
    differences = {name: difference(task.kind.leading, scores[task.name], scores[name], rows) for name in baselines}
    best = None if ceiling is None else evaluate(ceiling, rows)
    gates = check_gates(task, measured[task.name], baselines, differences, best)
    baselines |= {} if best is None else {"ceiling": best}
    return Trained(data, fitted[task.name], measured[task.name], baselines, differences, gates)


def spread(rows: int, most: int) -> npt.NDArray[np.int64]:
    """Return places of at most so many rows, evenly spread; rows are ordered by instant, so all instants are there.

    >>> spread(3, 5).tolist(), spread(10, 3).tolist()
    ([0, 1, 2], [0, 3, 6])
    """
    return np.arange(rows) if rows <= most else np.arange(most) * rows // most


def rows_to_measure(data: Dataset) -> Rows:
    """Return what scores of the test rows are measured against."""
    frame, task = data.frame.loc[data.test], data.task
    groups = np.asarray(frame.groupby(list(task.groups), sort=False).ngroup(), np.int64) if task.groups else None
    return Rows(
        data.labels[data.test],
        frame[data.key].to_numpy(),
        frame[list(task.slices)],
        objective=task.objective,
        groups=groups,
    )
