"""Sentences say what the values say: by rules anybody can check, without a shop."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.core.clock import DAY, HOUR
from serving.reasons.deeds import DEEDS, SUMS, Deed, deed_of
from serving.reasons.sentences import Windowed, by_label, compared, number, since, stated, told

SPEND, VISITS = DEEDS["payment", "amount"], DEEDS["payment", ""]
COUPONS = DEEDS["coupon_redeem", ""]
MOST = 10**9

AMOUNTS = [
    (SPEND, 28, 38.0, 84, 238.0, "Spent 62% less per day in the last 28 days than in the 56 days before"),
    (SPEND, 28, 100.0, 56, 150.0, "Spent 100% more per day in the last 28 days than in the 28 days before"),
    (SPEND, 28, 50.0, 56, 100.0, "Spent as much per day in the last 28 days as in the 28 days before"),
    (SPEND, 7, 120.0, 84, 240.0, "Spent 11 times as much per day in the last 7 days as in the 77 days before"),
    (SPEND, 28, 45.1, 84, 45.1, "Spent 45.10 in the last 28 days, after nothing in the 56 days before"),
    (SPEND, 28, 0.0, 84, 45.1, "Spent nothing in the last 28 days, after 45.10 in the 56 days before"),
    (SPEND, 28, 0.0, 84, 0.0, "Spent nothing in the last 84 days"),
    (SPEND, 28, 0.30000000000000004, 84, 0.3, "Spent 0.30 in the last 28 days, after nothing in the 56 days before"),
    (SPEND, 28, -5.0, 84, 20.0, "Spent 20 in the last 84 days"),
    (SPEND, 28, None, 84, None, "Spent in the last 84 days: not known"),
    (VISITS, 28, 2, 84, 8, "Came 33% less often in the last 28 days than in the 56 days before"),
    (COUPONS, 84, 1, 182, 3, "Redeemed 42% fewer coupons per day in the last 84 days than in the 98 days before"),
    (COUPONS, 84, 1, 182, 1, "Redeemed 1 coupon in the last 84 days, after nothing in the 98 days before"),
]


@pytest.mark.parametrize(("deed", "short", "recent", "long", "whole", "said"), AMOUNTS)
def test_amounts_of_nested_windows_are_compared_by_their_rates(
    deed: Deed, short: int, recent: float | None, long: int, whole: float | None, said: str
) -> None:
    assert compared(deed, Windowed(short * DAY, recent), Windowed(long * DAY, whole)).english == said


def test_hours_are_compared_by_the_hour() -> None:
    said = compared(DEEDS["view", ""], Windowed(HOUR, 3), Windowed(6 * HOUR, 8))
    assert said.english == "Opened 200% more pages per hour in the last 1 hour than in the 5 hours before"
    assert said.chinese == "近1小时的每小时浏览次数比此前5小时多200%"


@given(st.integers(1, 5), st.integers(6, 60), st.integers(0, MOST), st.integers(0, MOST))
def test_more_is_said_only_of_what_is_more(short: int, long: int, recent: int, earlier: int) -> None:
    said = compared(COUPONS, Windowed(short * DAY, recent), Windowed(long * DAY, recent + earlier)).english
    faster = recent * (long - short) > earlier * short
    assert not ("fewer" in said and faster)
    assert not (("% more" in said or "times as" in said) and not faster)


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (None, "Did not come in the last 364 days"),
        (0.01, "Last came less than an hour ago"),
        (0.05, "Last came 1 hour ago"),
        (0.99, "Last came 23 hours ago"),
        (1.0, "Last came 1 day ago"),
        (12.9, "Last came 12 days ago"),
    ],
)
def test_the_last_visit_is_told_in_whole_days_that_have_passed(days: float | None, said: str) -> None:
    assert since(VISITS, days, 364 * DAY).english == said


def test_what_has_no_words_of_its_own_is_told_by_its_label() -> None:
    deed = by_label("Number of {odd} sales in 28d.", "近28天销售次数")
    assert told(deed, Windowed(28 * DAY, 1200)).english == "Number of {odd} sales: 1,200 in the last 28 days"
    assert compared(deed, Windowed(DAY, 2), Windowed(2 * DAY, 3)).english == (
        "Number of {odd} sales: 100% more per day in the last 1 day than in the 1 day before"
    )
    assert told(deed, Windowed(28 * DAY, 0)).chinese == "近28天销售次数为0"


def test_other_values_stand_behind_their_labels() -> None:
    assert stated("Visits with a coupon, of all in 84 days.", "", 0.25, share=True).english == (
        "Visits with a coupon, of all in 84 days: 25%"
    )
    assert stated("Mean spend of one visit in 84d.", "近84天", None).chinese == "近84天：未知"
    assert stated("Age band.", "年龄段", "45-54").english == "Age band: 45-54"


def test_something_of_the_shoppers_is_named_first() -> None:
    said = told(DEEDS["purchase", ""], Windowed(28 * DAY, 2)).about({"category": "SOFT DRINKS"})
    assert said.english == "Of SOFT DRINKS: bought 2 order lines in the last 28 days"
    assert said.chinese.startswith("SOFT DRINKS：")
    assert told(VISITS, Windowed(DAY, 2)).about({}).english == "Came 2 times in the last 1 day"


def test_numbers_are_written_for_readers() -> None:
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    found = [number(each) for each in (None, True, 1234567, 1234.5, 7.0, at, "text", float("inf"))]
    assert found == ["not known", "yes", "1,234,567", "1,234.50", "7", "2026-01-02 03:04 UTC", "text", "inf"]


def test_every_deed_can_be_told() -> None:
    for (table, column), deed in {**DEEDS, **SUMS}.items():
        assert deed_of(table, column, "sum" if (table, column) in SUMS else "count") in (
            deed,
            SUMS.get((table, column)),
        )
        said = compared(deed, Windowed(DAY, 3), Windowed(3 * DAY, 10))
        assert "{" not in said.english + said.chinese + told(deed, Windowed(DAY, 5)).english
