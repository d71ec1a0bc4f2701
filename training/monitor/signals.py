"""A signal: one column that is compared between weeks, with how much it moves from week to week when all is well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.monitor.bins import Bins, Counts, null_share, psi
from training.monitor.panels import SHOPPER, WEEK, Panel

POOLED_WEEKS = 8
MOST_LAG = 8
_DIGITS = 5


@dataclass(frozen=True)
class Signal:
    """A column as the reference knows it.

    Attributes
    ----------
    name, kind
        As it is shown; ``event``, ``shopper``, ``feature`` or ``score``.
    bins
        Chosen on the reference's last ``POOLED_WEEKS`` weeks.
    counts
        Of these weeks together, NULL last.
    shoppers
        Distinct shoppers a week, on average.
    quiet
        Place ``l - 1``: the largest PSI between ``POOLED_WEEKS`` weeks of the reference and a week that ended up to
        ``l`` weeks after them.
    quiet_null
        The same of the change of the share of NULL.
    comparisons
        How many pairs these are the largest of.
    """

    name: str
    kind: str
    bins: Bins
    counts: tuple[int, ...]
    shoppers: int
    quiet: tuple[float, ...]
    quiet_null: tuple[float, ...]
    comparisons: int

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        bins = self.bins.to_json()
        return {**{k: v for k, v in vars(self).items() if k != "bins"}, **bins}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Signal:
        """Read a signal of a reference."""
        return cls(
            name=found["name"],
            kind=found["kind"],
            bins=Bins.from_json(found),
            counts=tuple(found["counts"]),
            shoppers=found["shoppers"],
            quiet=tuple(found["quiet"]),
            quiet_null=tuple(found["quiet_null"]),
            comparisons=found["comparisons"],
        )


@dataclass(frozen=True)
class Seen:
    """One week of a signal: counts in the reference's bins, and how many shoppers they come from."""

    counts: Counts
    shoppers: int


def signals_of(panel: Panel) -> Iterator[Signal]:
    """Learn a signal for each column of a panel of many weeks."""
    weeks, shoppers = panel.frame[WEEK].to_numpy(), _shoppers_by_week(panel)
    pooled = panel.frame[weeks < POOLED_WEEKS]
    for name in panel.columns:
        bins = Bins.of(pooled[name])
        counts = _by_week(bins.codes(panel.frame[name]), weeks, bins.places)
        psis, nulls = list(_quiet(counts, psi)), list(_quiet(counts, _null_change))
        yield Signal(
            name=name,
            kind=panel.kind_of(name),
            bins=bins,
            counts=tuple(counts[:POOLED_WEEKS].sum(axis=0).tolist()),
            shoppers=round(sum(shoppers.get(week, 0) for week in range(POOLED_WEEKS)) / POOLED_WEEKS),
            quiet=_largest(psis),
            quiet_null=_largest(nulls),
            comparisons=len(psis),
        )


def see(signal: Signal, panel: Panel) -> Seen:
    """Count the last week of a panel in the bins of the reference."""
    frame = panel.frame[panel.frame[WEEK] == 0]
    return Seen(signal.bins.count(frame[signal.name]), int(frame[SHOPPER].nunique()))


def _shoppers_by_week(panel: Panel) -> dict[int, int]:
    distinct = panel.frame.groupby(WEEK)[SHOPPER].nunique()
    return dict(zip(distinct.index.tolist(), distinct.tolist(), strict=True))


def _by_week(codes: Counts, weeks: npt.NDArray[np.int64], places: int) -> npt.NDArray[np.int64]:
    many = int(weeks.max(initial=0)) + 1
    flat = np.bincount(weeks * places + codes, minlength=many * places)
    return np.asarray(flat.reshape(many, places), np.int64)


def _quiet(counts: npt.NDArray[np.int64], measure: Any) -> Iterator[tuple[int, float]]:
    """Compare the reference's weeks with those before them, as a live week will be with the reference."""
    for begin in range(1, len(counts) - POOLED_WEEKS + 1):
        reference = counts[begin : begin + POOLED_WEEKS].sum(axis=0)
        for lag in range(1, min(begin, MOST_LAG) + 1):
            live = counts[begin - lag]
            if reference.sum() and live.sum():
                yield lag, measure(reference, live)


def _null_change(reference: Counts, live: Counts) -> float:
    return abs(null_share(live) - null_share(reference))


def _largest(found: list[tuple[int, float]]) -> tuple[float, ...]:
    if not found:
        return (0.0,) * MOST_LAG
    frame = pd.DataFrame(found, columns=["lag", "value"]).groupby("lag")["value"].max()
    cumulated = frame.reindex(range(1, MOST_LAG + 1)).cummax().ffill().fillna(0.0)
    return tuple(round(float(each), _DIGITS) for each in cumulated)
