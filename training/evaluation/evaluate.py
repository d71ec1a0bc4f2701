"""Measures scores: metrics with confidence intervals, slices, calibration, and gates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.declaring.objective import BINARY, BY_OBJECTIVE, LISTED, RANKED
from training.evaluation.listed import of_groups
from training.evaluation.metrics import BINS, BY_NAME, Labels, Scores, bins_of, mean, recommended
from training.task import TOLERANCE, Task

RESAMPLES = 300
FEWEST, _CELLS = 100, 12_000_000  # of many rows fewer resamples, down to a hundred: 240,000 rows took five minutes
SEED = 20170101
LEVEL = 0.95
_BLOCK_CELLS = 4_000_000
_KEPT_CELLS = 1_000_000  # two bytes each

# How often each shopper is drawn, ``float64[b, shoppers]`` -> ``float64[b]``.
Measure: TypeAlias = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95% interval; NaN where it cannot be computed."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bin:
    """One bin of the calibration table: rows, mean score, share of positives (mean label of a regression)."""

    rows: int
    score: float
    share: float


@dataclass(frozen=True)
class Evaluation:
    """What scores are worth on a set of rows.

    Attributes
    ----------
    rows, positives
        How many; of a regression a positive label is one above 0.
    metrics
        Metric -> estimate.
    slices
        ``"<column>=<value>"`` -> the same for these rows.
    calibration
        The bins with rows in them, ascending: ten of equal width for probabilities, of equal size for numbers.
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
    objective
        What the labels are, see :mod:`training.declaring.objective`.
    groups
        Number of the group each row is ranked in; None if rows are not ranked.
    relevant
        How much each row's group had to find, proposed or not; None if nothing is proposed.
    """

    labels: Labels
    shoppers: npt.NDArray[np.object_]
    slices: pd.DataFrame
    objective: str = BINARY
    groups: npt.NDArray[np.int64] | None = None
    relevant: npt.NDArray[np.float64] | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is measured on them."""
        own = BY_OBJECTIVE[self.objective].metrics
        return own if self.groups is None or self.relevant is not None else (*own, *RANKED)

    def where(self, mask: npt.NDArray[np.bool_]) -> Rows:
        """Return some of the rows, without slices."""
        return replace(self.at(np.flatnonzero(mask)), slices=self.slices.loc[mask, []])

    def at(self, places: npt.NDArray[np.int64]) -> Rows:
        """Return the rows at some places."""
        return replace(
            self,
            labels=self.labels[places],
            shoppers=self.shoppers[places],
            slices=self.slices.iloc[places],
            groups=None if self.groups is None else self.groups[places],
            relevant=None if self.relevant is None else self.relevant[places],
        )


def evaluate(scores: Scores, rows: Rows) -> Evaluation:
    """Measure scores against labels, overall and by slice."""
    return Evaluation(
        rows=len(scores),
        positives=int((rows.labels > 0).sum()),
        metrics={name: _estimated(name, scores, rows) for name in rows.metrics},
        slices={name: evaluate(scores[mask], rows.where(mask)) for name, mask in _masks(rows)},
        calibration=_calibration(scores, rows),
    )


def rankings(scores: Scores, rows: Rows) -> dict[str, Estimate]:
    """Return the metrics of rankings alone, of rows that have groups."""
    return {name: _estimated(name, scores, rows) for name in RANKED}


def difference(metric: str, scores: Scores, other: Scores, rows: Rows) -> Estimate:
    """Return a metric of ``scores`` minus that of ``other``, paired: both on the same resampled shoppers."""
    ours, theirs = measure_of(metric, scores, rows), measure_of(metric, other, rows)
    return _estimate(lambda draws: ours(draws) - theirs(draws), rows)


def value_of(metric: str, scores: Scores, rows: Rows) -> float:
    """Return a metric without its interval."""
    return float(measure_of(metric, scores, rows)(_everyone(rows))[0])


def measure_of(metric: str, scores: Scores, rows: Rows) -> Measure:
    """Return a metric of rows as a function of how often each of their shoppers is drawn."""
    if metric in LISTED:
        return _measure_of_lists(metric, scores, rows)
    if metric not in RANKED or rows.groups is None:
        return _measure(metric, scores, rows.labels, _codes(rows))
    top = recommended(metric, scores, rows.labels, rows.groups)
    return _measure(metric, scores[top], rows.labels[top], _codes(rows)[top])


def check_gates(
    task: Task,
    model: Evaluation,
    baselines: Mapping[str, Evaluation],
    differences: Mapping[str, Estimate],
    ceiling: Evaluation | None = None,
) -> dict[str, Outcome]:
    """Return every gate of a task by name, with what was measured; a slice without rows holds nothing.

    Parameters
    ----------
    differences
        Baseline -> the leading metric of the model minus the baseline's.
    ceiling
        What the true probabilities are worth, if they are known.
    """
    kind = task.kind
    outcomes = {}
    for gate in task.gates:
        part = model.slices.get(gate.where) if gate.where else model
        value = part.metrics[gate.metric].value if part else float("nan")
        outcomes[gate.name] = Outcome(value, gate.bound, gate.holds(value))
    for name in task.not_worse_than:
        value = differences[name].value
        outcomes[f"not_worse_than:{name}"] = Outcome(
            value, f">= -{TOLERANCE:g} {kind.shown[kind.leading]}", value >= -TOLERANCE
        )
    for name in task.surely_beats:
        low = differences[name].low
        outcomes[f"surely_beats:{name}"] = Outcome(low, f"> 0 {kind.shown[kind.leading]}, low end of 95%", low > 0)
    for name in task.must_beat:
        value = _least_gain(kind.to_beat, model, baselines[name])
        titles = " and ".join(kind.shown[metric] for metric in kind.to_beat)
        outcomes[f"beats:{name}"] = Outcome(value, f"> 0 {titles}", value > 0)
    if ceiling is not None:
        share = model.metrics[kind.leading].value / ceiling.metrics[kind.leading].value
        outcomes["ceiling"] = Outcome(share, f">= {task.ceiling:g} of the true AUC", share >= task.ceiling)
    return outcomes


def _least_gain(names: Iterable[str], model: Evaluation, baseline: Evaluation) -> float:
    return min(model.metrics[name].value - baseline.metrics[name].value for name in names)


def _measure_of_lists(metric: str, scores: Scores, rows: Rows) -> Measure:
    if rows.groups is None or rows.relevant is None:
        raise ValueError(f"{metric} is of groups that had something to find")
    found, firsts = of_groups(metric, scores, rows.labels, rows.groups, rows.relevant)
    codes = _codes(rows)[firsts]
    return lambda draws: mean(found, draws[:, codes])


def _estimated(name: str, scores: Scores, rows: Rows) -> Estimate:
    if name in LISTED:
        return _estimate(_measure_of_lists(name, scores, rows), rows)
    if name in RANKED and rows.groups is not None:
        top = recommended(name, scores, rows.labels, rows.groups)
        scores, rows = scores[top], rows.at(top)
    return _estimate(_measure(name, scores, rows.labels, _codes(rows)), rows)


def _measure(name: str, scores: Scores, labels: Labels, codes: npt.NDArray[np.int64]) -> Measure:
    order = np.argsort(scores, kind="stable")  # once: the metrics of order need it, and none minds it
    scores, labels, codes = scores[order], labels[order], codes[order]
    return lambda draws: BY_NAME[name](scores, labels, draws[:, codes])


def _estimate(measure: Measure, rows: Rows) -> Estimate:
    """Return a measure of the rows and its percentile bootstrap interval over shoppers (Efron 1979)."""
    value = float(measure(_everyone(rows))[0])
    drawn = np.concatenate([np.empty(0), *map(measure, _resamples(rows))])
    drawn = drawn[~np.isnan(drawn)]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail]) if drawn.size else (np.nan, np.nan)
    return Estimate(value, float(low), float(high))


def _codes(rows: Rows) -> npt.NDArray[np.int64]:
    """Number of each row's shopper, from 0."""
    return np.asarray(pd.factorize(rows.shoppers)[0], np.int64)


def _everyone(rows: Rows) -> npt.NDArray[np.float64]:
    return np.ones((1, pd.unique(rows.shoppers).size))


def _resamples(rows: Rows) -> Iterator[npt.NDArray[np.float64]]:
    """Blocks of how often each shopper is drawn, with all their rows, when as many are drawn with replacement."""
    shoppers, size = pd.unique(rows.shoppers).size, len(rows.labels)
    if not shoppers:
        return
    count = min(RESAMPLES, max(FEWEST, _CELLS // size))
    block = max(1, min(count, _BLOCK_CELLS // size))
    if count * shoppers <= _KEPT_CELLS and block == count:
        yield _kept_draws(shoppers, count).astype(np.float64)
        return
    random = np.random.default_rng(SEED)
    for start in range(0, count, block):
        yield _drawn(random, shoppers, min(block, count - start)).astype(np.float64)


@lru_cache(maxsize=16)
def _kept_draws(shoppers: int, count: int) -> npt.NDArray[np.uint16]:
    """The draws of so many shoppers: each metric of each model asks for the same, and they take longer than most."""
    return _drawn(np.random.default_rng(SEED), shoppers, count).astype(np.uint16)


def _drawn(random: np.random.Generator, shoppers: int, count: int) -> npt.NDArray[np.int64]:
    return random.multinomial(shoppers, np.full(shoppers, 1 / shoppers), count)


def _masks(rows: Rows) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    for column in rows.slices.columns:
        values = rows.slices[column].astype(str)
        yield from ((f"{column}={value}", (values == value).to_numpy()) for value in sorted(values.unique()))


def _calibration(scores: Scores, rows: Rows) -> tuple[Bin, ...]:
    labels, members = rows.labels, bins_of(scores) if rows.objective == BINARY else _tenths(scores)
    masks = [members == number for number in range(BINS)]
    return tuple(Bin(int(m.sum()), float(scores[m].mean()), float(labels[m].mean())) for m in masks if m.any())


def _tenths(scores: Scores) -> npt.NDArray[np.int64]:
    """Bin of each score, ten bins of about as many rows; equal scores share one."""
    edges = np.quantile(scores, np.linspace(0, 1, BINS + 1)[1:-1]) if len(scores) else np.zeros(BINS - 1)
    return np.searchsorted(edges, scores, side="right")
