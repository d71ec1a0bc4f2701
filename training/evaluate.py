"""Measures scores: metrics with confidence intervals, slices, calibration, and gates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.metrics import BINS, BY_NAME, Labels, Scores, Weights, bins_of
from training.task import TOLERANCE, Task

RESAMPLES = 300
SEED = 20170101
LEVEL = 0.95
_BLOCK_CELLS = 4_000_000

Measure: TypeAlias = Callable[[Weights], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95% interval; NaN where it cannot be computed."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bin:
    """One bin of the calibration table: rows, mean score, share of positives."""

    rows: int
    score: float
    share: float


@dataclass(frozen=True)
class Evaluation:
    """What scores are worth on a set of rows.

    Attributes
    ----------
    rows, positives
        How many.
    metrics
        Metric -> estimate.
    slices
        ``"<column>=<value>"`` -> the same for these rows.
    calibration
        The bins with rows in them, ascending.
    """

    rows: int
    positives: int
    metrics: dict[str, Estimate]
    slices: dict[str, Evaluation]
    calibration: tuple[Bin, ...]


@dataclass(frozen=True)
class Outcome:
    """Whether a gate holds: what was measured, against which bound."""

    value: float
    bound: str
    holds: bool


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to measure on.

    Attributes
    ----------
    labels
        The answers.
    shoppers
        Key of each row; intervals resample shoppers with all their rows, as a shopper's rows are alike.
    slices
        Columns to break the metrics down by.
    """

    labels: Labels
    shoppers: npt.NDArray[np.object_]
    slices: pd.DataFrame

    def where(self, mask: npt.NDArray[np.bool_]) -> Rows:
        """Return some of the rows, without slices."""
        return Rows(self.labels[mask], self.shoppers[mask], self.slices.loc[mask, []])


def evaluate(scores: Scores, rows: Rows) -> Evaluation:
    """Measure probabilities against labels, overall and by slice."""
    return Evaluation(
        rows=len(scores),
        positives=int(rows.labels.sum()),
        metrics={name: estimate(_measure(name, scores, rows), rows) for name in BY_NAME},
        slices={name: evaluate(scores[mask], rows.where(mask)) for name, mask in _masks(rows)},
        calibration=_calibration(scores, rows.labels),
    )


def auc_difference(scores: Scores, other: Scores, rows: Rows) -> Estimate:
    """AUC of ``scores`` minus that of ``other``, paired: both are measured on the same resampled shoppers."""
    ours, theirs = _measure("auc", scores, rows), _measure("auc", other, rows)
    return estimate(lambda weights: ours(weights) - theirs(weights), rows)


def estimate(measure: Measure, rows: Rows) -> Estimate:
    """Return a measure of the rows and its percentile bootstrap interval over shoppers (Efron 1979)."""
    value = float(measure(np.ones((1, len(rows.labels))))[0])
    drawn = np.concatenate([measure(weights) for weights in _resamples(rows.shoppers)])
    drawn = drawn[~np.isnan(drawn)]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail]) if drawn.size else (np.nan, np.nan)
    return Estimate(value, float(low), float(high))


def check_gates(
    task: Task, model: Evaluation, baselines: Mapping[str, Evaluation], differences: Mapping[str, Estimate]
) -> dict[str, Outcome]:
    """Return every gate of a task by name, with what was measured; a slice without rows holds nothing.

    Parameters
    ----------
    differences
        Baseline -> AUC of the model minus the baseline's.
    """
    outcomes = {}
    for gate in task.gates:
        part = model.slices.get(gate.where) if gate.where else model
        value = part.metrics[gate.metric].value if part else float("nan")
        outcomes[gate.name] = Outcome(value, gate.bound, gate.holds(value))
    for name in task.not_worse_than:
        value = differences[name].value
        outcomes[f"not_worse_than:{name}"] = Outcome(value, f">= -{TOLERANCE:g} AUC", value >= -TOLERANCE)
    for name in task.must_beat:
        value = _least_gain(model, baselines[name])
        outcomes[f"beats:{name}"] = Outcome(value, "> 0 AUC and AP", value > 0)
    return outcomes


def _least_gain(model: Evaluation, baseline: Evaluation) -> float:
    names = ("auc", "average_precision")
    return min(model.metrics[name].value - baseline.metrics[name].value for name in names)


def _measure(name: str, scores: Scores, rows: Rows) -> Measure:
    return lambda weights: BY_NAME[name](scores, rows.labels, weights)


def _resamples(shoppers: npt.NDArray[np.object_]) -> Iterator[Weights]:
    """Blocks of ``float64[b, n]``: how often each row is drawn when whole shoppers are drawn with replacement."""
    codes, known = pd.factorize(shoppers)
    if not len(known):
        return
    random = np.random.default_rng(SEED)
    block = max(1, min(RESAMPLES, _BLOCK_CELLS // len(codes)))
    for start in range(0, RESAMPLES, block):
        drawn = random.multinomial(len(known), np.full(len(known), 1 / len(known)), min(block, RESAMPLES - start))
        yield drawn[:, codes].astype(np.float64)


def _masks(rows: Rows) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    for column in rows.slices.columns:
        values = rows.slices[column].astype(str)
        yield from ((f"{column}={value}", (values == value).to_numpy()) for value in sorted(values.unique()))


def _calibration(scores: Scores, labels: Labels) -> tuple[Bin, ...]:
    members = bins_of(scores)
    masks = [members == number for number in range(BINS)]
    return tuple(Bin(int(m.sum()), float(scores[m].mean()), float(labels[m].mean())) for m in masks if m.any())
