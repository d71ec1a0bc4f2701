"""How steady a recipe is over time: fitted anew at several instants on what was known, measured on what came next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.core.clock import from_us
from training.data.dataset import Dataset
from training.data.labels import AT
from training.data.split import Split, split_by_time
from training.declaring.recipe import Recipe
from training.evaluation.evaluate import Estimate, Rows, evaluate, rankings
from training.fitting.fit import fit
from training.task import KNOWN_AT

Groups: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Origin:
    """One instant to fit at.

    Attributes
    ----------
    at
        No answer of the rows fitted on was decided later; the rows measured on are observed from here on.
    until
        End of the rows measured on, not included.
    train, test
        Numbers of rows.
    groups
        Of the rows measured on, those whose rows are ranked against each other: the whole ones. A task may fit on some
        rows of a group alone, among which no order says how good the best of all would be.
    metrics
        Of the task's objective; empty where a part of the rows has not both answers. Those of rankings where there are
        whole groups.
    """

    at: datetime
    until: datetime
    train: int
    test: int
    groups: int
    metrics: dict[str, Estimate]


@dataclass(frozen=True)
class Spread:
    """Mean, standard deviation and lowest and highest value of a metric over the origins."""

    mean: float
    deviation: float
    low: float
    high: float


def roll(data: Dataset, recipe: Recipe, *, origins: int, threads: int) -> tuple[Origin, ...]:
    """Fit and measure a recipe at several origins, on expanding windows.

    The origins part the observations of the whole log into ``origins + 1`` stretches of about as many rows. At each the
    recipe is fitted on the rows whose answers were known by then, which leaves out those that reach over it, and
    measured on the stretch that follows. The last rows of each window, the share of them the task has, are its
    validation slice. Nothing is chosen by the outcome: the test rows of the task are among them.
    """
    whole = _whole_groups(data)
    return tuple(_measured(data, split, until, recipe, threads, whole) for split, until in _splits(data, origins))


def spread(origins: tuple[Origin, ...]) -> dict[str, Spread]:
    """Return metric -> spread over the origins that could be measured."""
    values: dict[str, list[float]] = {}
    for origin in origins:
        for name, estimate in origin.metrics.items():
            values.setdefault(name, []).append(estimate.value)
    return {name: _spread(np.array(found)) for name, found in values.items()}


def _spread(values: npt.NDArray[np.float64]) -> Spread:
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return Spread(float(values.mean()), deviation, float(values.min()), float(values.max()))


def _splits(data: Dataset, origins: int) -> Iterator[tuple[Split, int]]:
    """Return each origin's split, and the end of the rows to measure on."""
    at, known_at = (_instants(data, column) for column in (AT, KNOWN_AT))
    shares = np.arange(1, origins + 1) / (origins + 1)
    cuts = np.unique(np.quantile(at, shares, method="higher"))
    ends = [*cuts[1:], at.max() + 1]
    validation = data.valid.sum() / data.train.sum()
    for cut, end in zip(cuts, ends, strict=True):
        known = at[known_at <= cut]
        first = np.quantile(known, 1 - validation, method="higher") if len(known) else cut
        split = split_by_time(at, known_at, end=int(end), holdout=int(end - cut), validation=int(cut - first))
        yield replace(split, test=split.test & (at < end)), int(end)


def _measured(data: Dataset, split: Split, until: int, recipe: Recipe, threads: int, whole: Groups | None) -> Origin:
    counted = Origin(from_us(split.cut), from_us(until), int(split.train.sum()), int(split.test.sum()), 0, {})
    if any(len(np.unique(data.labels[part])) < 2 for part in (split.fit, split.valid, split.test)):  # noqa: PLR2004
        return counted
    then = replace(data, split=split)
    scorer = fit(recipe, then, threads=threads).scorer()
    scores = scorer.score(then.matrix(scorer.columns)[split.test])
    shoppers = data.frame[data.key].to_numpy()[split.test]
    rows = Rows(data.labels[split.test], shoppers, pd.DataFrame(index=range(len(scores))), data.task.objective)
    metrics = evaluate(scores, rows).metrics
    groups = np.empty(0, np.int64) if whole is None else whole[split.test]
    ranked = groups >= 0
    if ranked.any():
        metrics |= rankings(scores[ranked], replace(rows.where(ranked), groups=groups[ranked]))
    return replace(counted, groups=len(np.unique(groups[ranked])), metrics=metrics)


def _whole_groups(data: Dataset) -> Groups | None:
    """Return the group of each row, -1 where it has fewer rows than every group of the task's test rows."""
    if not data.task.groups:
        return None
    group = np.asarray(data.frame.groupby(list(data.task.groups), sort=False).ngroup(), np.int64)
    size = np.bincount(group)[group]
    return np.where(size >= size[data.test].min(initial=size.max(initial=0)), group, -1)


def _instants(data: Dataset, column: str) -> npt.NDArray[np.int64]:
    return np.asarray(data.frame[column].dt.as_unit("us").astype(np.int64))
