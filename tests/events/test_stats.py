"""The log says what it holds."""

from feature_repo.core.settings import Settings
from feature_repo.events.complete_journey import TABLE_NAMES
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
