"""A fitted model with everything that was measured on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from training.data.candidates import RELEVANT
from training.data.dataset import Dataset
from training.declaring.recipe import Recipe
from training.evaluation.evaluate import Estimate, Evaluation, Outcome, Rows, check_gates, difference, evaluate
from training.evaluation.recommended import Shown, lists_of
from training.evaluation.study import Study
from training.fitting.fit import Fitted
from training.fitting.plain import Compared, Scores, fit_baseline
from training.fitting.preparation import Prepared

Step = Callable[[str, float], None]

EXPLAINED = 10_000  # test rows whose scores are explained: of 240,000 it took 170 s of processor, for means as good


@dataclass(frozen=True)
class Fit:
    """How one model or baseline came about.

    Attributes
    ----------
    rows
        Of training it was fitted on; a model of scikit-learn takes at most ``training.fitting.plain.MOST_ROWS``.
    calibration
        ``none``, ``platt`` or ``isotonic``.
    seconds
        Time fitting and scoring took.
    """

    rows: int
    calibration: str
    seconds: float


@dataclass(frozen=True, eq=False)
class Trained:
    """A model, its baselines and its gates, before anything is registered.

    Attributes
    ----------
    data, prepared, fitted
        The rows, what was decided before fitting, and the model.
    evaluation, baselines
        Measured on the test rows.
    differences
        Baseline -> the leading metric (AUC, or R2) of the model minus the baseline's, paired by shopper.
    gates
        Gate -> outcome.
    study
        What else was measured on the model.
    lists
        Of a task that ranks: what the lists of the model and of each baseline are like.
    fits
        How the model, under the task's name, and each baseline were fitted.
    """

    data: Dataset
    prepared: Prepared
    fitted: Fitted
    evaluation: Evaluation
    baselines: dict[str, Evaluation]
    differences: dict[str, Estimate]
    gates: dict[str, Outcome]
    fits: dict[str, Fit] = field(default_factory=dict)
    study: Study | None = None
    lists: dict[str, Shown] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """What was fitted: the task's, unless parameters or inputs were searched."""
        return self.prepared.recipe

    @property
    def holds(self) -> bool:
        """Whether every gate holds."""
        return all(outcome.holds for outcome in self.gates.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """What was prepared before the fit, and what that changed on the test rows: sentences for people."""
        return (*self.prepared.notes, *(self._against(name) for name in self.prepared.baselines))

    def _against(self, name: str) -> str:
        kind, gain = self.data.task.kind, self.differences[name]
        ours, theirs = self.fits[self.data.task.name].seconds, self.fits[name].seconds
        return (
            f"Against {name.replace('_', ' ')}, on the test rows: {kind.shown[kind.leading]} {gain.value:+.4f} "
            f"[{gain.low:+.4f}, {gain.high:+.4f}] (paired); fitted in {ours:.1f} s, that in {theirs:.1f} s."
        )

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
    data: Dataset,
    *,
    threads: int,
    step: Step,
    ceiling: npt.NDArray[np.float64] | None = None,
    prepared: Prepared | None = None,
) -> Trained:
    """Fit the model of a task and its baselines, and measure them on the test rows.

    Parameters
    ----------
    step
        Called with what is being done and the share done, 0 to 1.
    ceiling
        True probabilities of the test rows, if they are known: measured as the baseline ``ceiling``.
    prepared
        What to fit, if it is not what the task declares.
    """
    task, prepared = data.task, prepared or Prepared(data.task.model)
    baselines = {**task.all_baselines, **prepared.baselines}
    fits: dict[str, Fit] = {}
    step(f"fitting {task.name}", 0.0)
    started = time.monotonic()
    fitted = prepared.fit(data, threads=threads)
    scores = {task.name: _scores(fitted.scorer(), data)}
    fits[task.name] = Fit(int(data.train.sum()), fitted.choice.name, prepared.seconds + time.monotonic() - started)
    for n, (name, recipe) in enumerate(baselines.items(), start=1):
        step(f"fitting {name}", n / (len(baselines) + 1))
        started = time.monotonic()
        compared = fit_baseline(recipe, data, threads=threads)
        scores[name] = _scores(compared.scorer, data)
        fits[name] = _fit_of(compared, time.monotonic() - started)
    rows = rows_to_measure(data)
    evaluation = evaluate(scores[task.name], rows)
    measured = {name: evaluate(scores[name], replace(rows, slices=rows.slices[[]])) for name in baselines}
    differences = {name: difference(task.kind.leading, scores[task.name], scores[name], rows) for name in baselines}
    best = None if ceiling is None else evaluate(ceiling, rows)
    gates = check_gates(task, evaluation, measured, differences, best)
    measured |= {} if best is None else {"ceiling": best}
    lists = lists_of(data, scores) if task.candidates else {}
    return Trained(data, prepared, fitted, evaluation, measured, differences, gates, fits, lists=lists)


def _scores(scorer: Scores, data: Dataset) -> npt.NDArray[np.float64]:
    return scorer.score(data.matrix(scorer.columns)[data.test])


def _fit_of(compared: Compared, seconds: float) -> Fit:
    return Fit(compared.rows, compared.choice.name, seconds)


def spread(rows: int, most: int) -> npt.NDArray[np.int64]:
    """Return places of at most so many rows, evenly spread; rows are ordered by instant, so all instants are there.

    >>> spread(3, 5).tolist(), spread(10, 3).tolist()
    ([0, 1, 2], [0, 3, 6])
    """
    return np.arange(rows) if rows <= most else np.arange(most) * rows // most


def rows_to_measure(data: Dataset) -> Rows:
    """Return what scores of the test rows are measured against."""
    frame, task = data.frame.loc[data.test], data.task
    return Rows(
        data.labels[data.test],
        frame[data.key].to_numpy(),
        frame[list(task.slices)],
        objective=task.objective,
        groups=None if data.groups is None else data.groups[data.test],
        relevant=frame[RELEVANT].to_numpy(np.float64) if task.candidates else None,
    )
