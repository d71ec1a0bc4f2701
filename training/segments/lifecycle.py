"""A shopper's stage of life: rules as data, of which the first that fits decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.core.errors import DeclarationError, did_you_mean
from feature_repo.definitions.segment_names import STAGES

COLUMNS = ("days_since", "tenure_days", "visits_28d_84d")


@dataclass(frozen=True)
class Bound:
    """A column is at least, and below, so much; both ends may be left open."""

    column: str
    at_least: float = -np.inf
    below: float = np.inf

    def fits(self, frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Which rows are within."""
        values = frame[self.column].to_numpy(np.float64)
        return np.asarray((values >= self.at_least) & (values < self.below))

    def __str__(self) -> str:
        low = f"{self.at_least:g} <= " if np.isfinite(self.at_least) else ""
        return f"{low}{self.column}" + (f" < {self.below:g}" if np.isfinite(self.below) else "")


@dataclass(frozen=True)
class Stage:
    """A stage, and what has to hold for it; without bounds it is what is left.

    Raises
    ------
    DeclarationError
        The stage has no words, a column is unknown, or no value is within a bound.
    """

    name: str
    bounds: tuple[Bound, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in STAGES:
            raise DeclarationError(f"There is no stage '{self.name}'.", hint=did_you_mean(self.name, STAGES))
        for bound in self.bounds:
            if bound.column not in COLUMNS:
                hint = did_you_mean(bound.column, COLUMNS)
                raise DeclarationError(f"Stage '{self.name}' reads '{bound.column}'.", hint=hint)
            if not bound.at_least < bound.below:
                raise DeclarationError(f"Stage '{self.name}' asks for {bound}.", hint="no value is within.")


LIFECYCLE = (
    Stage("new", (Bound("tenure_days", below=28),)),
    Stage("returned", (Bound("days_since", below=28), Bound("visits_28d_84d", below=1))),
    Stage("active", (Bound("days_since", below=28),)),
    Stage("slipping", (Bound("days_since", below=84),)),
    Stage("dormant"),
)


def stages_of(frame: pd.DataFrame, rules: tuple[Stage, ...] = LIFECYCLE) -> npt.NDArray[np.object_]:
    """Return each row's stage.

    Parameters
    ----------
    frame
        ``days_since`` the last visit, ``tenure_days`` since the first, ``visits_28d_84d``: visits between 84 and 28
        days ago.

    Raises
    ------
    DeclarationError
        The last rule has bounds, so that some rows might have no stage.

    >>> rows = {"days_since": [3, 3, 40, 300], "tenure_days": [3, 300, 300, 300], "visits_28d_84d": [0, 0, 5, 0]}
    >>> stages_of(pd.DataFrame(rows)).tolist()
    ['new', 'returned', 'slipping', 'dormant']
    """
    if not rules or rules[-1].bounds:
        raise DeclarationError("The last stage has bounds.", hint="end with one that takes whoever is left.")
    chosen = np.full(len(frame), rules[-1].name, object)
    for rule in reversed(rules):
        fits = [bound.fits(frame) for bound in rule.bounds]
        chosen[np.all(fits, axis=0) if fits else np.ones(len(frame), bool)] = rule.name
    return chosen
