"""What was served is kept for so long as the settings say, and removed by the job that compacts."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from feature_repo import cli
from feature_repo.core.clock import DAY, SECOND, FixedClock, SystemClock, from_us
from feature_repo.core.settings import Settings, load_settings
from feature_repo.jobs.served import AT, ServedFacts, ServedRows, expire_served, read_served, write_served

FACTS = ServedFacts("profile_v1", "", ("user_id",), (), {}, ())
NOW = 20_000 * DAY + 1_234_567


def write(settings: Settings, *days: float, now: int = NOW) -> None:
    for each in days:
        at = from_us(now) - timedelta(days=each)
        rows = pa.table({AT: pa.array([at], pa.timestamp("us", "UTC")), "user_id": pa.array(["u_" + "0" * 32])})
        write_served(settings, ServedRows(FACTS, rows))


def ages(settings: Settings) -> list[float]:
    return sorted((from_us(NOW) - rows.table[AT][0].as_py()).total_seconds() / 86_400 for rows in read_served(settings))


def test_what_was_served_is_kept_for_thirty_days(home: Path) -> None:
    settings = load_settings()
    assert expire_served(settings, FixedClock(NOW)) == 0
    write(settings, 0, 29.9, 30, 30.1, 400)
    assert expire_served(settings, FixedClock(NOW)) == 2
    assert ages(settings) == [0, 29.9, 30]
    assert expire_served(settings, FixedClock(NOW)) == 0
    assert expire_served(settings, FixedClock(NOW + SECOND)) == 1


def test_a_retention_of_served_says_otherwise(home: Path) -> None:
    settings = load_settings(retention="view=1d,served=2d")
    write(settings, 1, 3)
    assert expire_served(settings, FixedClock(NOW)) == 1
    assert ages(settings) == [1]


def test_compact_removes_it(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PORTRAIT_RETENTION", "served=90d")
    write(load_settings(), 1, 89, 91, now=SystemClock().now_us())
    assert cli.main(["jobs", "compact", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["served_files_removed"] == 1
    assert len(list(read_served(load_settings()))) == 2
