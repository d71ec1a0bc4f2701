"""The log says what it holds."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from feature_repo.core.errors import LogError
from feature_repo.core.settings import Settings
from feature_repo.events.complete_journey import TABLE_NAMES
from feature_repo.events.door import admit
from feature_repo.events.schema import log_table
from feature_repo.events.stats import campaigns, log_stats


def test_an_empty_home_has_no_tables(own_settings: Settings) -> None:
    assert log_stats(own_settings) == []


def test_an_empty_table_has_no_first_event(own_settings: Settings) -> None:
    log_table(own_settings.log_root, "view").ensure()
    [view] = log_stats(own_settings)
    assert (view.name, view.rows, view.users, view.first, view.last) == ("view", 0, 0, None, None)
    assert (view.version, view.files, view.bytes) == (0, 0, 0)


def test_every_table_is_counted(demo) -> None:
    found = {stats.name: stats for stats in log_stats(demo.settings)}
    assert set(found) == set(TABLE_NAMES)
    assert {name: stats.rows for name, stats in found.items()} == demo.report.published
    assert found["purchase"].users == 2_469
    assert found["items"].users is None
    assert found["purchase"].quarantined == {"no_money": 5_834}
    assert found["payment"].quarantined == {}
    assert all(stats.bytes > 0 and stats.files > 0 for stats in found.values())


def test_campaigns_cut_off_by_the_data_are_censored(demo) -> None:
    rows = campaigns(demo.settings).to_pylist()
    assert {row["campaign_id"] for row in rows if row["censored"]} == {"24", "25", "26", "15", "20", "21", "22", "23"}
    assert sum(row["users"] for row in rows) == 6_589
    assert [row["starts_at"] for row in rows] == sorted(row["starts_at"] for row in rows)


def add(settings: Settings, name: str, **columns: object) -> Path:
    """One row of a table, and the file it is in; the row of an invalid one goes to quarantine."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    row = {"event_id": "a", "event_timestamp": at, "ingested_at": at, "user_id": "u_" + "0" * 32, **columns}
    admit(settings.log_root, name, pa.table({key: [value] for key, value in row.items()}), source="test")
    return next((settings.log_root / name).glob("*.parquet"), settings.log_root)


def test_a_lost_file_of_any_table_is_said_by_name(own_settings: Settings) -> None:
    add(own_settings, "campaign_exposure", campaign_id="1")
    add(own_settings, "purchase", user_id="Ada")
    next((own_settings.log_root / "quarantine").glob("*.parquet")).unlink()
    with pytest.raises(LogError, match="Table 'quarantine' of the event log cannot be read"):
        log_stats(own_settings)
    own_settings.log_root.joinpath("quarantine").rename(own_settings.home / "away")
    add(own_settings, "purchase").write_bytes(b"not parquet at all")
    with pytest.raises(LogError, match="Table 'purchase' of the event log cannot be read"):
        log_stats(own_settings)
    with pytest.raises(LogError, match="Table 'purchase' of the event log cannot be read"):
        campaigns(own_settings)
