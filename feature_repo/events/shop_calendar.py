"""What day it is in a shop at given instants: weekday, hour, pay-days, public holidays.

Everything follows the wall clock of the shop's time zone. Holidays come from the library `holidays`, a year at a time.
An answer is worked out once per quarter of an hour, which is all that offsets and hours need, and remembered.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from calendar import monthrange
from datetime import date, timedelta
from functools import lru_cache
from typing import NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from feature_repo.core.clock import MINUTE, from_us
from feature_repo.core.places import check_country, check_zone

Instants: TypeAlias = npt.NDArray[np.int64]
Table: TypeAlias = npt.NDArray[np.float64]

_QUARTER = 15 * MINUTE
_FRIDAY = 5
_PAY_DAY = 15


class Day(NamedTuple):
    """Calendar of one day; days are dates apart, 0 on the day itself; NaN where no holiday is within a year.

    ``weekday`` is 1 on Monday; ``is_weekend`` and ``is_holiday`` are 1 or 0.
    """

    weekday: int
    is_weekend: int
    days_to_month_end: int
    days_since_month_end: int
    days_to_15th: int
    days_since_15th: int
    is_holiday: int
    days_to_holiday: float
    days_since_holiday: float


COLUMNS = (*Day._fields, "hour")


def calendar_of(at: Instants, *, country: str, zone: str) -> Table:
    """Tell the calendar of instants.

    Parameters
    ----------
    at
        Microseconds since the epoch.
    country
        ISO 3166 code of two letters, whose nationwide public holidays count.
    zone
        IANA name of the time zone.

    Returns
    -------
    numpy.ndarray
        ``float64[n, 10]``: the columns ``COLUMNS``, the last of them the hour of the day.

    Raises
    ------
    SettingsError
        There is no such time zone, or no holidays of such a country are known.

    Examples
    --------
    >>> new_year = np.array([1_767_243_599_999_999, 1_767_243_600_000_000])
    >>> calendar_of(new_year, country="US", zone="America/New_York")[:, [6, 9]].tolist()
    [[0.0, 23.0], [1.0, 0.0]]
    """
    quarters, places = np.unique(at // _QUARTER, return_inverse=True)
    rows = [_of_quarter(quarter, country, zone) for quarter in quarters.tolist()]
    return np.array(rows, np.float64).reshape(-1, len(COLUMNS))[places]


@lru_cache(maxsize=65_536)
def _of_quarter(quarter: int, country: str, zone: str) -> tuple[float, ...]:
    wall = from_us(quarter * _QUARTER).astimezone(_zone(zone))
    return (*_of_day(wall.date(), country), wall.hour)


@lru_cache(maxsize=8_192)
def _of_day(day: date, country: str) -> Day:
    length = monthrange(day.year, day.month)[1]
    before = (day.replace(day=1) - timedelta(days=1)).day
    known = tuple(each for year in (day.year - 1, day.year, day.year + 1) for each in holidays_of(country, year))
    later, earlier = bisect_left(known, day), bisect_right(known, day)
    return Day(
        weekday=day.isoweekday(),
        is_weekend=int(day.isoweekday() > _FRIDAY),
        days_to_month_end=length - day.day,
        days_since_month_end=day.day % length,
        days_to_15th=(_PAY_DAY - day.day) if day.day <= _PAY_DAY else length - day.day + _PAY_DAY,
        days_since_15th=(day.day - _PAY_DAY) if day.day >= _PAY_DAY else before - _PAY_DAY + day.day,
        is_holiday=int(later < earlier),
        days_to_holiday=(known[later] - day).days if later < len(known) else np.nan,
        days_since_holiday=(day - known[earlier - 1]).days if earlier else np.nan,
    )


@lru_cache(maxsize=1_024)
def holidays_of(country: str, year: int) -> tuple[date, ...]:
    """Nationwide public holidays of a year, ascending.

    Raises
    ------
    SettingsError
        The library knows no holidays of such a country.
    """
    import holidays  # noqa: PLC0415 - only who asks for a calendar pays for it

    return tuple(sorted(holidays.country_holidays(check_country(country), years=year, expand=False)))


@lru_cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(check_zone(name))
