"""Habits of made-up shoppers: counted by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from feature_repo.core.clock import FixedClock, to_us
from feature_repo.core.errors import DataError, DeclarationError
from feature_repo.core.settings import Settings
from feature_repo.events.door import admit
from feature_repo.events.log import read_snapshot
from feature_repo.events.schema import table_path
from feature_repo.jobs import habits as habits_job
from feature_repo.jobs.erase import erase
from feature_repo.jobs.features import apply
from feature_repo.jobs.habits import log_end, refresh_habits, write_habits

# A Monday at 09:00 in New York.
NOW = datetime(2026, 6, 1, 13, tzinfo=UTC)
ADA, BEN, CAT = (f"u_{n:032x}" for n in range(3))
CLOCK = FixedClock(to_us(NOW))
_US = pa.timestamp("us", "UTC")


def put(settings: Settings, table: str, rows: list[dict[str, Any]]) -> None:
    made = [{"event_id": f"{table}-{n}", "ingested_at": row["event_timestamp"], **row} for n, row in enumerate(rows)]
    names = dict.fromkeys(name for row in made for name in row)
    columns = {name: pa.array([row.get(name) for row in made]) for name in names}
    times = {name: columns[name].cast(_US) for name in ("event_timestamp", "ingested_at")}
    assert admit(settings.log_root, table, pa.table({**columns, **times}), source="test").published == len(made)


def visit(user: str, at: datetime, **facts: Any) -> dict[str, Any]:
    return {"user_id": user, "event_timestamp": at, "amount": 10.0, "lines": 2, **facts}


def line(user: str, category: str | None, **facts: Any) -> dict[str, Any]:
    at = NOW - timedelta(days=3)
    return {"user_id": user, "event_timestamp": at, "category": category, "amount": 1.0, "quantity": 1, **facts}


def written(settings: Settings) -> dict[str, dict[str, Any]]:
    import duckdb  # noqa: PLC0415

    snapshot = read_snapshot(table_path(settings.log_root, "user_habits"))
    rows = duckdb.sql(f"FROM {snapshot.sql()} ORDER BY event_timestamp, log_version").to_arrow_table().to_pylist()
    return {row["user_id"]: row for row in rows}


@pytest.fixture
def shop_log(settings: Settings) -> Settings:
    apply()
    return settings


def test_favourites_are_the_most_frequent_and_ties_go_by_name(shop_log: Settings) -> None:
    lines = ["B", "B", "A", "A", "C", None, "D"]
    put(shop_log, "purchase", [line(ADA, each, brand="x") for each in lines] + [line(BEN, "A")] * 1)
    write_habits(shop_log, CLOCK)
    found = written(shop_log)[ADA]
    assert [found[name] for name in ("favourite_category", "second_category", "third_category")] == ["A", "B", "C"]
    assert found["category_share"] == pytest.approx(2 / 6)
    assert (found["favourite_brand"], found["brand_share"]) == ("x", 1.0)
    # One line is no habit.
    assert written(shop_log)[BEN]["favourite_category"] is None


def test_an_event_at_the_instant_is_not_known_and_one_before_the_window_is_forgotten(shop_log: Settings) -> None:
    at, us = NOW - timedelta(days=3), timedelta(microseconds=1)
    ages = {"X": timedelta(0), "A": us, "B": timedelta(days=182), "Y": timedelta(days=182) + us}
    lines = [line(ADA, category, event_timestamp=at - age) for category, age in ages.items()]
    put(shop_log, "purchase", lines + [line(ADA, "A", event_timestamp=at - timedelta(days=1))] * 3)
    write_habits(shop_log, CLOCK, at=to_us(at))
    # Of the five lines that are within, four are A and one is B.
    assert (written(shop_log)[ADA]["favourite_category"], written(shop_log)[ADA]["category_share"]) == ("A", 4 / 5)


def test_weekday_and_hours_are_those_of_the_shops_clock(shop_log: Settings) -> None:
    # Sundays 20:30 in New York, which are Mondays 00:30 UTC; a visit each week, and two on a Wednesday morning.
    sundays = [datetime(2026, 5, 25, 0, 30, tzinfo=UTC) - timedelta(weeks=n) for n in range(5)]
    wednesdays = [datetime(2026, 5, 27, 13, 0, tzinfo=UTC) - timedelta(weeks=n) for n in range(2)]
    put(shop_log, "payment", [visit(ADA, at) for at in (*sundays, *wednesdays)])
    write_habits(shop_log, CLOCK)
    found = written(shop_log)[ADA]
    assert (found["weekday"], found["weekday_share"]) == (7, pytest.approx(5 / 7))
    assert (found["daypart"], found["daypart_share"]) == ("evening", pytest.approx(5 / 7))
    assert found["cycle_days"] == pytest.approx(5.5)  # of gaps 7, 7, 7, 3, 4, 3


def test_ranks_are_among_those_who_came_lately(shop_log: Settings) -> None:
    lately = NOW - timedelta(days=2)
    put(
        shop_log,
        "payment",
        [
            visit(ADA, lately, amount=50.0, lines=9),
            visit(BEN, lately, amount=5.0, lines=None),
            visit(BEN, lately - timedelta(days=1), amount=6.0, lines=None),
            visit(CAT, NOW - timedelta(days=100), amount=500.0),
        ],
    )
    write_habits(shop_log, CLOCK)
    found = written(shop_log)
    assert (found[ADA]["spend_rank"], found[BEN]["spend_rank"], found[CAT]["spend_rank"]) == (1.0, 0.0, None)
    assert (found[ADA]["visit_rank"], found[BEN]["visit_rank"]) == (0.0, 1.0)
    assert (found[ADA]["basket_rank"], found[BEN]["basket_rank"]) == (0.0, None)


def test_who_chooses_dearer_items_of_a_category_ranks_higher(shop_log: Settings) -> None:
    def bought(user: str, items: list[int]) -> list[dict[str, Any]]:
        return [line(user, "SOUP", item_id=str(n), amount=float(n + 1)) for n in items * 5]

    lines = bought(ADA, [3, 4, 4, 4]) + bought(BEN, [0, 1, 2, 0]) + bought(CAT, [0])
    put(shop_log, "purchase", lines)
    write_habits(shop_log, CLOCK)
    found = written(shop_log)
    assert [found[user]["price_rank"] for user in (ADA, BEN, CAT)] == [1.0, 0.0, None]


def test_twice_is_once_and_another_definition_is_written_anew(
    shop_log: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(shop_log, "payment", [visit(ADA, NOW - timedelta(days=9)), visit(BEN, NOW - timedelta(days=1))])
    first = write_habits(shop_log, CLOCK, weeks=1)
    assert (first.rows, first.known, first.instants) == (3, 0, 2)  # Ben had not come a week before
    again = write_habits(shop_log, CLOCK, weeks=1)
    assert (again.rows, again.known) == (0, 3)
    same = habits_job.habits_sql
    monkeypatch.setattr(habits_job, "habits_sql", lambda *a, **k: same(*a, **k) + "\n-- another")
    assert write_habits(shop_log, CLOCK).rows == 2


def test_a_refresh_writes_once_a_week_of_the_log(shop_log: Settings) -> None:
    assert "no orders" in refresh_habits(shop_log, CLOCK, dry_run=False)
    put(shop_log, "payment", [visit(ADA, NOW - timedelta(days=8))])
    assert "would be written" in refresh_habits(shop_log, CLOCK, dry_run=True)
    assert "1 rows written" in refresh_habits(shop_log, CLOCK, dry_run=False)
    assert "younger than a week" in refresh_habits(shop_log, CLOCK, dry_run=False)
    put(shop_log, "payment", [visit(BEN, NOW - timedelta(days=1), event_id="later")])
    assert "2 rows written" in refresh_habits(shop_log, CLOCK, dry_run=False)


def test_who_is_erased_has_no_habits_and_gets_none(shop_log: Settings) -> None:
    put(shop_log, "payment", [visit(ADA, NOW - timedelta(days=9)), visit(BEN, NOW - timedelta(days=1))])
    write_habits(shop_log, CLOCK)
    report = erase(shop_log, CLOCK, ADA, pause=lambda _s: None)
    assert (report.rows["user_habits"], report.found) == (1, 0)
    write_habits(shop_log, CLOCK, at=to_us(NOW))
    assert set(written(shop_log)) == {BEN}


def test_a_log_without_orders_and_the_future_are_refused(shop_log: Settings) -> None:
    with pytest.raises(DataError, match="no orders"):
        log_end(shop_log)
    with pytest.raises(DeclarationError, match="future"):
        write_habits(shop_log, CLOCK, at=CLOCK.now_us() + 1)
