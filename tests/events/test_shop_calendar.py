"""The shop's calendar follows the shop's own wall, whatever the clock of the server."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.core.clock import HOUR, from_us, to_us
from feature_repo.core.errors import SettingsError
from feature_repo.definitions.context import shop_calendar
from feature_repo.events.shop_calendar import COLUMNS, calendar_of, holidays_of

NEW_YORK = ZoneInfo("America/New_York")
ONE = dt.timedelta(days=1)


def told(*at: str, country: str = "US", zone: str = "America/New_York") -> pd.DataFrame:
    instants = np.array([to_us(dt.datetime.fromisoformat(each)) for each in at], np.int64)
    return pd.DataFrame(calendar_of(instants, country=country, zone=zone), columns=COLUMNS)


def naive(at: dt.datetime, country: str) -> dict[str, int]:
    """The same, a day at a time."""
    local = at.astimezone(NEW_YORK)
    today = local.date()

    def is_holiday(day: dt.date) -> bool:
        return day in holidays_of(country, day.year)

    def apart(step: dt.timedelta, fits) -> int:
        day, count = today, 0
        while not fits(day):
            day, count = day + step, count + 1
        return count

    def is_last(day: dt.date) -> bool:
        return (day + ONE).day == 1

    return {
        "weekday": local.isoweekday(),
        "hour": local.hour,
        "is_weekend": int(local.isoweekday() in {6, 7}),
        "days_to_month_end": apart(ONE, is_last),
        "days_since_month_end": apart(-ONE, is_last),
        "days_to_15th": apart(ONE, lambda day: day.day == 15),
        "days_since_15th": apart(-ONE, lambda day: day.day == 15),
        "is_holiday": int(is_holiday(today)),
        "days_to_holiday": apart(ONE, is_holiday),
        "days_since_holiday": apart(-ONE, is_holiday),
    }


@given(
    st.lists(
        # Half-hours around the ends of years and of a leap February; some of them are New York's midnights.
        st.builds(
            lambda year, half_hours: to_us(dt.datetime(*year, tzinfo=dt.UTC)) + half_hours * HOUR // 2,
            st.sampled_from([(2023, 12, 31), (2024, 2, 28), (2024, 11, 3), (2025, 12, 31), (2026, 3, 8)]),
            st.integers(-96, 1200),
        ).map(from_us),
        max_size=20,
    ),
    st.sampled_from(["US", "CN"]),
)
def test_many_instants_are_told_as_each_of_them_is_by_counting_days(at: list[dt.datetime], country: str) -> None:
    found = told(*(each.isoformat() for each in at), country=country)
    assert found.to_dict("records") == [naive(each, country) for each in at]


def test_a_day_begins_at_the_shops_midnight() -> None:
    found = told("2026-11-07T04:59:59.999999Z", "2026-11-07T05:00:00Z")
    assert found[["weekday", "hour", "is_weekend"]].to_numpy().tolist() == [[5, 23, 0], [6, 0, 1]]
    assert told("2026-11-06T15:59:59Z", "2026-11-06T16:00:00Z", zone="Asia/Shanghai")["weekday"].tolist() == [5, 6]


def test_hours_are_those_of_the_wall_through_both_changes_of_the_clock() -> None:
    assert told("2026-03-08T06:59Z", "2026-03-08T07:00Z")["hour"].tolist() == [1, 3]
    assert told("2026-11-01T05:30Z", "2026-11-01T06:30Z", "2026-11-01T07:00Z")["hour"].tolist() == [1, 1, 2]


def test_holidays_are_counted_over_the_new_year() -> None:
    found = told("2025-12-31T17:00Z", "2026-01-01T17:00Z", "2026-01-02T17:00Z")
    assert found["is_holiday"].tolist() == [0, 1, 0]
    assert found["days_to_holiday"].tolist() == [1, 0, 17]  # Martin Luther King Day is the 19th
    assert found["days_since_holiday"].tolist() == [6, 0, 1]


def test_pay_days_of_a_leap_february() -> None:
    found = told("2024-02-14T17:00Z", "2024-02-16T17:00Z", "2024-02-29T17:00Z", "2024-03-01T17:00Z")
    assert found["days_to_month_end"].tolist() == [15, 13, 0, 30]
    assert found["days_since_month_end"].tolist() == [14, 16, 0, 1]
    assert found["days_to_15th"].tolist() == [1, 28, 15, 14]
    assert found["days_since_15th"].tolist() == [30, 1, 14, 15]


def test_an_unknown_instant_has_an_unknown_calendar_and_no_instants_have_none() -> None:
    def view(at: list[pd.Timestamp | None]) -> pd.DataFrame:
        inputs = pd.DataFrame({"user_views_live__read_at": at}, index=range(7, 7 + len(at)))
        return shop_calendar.feature_transformation.udf(inputs)

    found = view([None, pd.Timestamp("2026-01-01T17:00Z")])
    assert found.loc[7].isna().all()
    assert found.loc[8, "is_holiday"] == 1
    assert set(found.columns) == {field.name for field in shop_calendar.features}
    assert view([]).empty


@pytest.mark.parametrize(
    ("country", "zone", "message"),
    [
        ("ZZ", "UTC", "PORTRAIT_COUNTRY is 'ZZ', of which no public holidays are known"),
        ("US", "Mars/Olympus", "PORTRAIT_ZONE is 'Mars/Olympus', which is no time zone"),
        ("US", "../etc", "PORTRAIT_ZONE is '../etc'"),
        ("US", "", "PORTRAIT_ZONE is ''"),
    ],
)
def test_a_country_or_a_zone_that_is_none_is_said_by_its_setting(country: str, zone: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        told("2026-01-01T17:00Z", country=country, zone=zone)
    assert caught.value.hint
