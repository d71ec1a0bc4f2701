"""Which snapshot is meant."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from feature_repo.core.clock import FixedClock, to_us
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from made_snapshots import write_snapshot
from serving.audiences.snapshots import all_snapshots, find_snapshot, read_instant

# Friday in New York, where it is 22:30 on the 27th; Saturday in UTC.
NOW = FixedClock(to_us(datetime(2026, 11, 28, 3, 30, tzinfo=UTC)))

INSTANTS = {
    "2026-11-24": "2026-11-25T05:00:00+00:00",
    "2026-07-01": "2026-07-02T04:00:00+00:00",
    "tuesday": "2026-11-25T05:00:00+00:00",
    "last Tuesday": "2026-11-25T05:00:00+00:00",
    "friday": "2026-11-21T05:00:00+00:00",
    "yesterday": "2026-11-27T05:00:00+00:00",
    "2026-11-24T12:00Z": "2026-11-24T12:00:00+00:00",
    "2026-11-24T12:00": "2026-11-24T17:00:00+00:00",
}


@pytest.mark.parametrize("text", INSTANTS)
def test_a_date_is_its_end_and_a_weekday_the_last_one_that_is_over_where_the_shops_are(text: str) -> None:
    assert read_instant(text, Settings(), NOW).isoformat() == INSTANTS[text]


@pytest.mark.parametrize("text", ["soon", "2026-13-01", "", "last", "24.11.2026"])
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="is no instant"):
        read_instant(text, Settings(), NOW)


def test_the_latest_snapshot_at_or_before_an_instant_is_meant(tmp_path: Path) -> None:
    made = Settings(home=tmp_path)
    for day in ("24", "17", "10"):
        write_snapshot(tmp_path, {"tag__risk": ["high"]}, as_of=f"2026-11-{day}T00:00:00Z")
    write_snapshot(tmp_path, {"tag__risk": ["high"]}, as_of="2026-11-25T00:00:00Z").rename(
        tmp_path / "snapshots" / ".20261125.partial"
    )
    assert [each.as_of.day for each in all_snapshots(made)] == [10, 17, 24]
    assert find_snapshot(made).as_of.day == 24
    assert find_snapshot(made, datetime(2026, 11, 17, tzinfo=UTC)).as_of.day == 17
    assert find_snapshot(made, datetime(2026, 11, 16, 23, 59, tzinfo=UTC)).as_of.day == 10


def test_no_snapshot_says_how_to_make_one(tmp_path: Path) -> None:
    made = Settings(home=tmp_path)
    with pytest.raises(DataError) as raised:
        find_snapshot(made)
    assert "portrait tags compute" in raised.value.hint
    write_snapshot(tmp_path, {"tag__risk": ["high"]})
    with pytest.raises(DataError, match=r"as of 2026-11-01T00:00:00Z or before; the first is of 2026-11-24") as raised:
        find_snapshot(made, datetime(2026, 11, 1, tzinfo=UTC))
    assert "portrait tags compute --at 2026-11-01T00:00:00Z" in raised.value.hint


@pytest.mark.parametrize("text", ["", "{}", '{"as_of": 3}', '{"as_of": "2026-11-24T00:00:00"}'])
def test_a_snapshot_that_does_not_say_when_is_named(tmp_path: Path, text: str) -> None:
    folder = write_snapshot(tmp_path, {"tag__risk": ["high"]})
    (folder / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=f"{folder.name} does not say as of when"):
        all_snapshots(Settings(home=tmp_path))
