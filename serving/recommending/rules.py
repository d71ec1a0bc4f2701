"""What the shop will not show, whatever the model says: small rules that are composed.

A :class:`Filter` says of each item whether it may be shown; an :class:`Arrangement` chooses the list from what
may, given the model's scores. The shop's are ``FILTERS`` and ``ARRANGEMENT``; a new rule is a class and its place
there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from serving.recommending.wish import Wish

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

DISMISSED = "dismissed"


@dataclass(frozen=True, eq=False)
class Pool:
    """Ranked items, the best first.

    Attributes
    ----------
    items, categories, makers
        ``object[n]``; an unknown category or maker is empty.
    scores
        Of the model, not rising.
    days_since
        Days since the shopper last bought each, NaN if never: as of now, from the stream.
    answers
        What the shopper last said of each where it was recommended, None for nothing: as of now, too.
    """

    items: npt.NDArray[np.object_]
    categories: npt.NDArray[np.object_]
    makers: npt.NDArray[np.object_]
    scores: Floats
    days_since: Floats
    answers: Sequence[str | None]


class Filter(Protocol):
    """Says which items may be shown."""

    def allows(self, pool: Pool, wish: Wish) -> Mask:
        """Return ``bool[n]``."""


class Arrangement(Protocol):
    """Chooses a list."""

    def choose(self, pool: Pool, allowed: Mask, k: int) -> list[int]:
        """Return places of at most ``k`` allowed items of the pool, in the list's order."""


@dataclass(frozen=True)
class JustBought:
    """Nothing that was bought within so many days: it is in the bag."""

    within_days: float = 1.0

    def allows(self, pool: Pool, wish: Wish) -> Mask:
        """Return ``bool[n]``."""
        del wish
        return np.asarray(~(pool.days_since < self.within_days))


@dataclass(frozen=True)
class Refused:
    """Nothing the shopper has dismissed within the window of the feature that says so."""

    def allows(self, pool: Pool, wish: Wish) -> Mask:
        """Return ``bool[n]``."""
        del wish
        return np.array([said != DISMISSED for said in pool.answers], bool)


@dataclass(frozen=True)
class Unavailable:
    """Nothing the caller says is out of stock."""

    def allows(self, pool: Pool, wish: Wish) -> Mask:
        """Return ``bool[n]``."""
        return np.array([item not in wish.unavailable for item in pool.items], bool)


@dataclass(frozen=True)
class OfCategory:
    """Nothing of another category than the one asked for, if one was."""

    def allows(self, pool: Pool, wish: Wish) -> Mask:
        """Return ``bool[n]``."""
        return np.full(len(pool.items), True) if not wish.category else np.asarray(pool.categories == wish.category)


@dataclass(frozen=True)
class Diverse:
    """Maximal marginal relevance (Carbonell and Goldstein 1998), with a cap per category.

    Each place goes to the item of the highest score less what it repeats. Scores are stretched over [0, 1]; an item
    repeats another by half for its category, and by half for its maker.

    Attributes
    ----------
    weight
        Of what is repeated against the score, 0 to 1; 0 leaves the model's order, but for the cap.
    most_of_category
        Items of one category on a list, unless fewer than asked for would be left; an unknown category has no cap.
    """

    weight: float = 0.1
    most_of_category: int = 4

    def choose(self, pool: Pool, allowed: Mask, k: int) -> list[int]:
        """Return places of at most ``k`` allowed items of the pool, in the list's order."""
        relevance, left = _stretched(pool.scores), allowed.copy()
        repeated = np.zeros(len(left))
        chosen: list[int] = []
        while len(chosen) < k and left.any():
            value = (1 - self.weight) * relevance - self.weight * repeated
            open_ = left & ~self._full(pool, chosen)
            place = int(np.argmax(np.where(open_ if open_.any() else left, value, -np.inf)))
            chosen.append(place)
            left[place] = False
            repeated = np.maximum(repeated, _alike(pool, place))
        return chosen

    def _full(self, pool: Pool, chosen: list[int]) -> Mask:
        """Which items are of a category that has its share of the list already."""
        names, counts = np.unique(pool.categories[chosen].astype(str), return_counts=True)
        full = [name for name, count in zip(names, counts, strict=True) if name and count >= self.most_of_category]
        return np.isin(pool.categories.astype(str), full) if full else np.zeros(len(pool.items), bool)


FILTERS: tuple[Filter, ...] = (JustBought(), Refused(), Unavailable(), OfCategory())
ARRANGEMENT: Arrangement = Diverse()


def allowed_by(filters: Sequence[Filter], pool: Pool, wish: Wish) -> Mask:
    """Return which items every filter allows."""
    found = np.full(len(pool.items), True)
    for each in filters:
        found &= each.allows(pool, wish)
    return found


def _stretched(scores: Floats) -> Floats:
    spread = np.ptp(scores) if len(scores) else 0.0
    return (scores - scores.min()) / spread if spread > 0 else np.zeros(len(scores))


def _alike(pool: Pool, place: int) -> Floats:
    """How much each item repeats the one at a place: 0, 0.5 or 1."""
    parts = [
        (names == names[place]) if names[place] else np.zeros(len(names), bool)
        for names in (pool.categories, pool.makers)
    ]
    return np.asarray(sum(part.astype(np.float64) for part in parts) / len(parts))
