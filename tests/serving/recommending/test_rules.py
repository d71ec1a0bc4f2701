"""Rules by themselves, and what each reason is told of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from feature_repo.candidates.proposals import COLUMNS
from serving.recommending.reasons import reasons_of, span
from serving.recommending.rules import Diverse, Filter, JustBought, OfCategory, Pool, Refused, Unavailable, allowed_by
from serving.recommending.wish import Wish


def pool(
    categories: str, scores: Sequence[float] = (), *, makers: str = "", days: Sequence[float] = (), said: str = ""
) -> Pool:
    """Items named by place; one letter each for category and maker, a blank for none."""
    size = len(categories)
    return Pool(
        items=np.array([str(n) for n in range(size)], object),
        categories=np.array([each.strip() for each in categories], object),
        makers=np.array([each.strip() for each in makers.ljust(size)], object),
        scores=np.array(scores or np.arange(size, 0, -1), float),
        days_since=np.array(days or [np.nan] * size, float),
        answers=["dismissed" if each == "x" else None for each in said.ljust(size)],
    )


EVERY = np.array([True] * 6)


@pytest.mark.parametrize(
    ("rule", "wish", "expected"),
    [
        (JustBought(within_days=1.0), Wish(), [False, True, True]),
        (JustBought(within_days=3.0), Wish(), [False, False, True]),
        (Refused(), Wish(), [True, False, True]),
        (Unavailable(), Wish(unavailable=frozenset("2")), [True, True, False]),
        (OfCategory(), Wish(), [True, True, True]),
        (OfCategory(), Wish(category="a"), [True, False, True]),
    ],
)
def test_a_filter_leaves_out_what_it_is_for(rule: Filter, wish: Wish, expected: list[bool]) -> None:
    found = rule.allows(pool("aba", days=(0.5, 1.0, np.nan), said=" x "), wish)
    assert found.tolist() == expected


def test_filters_are_composed() -> None:
    found = allowed_by((Refused(), OfCategory()), pool("aab", said="x"), Wish(category="a"))
    assert found.tolist() == [False, True, False]


def test_without_weight_and_cap_the_order_is_the_models() -> None:
    assert Diverse(weight=0.0, most_of_category=9).choose(pool("aaaaaa"), EVERY, 4) == [0, 1, 2, 3]


def test_a_category_has_at_most_its_share_of_the_list() -> None:
    assert Diverse(weight=0.0, most_of_category=2).choose(pool("aaaabb"), EVERY, 4) == [0, 1, 4, 5]


def test_a_cap_never_leaves_a_list_shorter_than_it_could_be() -> None:
    assert Diverse(weight=0.0, most_of_category=1).choose(pool("aaaaaa"), EVERY, 3) == [0, 1, 2]


def test_an_unknown_category_has_no_cap_and_repeats_nothing() -> None:
    assert Diverse(weight=0.5, most_of_category=1).choose(pool("      "), EVERY, 3) == [0, 1, 2]


def test_what_repeats_the_list_comes_later() -> None:
    close = pool("aab", (1.0, 0.95, 0.9), makers="mmn")
    assert Diverse(weight=0.5).choose(close, EVERY[:3], 3) == [0, 2, 1]
    assert Diverse(weight=0.0).choose(close, EVERY[:3], 3) == [0, 1, 2]


def test_all_of_the_list_counts_and_not_its_last_item_alone() -> None:
    assert Diverse(weight=0.5).choose(pool("abac", (1.0, 0.9, 0.85, 0.8)), EVERY[:4], 3) == [0, 1, 3]


def test_what_is_not_allowed_is_never_chosen() -> None:
    assert Diverse().choose(pool("abcdef"), np.array([False, True] * 3), 6) == [1, 3, 5]


def why(days: float = np.nan, **said: float) -> str:
    quiet = {"own_gap_days": -1.0, "own_due": -1.0}
    one = [(quiet | said).get(name, 0.0) for name in COLUMNS]
    other = [quiet.get(name, 0.0) for name in COLUMNS]
    return reasons_of(np.array([one, other]), np.array([days, np.nan]))(0).english


@pytest.mark.parametrize(
    ("text", "days", "said"),
    [
        ("You buy this every 3 weeks.", 20.0, {"own_gap_days": 21.0, "personal": 1.0, "neighbours": 9.0}),
        ("You bought this 5 weeks ago.", 35.0, {"own_gap_days": 200.0, "personal": 1.0}),
        ("You bought this a day ago.", 1.0, {"personal": 1.0}),
        ("You bought this a day ago.", 1.0, {"personal": 1.0, "maker_share": 0.5, "category_share": 0.1}),
        ("You bought this before.", np.nan, {"personal": 0.1}),
        ("New to you, from a maker you like.", np.nan, {"maker_share": 0.2, "category_share": 0.1, "popular": 0.5}),
        ("Of a category you often buy.", np.nan, {"maker_share": 0.01, "category_share": 0.3}),
        ("Goes with what you buy.", np.nan, {"neighbours": 0.1}),
        ("People with your basket buy it.", np.nan, {"alike": 0.1}),
        ("Often bought in your store.", np.nan, {"store": 0.1}),
        ("Many shoppers buy it.", np.nan, {}),
    ],
)
def test_a_reason_says_what_the_shopper_did_before_who_proposed_it(
    text: str, days: float, said: dict[str, float]
) -> None:
    assert why(days, **said) == text


@pytest.mark.parametrize(("days", "text"), [(0.2, "day"), (10.4, "10 days"), (11, "2 weeks"), (45, "month")])
def test_a_span_is_told_in_the_unit_people_use(days: float, text: str) -> None:
    assert span(days)[0] == text
