"""How a model treats groups of shoppers by protected attributes it does not read.

The rates of decisions by group are fairlearn's ``MetricFrame``; intervals resample shoppers, which it cannot. A largest
less a smallest figure is above zero by chance alone, the more so the smaller the groups are: beside each gap stands
what groups dealt out at random to the same shoppers show in 19 of 20 deals. For the same reason resampling would widen
the gap; the interval is that of the difference of the two groups that are furthest apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.evaluation.attributes import Stated
from training.evaluation.evaluate import SEED, Estimate
from training.evaluation.metrics import auc
from training.evaluation.slices import LEAST_ROWS
from training.evaluation.tallies import Figures, Floats, Measure, Tallies, auc_of_counts, interval, ratio, score_cells

PROTECTED = (Stated("age", "age_band"), Stated("income", "income"))
MISSING = "fairlearn is not installed: pip install 'user-portrait[fairness]'"
_CHANCE = 0.95

Answers: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Group:
    """Shoppers who share a value of an attribute.

    Attributes
    ----------
    rows, shoppers, positives
        In the test rows.
    metrics
        Of a binary task ``selection_rate`` (share of yes at the threshold), ``tpr`` and ``fpr`` (share of yes among
        positives and among others), ``auc``, ``share`` of positives and ``excess`` of the mean score over it; of a
        regression ``mae``, ``share`` and ``excess``. Empty where there are less than ``LEAST_ROWS`` rows or a single
        answer.
    """

    rows: int
    shoppers: int
    positives: int
    metrics: dict[str, Estimate]


@dataclass(frozen=True)
class Gap:
    """Largest less smallest figure among the measured groups.

    Attributes
    ----------
    highest, lowest
        The two groups.
    estimate
        The difference of the two.
    chance
        The gap that random groups stay below in 19 of 20 deals.
    """

    highest: str
    lowest: str
    estimate: Estimate
    chance: float

    @property
    def notable(self) -> bool:
        """Whether it is more than groups dealt out at random show."""
        return self.estimate.value > self.chance


@dataclass(frozen=True)
class Fairness:
    """One attribute.

    Attributes
    ----------
    unknown_rows
        Test rows of shoppers whose value is not known; they form no group.
    is_input
        Whether the model reads the attribute.
    groups
        Value -> figures.
    gaps
        Figure -> gap; empty with less than two measured groups.
    ratios
        Figure -> smallest over largest, of ``selection_rate`` the four-fifths rule's figure.
    """

    unknown_rows: int
    is_input: bool
    groups: dict[str, Group]
    gaps: dict[str, Gap] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)


def available() -> bool:
    """Whether fairlearn is installed."""
    return find_spec("fairlearn") is not None


def measure_fairness(
    scores: Floats,
    labels: Answers,
    shoppers: npt.NDArray[np.object_],
    values: pd.Series[Any],
    *,
    threshold: float | None,
    is_input: bool,
) -> Fairness:
    """Compare the groups of one attribute on the test rows.

    Parameters
    ----------
    values
        Of each row; a missing one is not known. A shopper has one value.
    threshold
        A score of at least this is a yes; None for a regression.
    """
    known = values.notna().to_numpy()
    rows = _Rows(scores[known], labels[known], shoppers[known], values[known].astype(str).to_numpy(), threshold)
    names = sorted(set(rows.stated), key=_place)
    measured = [name for name in names if rows.enough(rows.stated == name)]
    compared = _Groups(rows, measured) if measured else None
    figures = compared.figures() if compared else {}
    groups = {name: rows.group(name, figures.get(name, {})) for name in names}
    unknown = int((~known).sum())
    if compared is None or len(measured) < 2:  # noqa: PLR2004 - a gap has two ends
        return Fairness(unknown, is_input, groups)
    gaps, ratios = compared.gaps()
    return Fairness(unknown, is_input, groups, gaps, ratios)


@dataclass(frozen=True, eq=False)
class _Rows:
    scores: Floats
    labels: Answers
    shoppers: npt.NDArray[np.object_]
    stated: npt.NDArray[np.object_]
    threshold: float | None

    def enough(self, member: npt.NDArray[np.bool_]) -> bool:
        return member.sum() >= LEAST_ROWS and len(np.unique(self.labels[member])) > 1

    def group(self, name: str, metrics: dict[str, Estimate]) -> Group:
        member = self.stated == name
        positives = int((self.labels[member] > 0).sum())
        return Group(int(member.sum()), len(set(self.shoppers[member])), positives, metrics)


class _Groups:
    """The measured groups: their figures, and the same figures from sums under any weighting of shoppers."""

    def __init__(self, rows: _Rows, names: list[str]) -> None:
        member = np.isin(rows.stated, names)
        self._names, self._threshold = names, rows.threshold
        self._scores, self._labels = rows.scores[member], rows.labels[member]
        self._member = np.asarray(pd.Index(names).get_indexer(pd.Index(rows.stated[member])))
        self._tallies = Tallies.of(rows.shoppers[member])
        self._group = np.zeros(self._tallies.shoppers, np.int64)
        self._group[self._tallies.codes] = self._member
        self._measure = self._measured()

    def figures(self) -> dict[str, dict[str, Estimate]]:
        """Group -> figure -> estimate."""
        return {
            name: {
                figure: interval(float(values[n]), self._drawn[figure][n]) for figure, values in self._values.items()
            }
            for n, name in enumerate(self._names)
        }

    def gaps(self) -> tuple[dict[str, Gap], dict[str, float]]:
        """Figure -> gap, and figure -> ratio."""
        dealt = _joined(self._by_group(np.ones(deals.shape), deals) for deals in self._deals())
        gaps = {}
        for figure, values in self._values.items():
            high, low = int(values.argmax()), int(values.argmin())
            estimate = interval(float(np.ptp(values)), self._drawn[figure][high] - self._drawn[figure][low])
            chance = float(np.nanquantile(np.ptp(dealt[figure], axis=0), _CHANCE))
            gaps[figure] = Gap(self._names[high], self._names[low], estimate, chance)
        ratios = self._rates.ratio() if self._rates else {}
        return gaps, {str(name): float(ratio) for name, ratio in dict(ratios).items()}

    @cached_property
    def _values(self) -> Figures:
        """Figure -> ``float64[groups]``."""
        values = {name: found[:, 0] for name, found in self._by_group(self._once, self._group).items()}
        if self._rates is None:
            return values
        areas = [
            float(auc(self._scores[rows], self._labels[rows], np.ones((1, int(rows.sum()))))[0])
            for rows in (self._member == n for n in range(len(self._names)))
        ]
        rates = self._rates.by_group.loc[self._names]
        return values | {"auc": np.array(areas)} | {name: rates[name].to_numpy(np.float64) for name in rates}

    @cached_property
    def _rates(self) -> Any | None:
        """Fairlearn's frame of decisions by group, from their counts: it reads rows one by one, which takes long."""
        if self._threshold is None:
            return None
        from fairlearn.metrics import (  # noqa: PLC0415 - an extra
            MetricFrame,
            false_positive_rate,
            selection_rate,
            true_positive_rate,
        )

        metrics = {"selection_rate": selection_rate, "tpr": true_positive_rate, "fpr": false_positive_rate}
        cells = 4 * self._member + 2 * self._labels + (self._scores >= self._threshold)
        counts = np.bincount(cells, minlength=4 * len(self._names))
        return MetricFrame(
            metrics=metrics,
            y_true=np.tile([0, 0, 1, 1], len(self._names)),
            y_pred=np.tile([0, 1, 0, 1], len(self._names)),
            sensitive_features=pd.Series(np.repeat(self._names, 4), name="group"),
            sample_params={name: {"sample_weight": counts} for name in metrics},
        )

    @cached_property
    def _drawn(self) -> Figures:
        """Figure -> ``float64[groups, resamples]``."""
        return _joined(self._by_group(draws, self._group) for draws in self._tallies.draws())

    @property
    def _once(self) -> Floats:
        return np.ones((1, self._tallies.shoppers))

    def _deals(self) -> Iterator[npt.NDArray[np.int64]]:
        """Blocks of ``[b, shoppers]``: the groups dealt out to the shoppers at random."""
        random = np.random.default_rng(SEED)
        for draws in self._tallies.draws():
            yield random.permuted(np.tile(self._group, (len(draws), 1)), axis=1)

    def _by_group(self, draws: Floats, group: npt.NDArray[np.int64]) -> Figures:
        """Figure -> ``float64[groups, b]`` for shoppers drawn so often, who belong to these groups."""
        found = [self._measure(draws * (group == n)) for n in range(len(self._names))]
        return {figure: np.stack([each[figure] for each in found]) for figure in found[0]}

    def _measured(self) -> Measure:
        """Return the figures of a group from weights of shoppers."""
        labels, scores, ones = self._labels, self._scores, np.ones(len(self._labels))
        if self._threshold is None:
            sums = self._tallies.sums(ones, labels, scores, np.abs(labels - scores))
            return lambda weights: _numbers(weights @ sums)
        yes = scores >= self._threshold
        sums = self._tallies.sums(ones, labels, scores, yes, yes * labels)
        cells = self._tallies.counts(*score_cells(scores, labels))
        return lambda weights: _rates(weights @ sums) | {"auc": auc_of_counts(np.asarray(weights @ cells))}


def _joined(blocks: Iterable[Figures]) -> Figures:
    found = list(blocks)
    return {figure: np.concatenate([each[figure] for each in found], axis=1) for figure in found[0]}


def _rates(sums: Floats) -> Figures:
    rows, positives, scores, yes, hits = sums.T
    return {
        "selection_rate": ratio(yes, rows),
        "tpr": ratio(hits, positives),
        "fpr": ratio(yes - hits, rows - positives),
        "share": ratio(positives, rows),
        "excess": ratio(scores - positives, rows),
    }


def _numbers(sums: Floats) -> Figures:
    rows, answers, scores, errors = sums.T
    return {
        "mae": ratio(errors, rows),
        "share": ratio(answers, rows),
        "excess": ratio(scores - answers, rows),
    }


def _place(value: str) -> tuple[float, str]:
    """Order bands by their first number; one that is under it comes before.

    >>> sorted(["25-34", "Under 15K", "100-124K", "15-24K", "250K+"], key=_place)
    ['Under 15K', '15-24K', '25-34', '100-124K', '250K+']
    """
    number = re.search(r"\d+", value)
    return (float(number[0]) - value.lower().startswith("under") if number else float("inf"), value)
