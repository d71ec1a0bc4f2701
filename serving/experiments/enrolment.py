"""Which variant a shopper gets now, and whether the shopper is in the experiment at all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from feature_repo.core.errors import NotMaterializedError, StoreUnavailableError
from feature_repo.privacy.consent import PurposeName
from serving.experiments.experiment import Experiment
from serving.experiments.split import split

_log = logging.getLogger("portrait")

Why = Literal["", "not_running", "no_consent", "no_model"]
Permitted = Callable[[Sequence[str], PurposeName], Iterable[Any]]


@dataclass(frozen=True)
class Assignment:
    """What one shopper gets.

    Attributes
    ----------
    user_id
        Pseudonym.
    experiment, variant
        Names; who is not in the experiment gets the control.
    enrolled
        Whether the shopper is in it: only then is an exposure noted.
    why
        Why not: ``not_running``, ``no_consent`` to the experiment's purpose (or none that can be read), ``no_model``
        that answers for the variant.
    """

    user_id: str
    experiment: str
    variant: str
    enrolled: bool = True
    why: Why = ""


def assign(experiment: Experiment, pseudonyms: Sequence[str], now: int, permitted: Permitted) -> list[Assignment]:
    """Return what shoppers get at an instant (us).

    Parameters
    ----------
    permitted
        Of shoppers and a purpose: who permits it.
    """
    start, end = experiment.span_us
    if not start <= now < end:
        return [_outside(experiment, user, "not_running") for user in pseudonyms]
    chosen = split(experiment, pseudonyms)
    allowed = _allowed(experiment, pseudonyms, permitted)
    return [
        Assignment(user, experiment.name, experiment.variants[place].name)
        if may
        else _outside(experiment, user, "no_consent")
        for user, place, may in zip(pseudonyms, chosen, allowed, strict=True)
    ]


def _outside(experiment: Experiment, user: str, why: Why) -> Assignment:
    return Assignment(user, experiment.name, experiment.control.name, enrolled=False, why=why)


def _allowed(experiment: Experiment, pseudonyms: Sequence[str], permitted: Permitted) -> Iterable[Any]:
    if not pseudonyms:
        return []
    try:
        return permitted(pseudonyms, experiment.purpose)
    except (NotMaterializedError, StoreUnavailableError) as error:
        _log.warning("Nobody is in experiment '%s' while consent cannot be read: %s", experiment.name, error.what)
        return [False] * len(pseudonyms)
