"""Times on a wall are placed as the standard library places them, one by one."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.core.clock import SECOND, from_us, to_us
from feature_repo.events.importing.local_time import place

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Shanghai", "Africa/Casablanca", "UTC"]
CHANGES = list(
    map(
        datetime.fromisoformat,
        ["2024-03-31", "2024-10-27", "2024-03-10", "2024-11-03", "2024-04-07", "2024-10-06", "1986-05-04"],
    )
)
FIRST, LAST = datetime.fromisoformat("1971-01-01"), datetime.fromisoformat("2099-01-01")


GRID = [
    day + timedelta(minutes=30 * step, microseconds=one)
    for day in CHANGES
    for step in range(-4, 13)
    for one in (-1, 0, 1)
]


@pytest.mark.parametrize("zone", ZONES)
def test_around_a_change_a_wall_time_is_placed_as_zoneinfo_places_it(zone: str) -> None:
    for wall in GRID:
        check(wall, zone)


@pytest.mark.parametrize("zone", ZONES)
@given(wall=st.datetimes(FIRST, LAST))
def test_anywhere_a_wall_time_is_placed_as_zoneinfo_places_it(zone: str, wall: datetime) -> None:
    check(wall, zone)


def check(wall: datetime, zone: str) -> None:
    region = ZoneInfo(zone)
    found = place(np.array([to_us(wall.replace(tzinfo=UTC))]), zone)
    first, second = (wall.replace(tzinfo=region, fold=fold).astimezone(UTC) for fold in (0, 1))
    exists = first.astimezone(region).replace(tzinfo=None) == wall
    assert bool(found.skipped[0]) == (not exists)
    assert bool(found.twice[0]) == (exists and first != second)
    # For a time that does not exist, fold 0 is the offset before the change: as if the clock had not been moved.
    assert from_us(int(found.earlier[0])) == first
    assert from_us(int(found.later[0])) == (second if exists else first)


def test_both_ends_of_the_missing_hour_are_what_they_are() -> None:
    start = to_us(datetime(2024, 3, 31, 2, tzinfo=UTC))
    found = place(np.array([start - 1, start, start + 3600 * SECOND - 1, start + 3600 * SECOND]), "Europe/Berlin")
    assert found.skipped.tolist() == [False, True, True, False]
