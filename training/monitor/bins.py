"""Counts values in bins that a reference chose, and says how far two such counts lie apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import chi2, norm

Counts: TypeAlias = npt.NDArray[np.int64]

QUANTILES = np.linspace(0.1, 0.9, 9)
MOST_VALUES = 50
LEAST_ROWS = 20  # a text of fewer rows may be about one person, and a reference is for many readers
DIGITS = 6
PSEUDO_COUNT = 0.5


@dataclass(frozen=True)
class Bins:
    """Where values are counted: between edges, or by value for texts; NULL has the last place of its own.

    Attributes
    ----------
    edges
        ``e1 < .. < ek``: the places are ``(-inf, e1], (e1, e2], .. (ek, inf), NULL``.
    texts
        For texts: a place for each, one for all others, and NULL.
    """

    edges: tuple[float, ...] = ()
    texts: tuple[str, ...] | None = None

    @classmethod
    def of(cls, column: pd.Series[Any]) -> Bins:
        """Choose bins for a column: its distinct deciles, or its most frequent texts.

        >>> Bins.of(pd.Series([0.0, 0.0, 4.0, None])).edges
        (0.0, 4.0)
        """
        if is_text(column):
            frequent = column.value_counts()
            return cls(texts=tuple(str(each) for each in frequent[frequent >= LEAST_ROWS].index[:MOST_VALUES]))
        known = column.dropna().to_numpy(np.float64)
        if not len(known):
            return cls()
        deciles = np.quantile(known, QUANTILES, method="inverted_cdf")
        return cls(tuple(np.unique(np.round(deciles, DIGITS)).tolist()))

    @property
    def places(self) -> int:
        """How many places there are, NULL's included."""
        return len(self.edges if self.texts is None else self.texts) + 2

    def codes(self, column: pd.Series[Any]) -> Counts:
        """Return the place of each value: ``int64[n]``."""
        null = column.isna().to_numpy()
        found = np.full(len(column), self.places - 1, np.int64)
        if self.texts is not None:
            codes = pd.Index(self.texts, dtype=object).get_indexer(pd.Index(column[~null].astype(str)))
            found[~null] = np.where(codes < 0, len(self.texts), codes)
        else:
            rounded = np.round(column[~null].to_numpy(np.float64), DIGITS)
            found[~null] = np.searchsorted(np.asarray(self.edges), rounded, side="left")
        return found

    def count(self, column: pd.Series[Any]) -> Counts:
        """Count a column: ``int64[places]``, NULL last.

        >>> Bins(edges=(0.0,)).count(pd.Series([0.0, 1.0, 2.0, None])).tolist()
        [1, 2, 1]
        """
        return np.bincount(self.codes(column), minlength=self.places).astype(np.int64)

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        return {"edges": list(self.edges)} if self.texts is None else {"texts": list(self.texts)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Bins:
        """Read bins of a reference."""
        texts = found.get("texts")
        return cls(tuple(found.get("edges", ())), None if texts is None else tuple(texts))


def is_text(column: pd.Series[Any]) -> bool:
    """Whether a column is counted by value."""
    return not pd.api.types.is_numeric_dtype(column.dtype)


def psi(reference: Counts, live: Counts) -> float:
    """Return the population stability index of two counts over the same bins; NaN if one has no rows.

    ``sum((p - q) ln(p / q))`` over the bins either has rows in, see Siddiqi, Credit Risk Scorecards (2006). Half a row
    is added to each bin, so that an empty one is finite.

    >>> round(psi(np.array([500, 500]), np.array([500, 500])), 3), round(psi(np.array([500, 500]), np.array([9, 1])), 2)
    (0.0, 0.67)
    """
    used = (reference + live) > 0
    if not reference.sum() or not live.sum():
        return float("nan")
    q, p = (_shares(counts[used]) for counts in (reference, live))
    return float(((p - q) * np.log(p / q)).sum())


def _shares(counts: Counts) -> npt.NDArray[np.float64]:
    raised = counts + PSEUDO_COUNT
    return np.asarray(raised / raised.sum())


def noise(places: int, live: int, reference: int, *, level: float) -> float:
    """Return the PSI that sampling alone stays below with probability ``level``, if nothing has changed.

    Over ``B`` bins ``PSI / (1/n + 1/m)`` is nearly chi-squared with ``B - 1`` degrees of freedom: Yurdakul, Statistical
    Properties of Population Stability Index (2018).

    Parameters
    ----------
    places
        Bins with rows in them.
    live, reference
        Independent draws behind each side: shoppers, not rows.

    >>> round(noise(10, 100, 10_000, level=0.999), 3), round(noise(10, 10_000, 10_000, level=0.999), 3)
    (0.282, 0.006)
    """
    if live <= 0 or reference <= 0:
        return float("inf")
    return float(chi2.ppf(level, max(places - 1, 1)) * (1 / live + 1 / reference))


def share_noise(share: float, live: int, reference: int, *, level: float) -> float:
    """Return the same bound for the difference of two shares.

    >>> round(share_noise(0.5, 100, 10_000, level=0.999), 2)
    0.17
    """
    if live <= 0 or reference <= 0:
        return float("inf")
    spread = np.sqrt(share * (1 - share) * (1 / live + 1 / reference))
    return float(norm.ppf((1 + level) / 2) * spread)


def null_share(counts: Sequence[int] | Counts) -> float:
    """Share of NULL in counts; 0 without rows.

    >>> null_share([1, 2, 1])
    0.25
    """
    total = int(sum(counts))
    return int(counts[-1]) / total if total else 0.0
