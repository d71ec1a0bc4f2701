"""Why an item is on a list, in a sentence: from what the shopper did, or from who proposed it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from feature_repo.candidates.proposals import COLUMNS

Row = Mapping[str, float]

_WEEK = 7
_WEEKS_FROM, _MONTHS_FROM = 11, 45
_MONTH = 30.4
_HABIT = 91  # days: who buys something less often has no habit of it
_WORTH = 0.02  # share of what is bought, from which a category or a maker is one the shopper likes


@dataclass(frozen=True)
class Why:
    """Kind of a reason, and its sentence in English and in Chinese."""

    kind: str
    english: str
    chinese: str


# What is said of an item the shopper never bought, by the method that thinks most of it compared with all proposals.
_PROPOSED: dict[str, Why] = {
    "neighbours": Why("goes_with", "Goes with what you buy.", "与您常买的商品相配"),
    "factors": Why("your_taste", "Fits what you like to buy.", "符合您的购物口味"),
    "alike": Why("like_minded", "People with your basket buy it.", "与您购物相似的顾客也买"),
    "store": Why("your_store", "Often bought in your store.", "您所在门店的热销商品"),
    "trending": Why("trending", "Selling more than usual this week.", "本周销量上升"),
    "popular": Why("popular", "Many shoppers buy it.", "许多顾客都在购买"),
}
_POPULAR = _PROPOSED["popular"]


def reasons_of(values: npt.NDArray[np.float64], days_since: npt.NDArray[np.float64]) -> Callable[[int], Why]:
    """Return what says why a proposal is made.

    Parameters
    ----------
    values
        Of all proposals of a shopper, ``float64[n, len(COLUMNS)]``.
    days_since
        Days since the shopper last bought each, NaN if never.
    """
    places = [COLUMNS.index(name) for name in _PROPOSED]
    said = values[:, places]
    # Methods speak in units of their own: each is compared with what it says of the other proposals.
    usual, spread = said.mean(axis=0), said.std(axis=0)
    strength = np.where(said > 0, (said - usual) / np.where(spread > 0, spread, 1.0), -np.inf)
    names = list(_PROPOSED)

    def why(place: int) -> Why:
        row = dict(zip(COLUMNS, values[place].tolist(), strict=True))
        best = names[int(strength[place].argmax())] if np.isfinite(strength[place]).any() else "popular"
        return _of_own(row, float(days_since[place])) or _of_liking(row) or _PROPOSED.get(best, _POPULAR)

    return why


def span(days: float) -> tuple[str, str]:
    """Return a length of time in words.

    >>> span(1.2), span(20), span(100)
    (('day', '天'), ('3 weeks', '3周'), ('3 months', '3个月'))
    """
    if days >= _MONTHS_FROM:
        return _counted(days / _MONTH, "month", "个月")
    return _counted(days / _WEEK, "week", "周") if days >= _WEEKS_FROM else _counted(days, "day", "天")


def _counted(amount: float, unit: str, zh: str) -> tuple[str, str]:
    count = max(1, round(amount))
    return (unit, zh) if count == 1 else (f"{count} {unit}s", f"{count}{zh}")


def _of_own(row: Row, days_since: float) -> Why | None:
    """Say what the shopper did with the item; None if nothing."""
    if 0 < row["own_gap_days"] <= _HABIT:
        english, chinese = span(row["own_gap_days"])
        return Why("you_buy_it", f"You buy this every {english}.", f"您约每{chinese}购买一次")
    if np.isnan(days_since) and not row["personal"]:
        return None
    if np.isnan(days_since):
        return Why("you_bought_it", "You bought this before.", "您曾购买过")
    english, chinese = span(days_since)
    ago = english if english[0].isdigit() else f"a {english}"
    return Why("you_bought_it", f"You bought this {ago} ago.", f"您{chinese}前购买过")


def _of_liking(row: Row) -> Why | None:
    """Say what the shopper likes about something never bought; None if it is nothing in particular."""
    if row["maker_share"] >= max(_WORTH, row["category_share"]):
        return Why("new_of_maker", "New to you, from a maker you like.", "您常购厂商的新选择")
    if row["category_share"] >= 2 * _WORTH:
        return Why("of_category", "Of a category you often buy.", "您常购品类的商品")
    return None
