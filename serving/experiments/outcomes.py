"""What may become of a shopper who met a variant, and where the log says it. A new outcome is one line of `OUTCOMES`.

A span begins behind the shopper's first exposure and ends so many days after it: ``(first + begin, first + end]``.
Whose span is not over yet is left out of the outcome, so that nobody counts as a loss for having come late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from serving.experiments.experiment import Experiment

WEEK = 7


@dataclass(frozen=True)
class Outcome:
    """Something that is measured of each shopper once.

    Attributes
    ----------
    description
        In words; ``{begin}`` and ``{end}`` are days.
    kind
        ``rate``: whether it happened. ``mean``: an amount.
    events
        Event type -> which of its events count (SQL over its columns).
    span
        Days behind the first exposure at which it begins and ends.
    value
        Column that is added up, or of which the mean is taken.
    of_all
        Whether shoppers without such an event count, as 0; otherwise the outcome is about the others only.
    """

    description: str
    kind: Literal["rate", "mean"]
    events: Mapping[str, str]
    span: Callable[[Experiment], tuple[int, int]]
    value: str = ""
    of_all: bool = True


def _conversion(experiment: Experiment) -> tuple[int, int]:
    return 0, experiment.conversion_days


def _stay(experiment: Experiment) -> tuple[int, int]:
    return 0, experiment.retention_days


def _last_week(experiment: Experiment) -> tuple[int, int]:
    return experiment.retention_days - WEEK, experiment.retention_days


_ANY = "true"
_VISITS = ("view", "search", "click", "cart", "login", "purchase", "payment")

OUTCOMES: Mapping[str, Outcome] = {
    "click_through": Outcome(
        "clicked something within {end} days",
        "rate",
        {"click": _ANY, "ad_click": _ANY, "feedback": "action = 'clicked'"},
        _conversion,
    ),
    "conversion": Outcome("bought within {end} days", "rate", {"purchase": _ANY}, _conversion),
    "retention": Outcome(
        "still came between day {begin} and day {end}", "rate", dict.fromkeys(_VISITS, _ANY), _last_week
    ),
    "spend": Outcome("spent within {end} days, per shopper", "mean", {"purchase": _ANY}, _conversion, value="amount"),
    "satisfaction": Outcome(
        "mean score in surveys within {end} days, of those who answered one",
        "mean",
        {"survey": "score IS NOT NULL"},
        _stay,
        value="score",
        of_all=False,
    ),
}
TABLES = tuple(dict.fromkeys(table for outcome in OUTCOMES.values() for table in outcome.events))
