"""Local wall time is a scale: one to one, in order, and equal to the clock on the wall away from a change."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.core.clock import HOUR, MINUTE, SECOND, to_us
from feature_repo.events.wall_clock import WEEK, wall_clock

FIRST, LAST = to_us(datetime(2016, 6, 1, tzinfo=UTC)), to_us(datetime(2031, 1, 1, tzinfo=UTC))
ZONES = ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Shanghai", "UTC"]
CLOCKS = {zone: wall_clock(zone, first_us=FIRST, last_us=LAST) for zone in ZONES}
SPRING = to_us(datetime(2017, 3, 12, 7, tzinfo=UTC))  # 02:00 becomes 03:00 in New York
AUTUMN = to_us(datetime(2017, 11, 5, 6, tzinfo=UTC))  # 02:00 becomes 01:00 in New York
NEAR_A_CHANGE = st.one_of(
    st.integers(-180, 180).map(lambda minutes: SPRING + minutes * MINUTE),
    st.integers(-180, 180).map(lambda minutes: AUTUMN + minutes * MINUTE),
)
INSTANTS = st.one_of(NEAR_A_CHANGE, st.integers(FIRST // SECOND, LAST // SECOND).map(lambda at: at * SECOND))


@pytest.mark.parametrize("zone", ZONES)
@given(st.lists(INSTANTS, min_size=2), st.integers(-20, 500))
def test_a_shift_by_weeks_keeps_every_event_and_their_order(zone: str, drawn: list[int], weeks: int) -> None:
    clock, at = CLOCKS[zone], np.array(sorted(set(drawn)), np.int64)
    moved = clock.to_utc(clock.to_wall(at) + weeks * WEEK)
    assert (np.diff(moved) > 0).all()
    assert np.array_equal(clock.to_utc(clock.to_wall(moved) - weeks * WEEK), at)


@pytest.mark.parametrize("zone", ZONES)
@given(INSTANTS)
def test_the_wall_shows_local_time_more_than_two_hours_from_a_change(zone: str, at: int) -> None:
    local = datetime.fromtimestamp(at // SECOND, ZoneInfo(zone))
    offsets = {
        datetime.fromtimestamp(at // SECOND + hours * 3600, ZoneInfo(zone)).utcoffset() for hours in (-2, -1, 0, 1, 2)
    }
    if len(offsets) == 1:
        assert int(CLOCKS[zone].to_wall(np.array([at]))[0]) == to_us(local.replace(tzinfo=UTC))


@pytest.mark.parametrize("zone", ZONES)
@given(INSTANTS)
def test_the_wall_shows_the_local_date_always(zone: str, at: int) -> None:
    shown = datetime.fromtimestamp(int(CLOCKS[zone].to_wall(np.array([at]))[0]) // SECOND, UTC).date()
    assert shown == datetime.fromtimestamp(at // SECOND, ZoneInfo(zone)).date()


@pytest.mark.parametrize(
    ("at", "wall"),
    [
        (SPRING - HOUR, "01:00"),
        (SPRING - 30 * MINUTE, "02:00"),
        (SPRING, "03:00"),
        (AUTUMN - HOUR, "01:00"),
        (AUTUMN, "01:30"),
        (AUTUMN + HOUR, "02:00"),
    ],
)
def test_the_hours_around_a_change_are_stretched(at: int, wall: str) -> None:
    shown = int(CLOCKS["America/New_York"].to_wall(np.array([at]))[0])
    assert datetime.fromtimestamp(shown // SECOND, UTC).strftime("%H:%M") == wall


def test_shop_hours_survive_where_a_shift_in_utc_would_move_them() -> None:
    clock = CLOCKS["America/New_York"]
    noon = np.array([to_us(datetime(2017, 3, 20, 16, tzinfo=UTC))])  # 12:00 in summer time
    moved = int(clock.to_utc(clock.to_wall(noon) - 2 * WEEK)[0])
    assert datetime.fromtimestamp(moved // SECOND, UTC) == datetime(2017, 3, 6, 17, tzinfo=UTC)
