"""What addressing the highest scores would have brought: a version's test rows, beside a list by chance.

And how far off expectations are, campaign by campaign: the model is fitted anew before each earlier campaign on what
was known by then, and expects its answers. How campaigns differ (``spread``) is estimated from those alone; the
intervals it gives are checked on the campaigns of the test rows, which are none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import hypergeom

from feature_repo.core.clock import DAY
from feature_repo.core.errors import DataError, did_you_mean
from feature_repo.core.settings import Settings
from feature_repo.quality.targeting import LEVEL, SPREAD_TAG, Answered, Expected, expected, spread_of
from training.data.dataset import Dataset, dataset
from training.data.labels import AT
from training.data.split import Split, split_by_time
from training.declaring.objective import BINARY
from training.evaluation.comparison import scores_on_test
from training.evaluation.evaluate import Estimate
from training.evaluation.lift import ranks
from training.evaluation.tallies import Tallies, ratio
from training.fitting.fit import fit
from training.runs.tracking import tracking
from training.runs.version import Version, find_version
from training.task import KNOWN_AT, find_task

# A model of fewer answers says more about them than about what comes.
LEAST_ROWS = 1_000
CHECKED = (25, 50, 100, 200)


@dataclass(frozen=True)
class Campaign:
    """One campaign that was expected before it began.

    Attributes
    ----------
    name, rows, answered
        Who was addressed, and how many answered.
    expected
        How many were expected to, with the interval that the spread between other campaigns gives.
    fitted_on
        Rows the model was fitted on.
    tested
        Whether it is one of the test rows', which the version itself has scored.
    """

    name: str
    rows: int
    answered: int
    expected: Expected
    fitted_on: int
    tested: bool


@dataclass(frozen=True)
class Lift:
    """What a list of the highest scores would have brought.

    Attributes
    ----------
    version
        ``task@version``.
    rows, base
        Of the test, and the share of them that answered.
    top, answered
        Length of the list, and how many of it answered.
    share
        The same as a share, with an interval resampled by shopper.
    by_chance
        The share of a list of that length by chance: 95 % of such lists are within.
    lift
        Share over base.
    expected
        How many the version expected.
    campaigns
        In the order they began; empty without ``by``.
    spread
        Between campaigns before the test; and ``spread_of_all``, of those of the test too: for campaigns to come.
    covered, checked
        How many of the lists of the test's campaigns (the highest 25, 50, 100, 200 and all) answered as often as their
        intervals say; ``covered_by_coins``: of the intervals without a spread.
    """

    version: str
    rows: int
    base: float
    top: int
    answered: int
    share: Estimate
    by_chance: Estimate
    lift: float
    expected: Expected
    campaigns: tuple[Campaign, ...]
    spread: float
    spread_of_all: float
    covered: int
    covered_by_coins: int
    checked: int


Step = Callable[[str, float], None]


def lift_of(settings: Settings, task: str, asked: str, *, top: int, by: str, step: Step) -> Lift:
    """Measure a version's list of the highest scores; with ``by``, also how far off it was, campaign by campaign.

    The spread of all campaigns is kept as a tag of the version, for `portrait audience plan`.

    Parameters
    ----------
    by
        Column of the task's rows that says which campaign a row is of; empty for none.

    Raises
    ------
    DataError
        There is no such version, the task has other answers than yes and no, or its rows lack the column.
    TaskUnavailableError
        The log does not support the task.
    """
    if find_task(task).objective != BINARY:
        raise DataError(
            f"Answers of task '{task}' are not yes or no.", hint="a list by score needs redemption, churn, ..."
        )
    with tracking(settings) as client:
        version = find_version(client, settings, task, asked)
        step("rows", 0.0)
        data = dataset(task, settings)
        if by and by not in data.frame.columns:
            raise DataError(
                f"The rows of task '{task}' lack '{by}'.", hint=did_you_mean(by, map(str, data.frame.columns))
            )
        scores = scores_on_test(version.scorer, data)
        found = _lift(version, data, scores, top)
        if by:
            found = _by_campaign(found, data, scores, by, threads=settings.threads, step=step)
            client.set_model_version_tag(task, version.number, SPREAD_TAG, f"{found.spread_of_all:.4f}")
    return found


def _lift(version: Version, data: Dataset, scores: npt.NDArray[np.float64], top: int) -> Lift:
    labels = data.labels[data.test]
    top = min(top, len(labels))
    first = ranks(scores) < top
    tallies = Tallies.of(data.frame[data.key].to_numpy()[data.test])
    sums = tallies.sums(first & (labels == 1), first)
    share = tallies.estimates(sums, lambda each: {"share": ratio(each[:, 0], each[:, 1])})["share"]
    base, answered = float(labels.mean()), int(labels[first].sum())
    tail = (1 - LEVEL) / 2
    low, high = (hypergeom.ppf(part, len(labels), int(labels.sum()), top) / top for part in (tail, 1 - tail))
    return Lift(
        version.name,
        len(labels),
        base,
        top,
        answered,
        share,
        Estimate(base, float(low), float(high)),
        share.value / base,
        expected(scores[first], 0.0),
        (),
        0.0,
        0.0,
        0,
        0,
        0,
    )


def _by_campaign(
    found: Lift, data: Dataset, scores: npt.NDArray[np.float64], by: str, *, threads: int, step: Step
) -> Lift:
    names = data.frame[by].astype(str).to_numpy()
    tested = {name: Answered(scores[rows], data.labels[data.test][rows]) for name, rows in _groups(names[data.test])}
    before = {name: (rows, each) for name, rows, each in _foretold(data, names, {*tested}, threads, step)}
    spread = spread_of([each for _, each in before.values()])
    whole = spread_of([*(each for _, each in before.values()), *tested.values()])
    lists = [part for each in tested.values() for part in _lists(each)]
    others = {name: [each for other, (_, each) in before.items() if other != name] for name in before}
    campaigns = [
        *(_campaign(name, each, spread_of(others[name]), rows, tested=False) for name, (rows, each) in before.items()),
        *(_campaign(name, each, spread, int(data.train.sum()), tested=True) for name, each in tested.items()),
    ]
    return replace(
        found,
        expected=expected(np.sort(scores)[::-1][: found.top], spread),
        campaigns=tuple(campaigns),
        spread=spread,
        spread_of_all=whole,
        covered=sum(expected(each.scores, spread).covers(each.labels.sum()) for each in lists),
        covered_by_coins=sum(expected(each.scores, 0.0).covers(each.labels.sum()) for each in lists),
        checked=len(lists),
    )


def _campaign(name: str, each: Answered, spread: float, fitted_on: int, *, tested: bool) -> Campaign:
    return Campaign(name, len(each.labels), int(each.labels.sum()), expected(each.scores, spread), fitted_on, tested)


def _lists(each: Answered) -> Iterator[Answered]:
    order = np.argsort(-each.scores, kind="stable")
    for length in sorted({*(most for most in CHECKED if most < len(order)), len(order)}):
        yield Answered(each.scores[order[:length]], each.labels[order[:length]])


def _groups(names: npt.NDArray[Any]) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Names in the order they come first, with their rows."""
    for name in dict.fromkeys(names.tolist()):
        yield name, names == name


def _foretold(
    data: Dataset, names: npt.NDArray[Any], tested: set[str], threads: int, step: Step
) -> Iterator[tuple[str, int, Answered]]:
    """Yield earlier campaigns as a model of before expected them: name, rows it was fitted on, scores and answers."""
    earlier = [(name, rows) for name, rows in _groups(names) if name not in tested]
    for n, (name, rows) in enumerate(earlier):
        step(f"campaign {name}", (n + 1) / (len(earlier) + 1))
        split = _split_before(data, rows)
        if split is not None:
            then = replace(data, split=split)
            scorer = fit(data.task.model, then, threads=threads).scorer()
            scores = np.asarray(scorer.score(then.matrix(scorer.columns)[rows]), np.float64)
            yield name, int(split.train.sum()), Answered(scores, data.labels[rows])


def _split_before(data: Dataset, rows: npt.NDArray[np.bool_]) -> Split | None:
    """Rows whose answers were known when a campaign began; None if they are too few, or of one answer."""
    at, known_at = (np.asarray(data.frame[name].dt.as_unit("us").astype(np.int64)) for name in (AT, KNOWN_AT))
    start = int(at[rows].min())
    known = at[known_at <= start]
    if len(known) < LEAST_ROWS:
        return None
    first = np.quantile(known, 1 - data.valid.sum() / data.train.sum(), method="higher")
    split = split_by_time(at, known_at, end=start + DAY, holdout=DAY, validation=int(start - first))
    both = all(len(np.unique(data.labels[part])) > 1 for part in (split.fit, split.valid))
    return replace(split, test=rows) if both else None
