"""The first stage of a recommendation: some two hundred items worth ranking for one shopper, and what proposes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from feature_repo.candidates.history import HALF_LIFE_DAYS, History
from feature_repo.candidates.shelf import Shelf
from feature_repo.candidates.taste import Taste
from feature_repo.core.clock import DAY

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

TASTE, SHELF = "taste.npz", "shelf.json"  # files of a model that was registered

MOST = 200
POOL = 3_000  # items sold most, of which content is chosen
UNKNOWN = -1.0  # days of what was never bought, or once only: a context column holds no NULL

# Method -> how many of its best items are proposed: of all, and of those the shopper never bought.
QUOTA: Mapping[str, tuple[int, int]] = {
    "popular": (20, 0),
    "neighbours": (12, 16),
    "factors": (12, 16),
    "alike": (12, 16),
    "content": (12, 12),
    "store": (12, 0),
    "trending": (12, 0),
    "personal": (MOST, 0),  # the rest
}
METHODS = tuple(QUOTA)

# What a method says of an item is an input of the model, and so is what follows.
FACTS = ("own_gap_days", "own_due", "category_share", "maker_share", "repeat_rate", "price", "days_sold")
COLUMNS = (*METHODS, *FACTS)


@dataclass(frozen=True, eq=False)
class Proposals:
    """Items proposed to one shopper.

    Attributes
    ----------
    places
        ``int64[n]``: of the shelf's items, in the order they were proposed.
    values
        ``float64[n, len(COLUMNS)]``: what each method says of them, whoever proposed them, and facts.
    bought
        ``bool[n]``: whether the history has them.
    """

    places: Places
    values: Floats
    bought: npt.NDArray[np.bool_]

    def column(self, name: str) -> Floats:
        """Return one column of ``values``."""
        return np.asarray(self.values[:, COLUMNS.index(name)])


@dataclass(frozen=True, eq=False)
class Proposer:
    """Proposes items of a shelf by a taste.

    The taste may know fewer items than the shelf (those sold since it was learnt are new to it) and others that are
    sold no more: neither is an error.
    """

    taste: Taste
    shelf: Shelf

    def propose(self, history: History, now: int, *, most: int = MOST) -> Proposals:
        """Return items for a shopper at an instant (us), at most so many."""
        held = self._held(history)
        opinions = self._opinions(history, held, now)
        bought = np.zeros(len(self.shelf.items), bool)
        bought[held.places] = True
        places = _union((_best(opinions[name], quota, bought) for name, quota in QUOTA.items()), most)
        said = (self._at(opinions[name], places) for name in METHODS)
        return Proposals(places, np.column_stack([*said, *self._facts(history, held, now, places)]), bought[places])

    @cached_property
    def place_of(self) -> dict[str, int]:
        """Place of each item on the shelf."""
        return {item: place for place, item in enumerate(self.shelf.items.tolist())}

    @cached_property
    def _known(self) -> tuple[Places, Places]:
        """Items that both the taste and the shelf have: their places in the taste, and on the shelf."""
        found = [(n, self.place_of[item]) for n, item in enumerate(self.taste.items.tolist()) if item in self.place_of]
        in_taste, on_shelf = np.array(found, np.int64).reshape(-1, 2).T
        return in_taste, on_shelf

    @cached_property
    def _in_taste(self) -> Places:
        """Place in the taste of each item of the shelf, -1 for one it does not know."""
        found = np.full(len(self.shelf.items), -1, np.int64)
        in_taste, on_shelf = self._known
        found[on_shelf] = in_taste
        return found

    @cached_property
    def _category(self) -> _Codes:
        return _Codes.of(self.shelf.category)

    @cached_property
    def _maker(self) -> _Codes:
        return _Codes.of(self.shelf.maker)

    @cached_property
    def _popular(self) -> _Opinion:
        return _Opinion.of(np.asarray(self.shelf.buyers_28d / max(1, self.shelf.shoppers)), POOL)

    @cached_property
    def _trending(self) -> _Opinion:
        """Buyers of a week against the average week of four, both with some more, so that few buyers say little."""
        rise = (self.shelf.buyers_7d + 1) / (self.shelf.buyers_28d / 4 + 5)
        return _Opinion.of(np.asarray(np.log1p(self.shelf.buyers_7d) * rise), MOST)

    @cached_property
    def _stores(self) -> dict[str, _Opinion]:
        found = {}
        for store, shares in self.shelf.stores.items():
            here = [(self.place_of[item], share) for item, share in shares.items() if item in self.place_of]
            places, values = (np.array(column) for column in zip(*here, strict=True)) if here else ((), ())
            found[store] = _Opinion(np.asarray(places, np.int64), np.asarray(values, np.float64))
        return found

    def _held(self, history: History) -> _Held:
        found = [
            (place, row) for row, item in enumerate(history.items) if (place := self.place_of.get(item)) is not None
        ]
        places, rows = np.array(found, np.int64).reshape(-1, 2).T
        return _Held(places, rows)

    def _opinions(self, history: History, held: _Held, now: int) -> dict[str, _Opinion]:
        weight = history.weight[held.rows]
        places = self._in_taste[held.places]
        of_taste, weights = places[places >= 0], weight[places >= 0]
        person = self.taste.person(of_taste, weights)
        fading = np.exp2((history.at - now) / (HALF_LIFE_DAYS * DAY))
        return {
            "personal": _Opinion(held.places, weight * fading),
            "popular": self._popular,
            "neighbours": self._of_taste(self.taste.near(of_taste, weights)),
            "factors": self._of_taste(self.taste.liked(person)),
            "alike": self._of_taste(self.taste.alike(person)),
            "content": self._content(held.places, weight),
            "store": self._stores.get(history.store, _NOTHING),
            "trending": self._trending,
        }

    def _of_taste(self, scores: npt.NDArray[np.floating]) -> _Opinion:
        in_taste, on_shelf = self._known
        return _Opinion(on_shelf, np.asarray(scores[in_taste], np.float64))

    def _content(self, places: Places, weight: Floats) -> _Opinion:
        """Popular things of the categories and makers that were bought."""
        pool = self._popular.places
        liking = self._category.shares(places, weight, pool) + self._maker.shares(places, weight, pool)
        return _Opinion(pool, liking * np.sqrt(self._popular.scores))

    def _at(self, opinion: _Opinion, places: Places) -> Floats:
        dense = np.zeros(len(self.shelf.items))
        dense[opinion.places] = opinion.scores
        return np.asarray(dense[places])

    def _facts(self, history: History, held: _Held, now: int, places: Places) -> Iterable[Floats]:
        """Return the columns ``FACTS`` of some items."""
        row = np.full(len(self.shelf.items), -1, np.int64)
        row[held.places] = held.rows
        row = row[places]
        again = (row >= 0) & (np.append(history.orders, 0)[row] > 1)
        gap, due = np.full(len(places), UNKNOWN), np.full(len(places), UNKNOWN)
        of, weight, shelf = row[again], history.weight[held.rows], self.shelf
        gap[again] = (history.last_at[of] - history.first_at[of]) / (history.orders[of] - 1) / DAY
        due[again] = (now - history.last_at[of]) / DAY / (gap[again] + 0.5)
        category, maker = (codes.shares(held.places, weight, places) for codes in (self._category, self._maker))
        sold = (now - shelf.first_at[places]) / DAY
        return gap, due, category, maker, shelf.repeat_rate[places], shelf.price[places], sold


@dataclass(frozen=True, eq=False)
class _Held:
    """A shopper's items that are on the shelf: their places there, and their rows in the history."""

    places: Places
    rows: Places


@dataclass(frozen=True, eq=False)
class _Opinion:
    """What a method says of some places of the shelf; of all others it says 0."""

    places: Places
    scores: Floats

    @classmethod
    def of(cls, scores: Floats, most: int) -> _Opinion:
        """Return the opinion of the whole shelf's best."""
        places = _top(scores, most)
        return cls(places, scores[places])


_NOTHING = _Opinion(np.zeros(0, np.int64), np.zeros(0))


@dataclass(frozen=True, eq=False)
class _Codes:
    """Each item's category, or maker, by number; which number stands for none."""

    codes: Places
    count: int
    none: Places

    @classmethod
    def of(cls, names: npt.NDArray[np.object_]) -> _Codes:
        known, codes = np.unique(names.astype(str), return_inverse=True)
        return cls(np.asarray(codes, np.int64), len(known), np.flatnonzero(known == ""))

    def shares(self, places: Places, weight: Floats, asked: Places) -> Floats:
        """Share of a shopper's weight that is in the category of each item asked about."""
        sums = np.bincount(self.codes[places], weight, self.count) / (weight.sum() or 1.0)
        sums[self.none] = 0.0
        return np.asarray(sums[self.codes[asked]])


def _best(opinion: _Opinion, quota: tuple[int, int], bought: npt.NDArray[np.bool_]) -> Places:
    """Places of the highest scores above 0, as many as the quota says."""
    of_all, of_new = quota
    best = opinion.places[_top(opinion.scores, of_all)]
    if not of_new:
        return best
    fresh = _top(np.where(bought[opinion.places], 0.0, opinion.scores), of_new)
    return np.concatenate([best, opinion.places[fresh]])


def _top(scores: Floats, count: int) -> Places:
    """Return places of the highest scores above 0, highest first; of equal ones the first."""
    if not count:
        return np.zeros(0, np.int64)
    places = np.flatnonzero(scores > 0)
    if len(places) > count:
        edge = np.partition(scores[places], len(places) - count)[len(places) - count]
        places = places[scores[places] >= edge]
    return places[np.argsort(-scores[places], kind="stable")][:count]


def _union(lists: Iterable[Places], most: int) -> Places:
    return np.fromiter(dict.fromkeys(np.concatenate([*lists]).tolist()), np.int64)[:most]
