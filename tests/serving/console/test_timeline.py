"""A timeline says what the log says: an order once, nothing left out between two stretches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from feature_repo.core.clock import FixedClock, to_us
from feature_repo.core.settings import Settings, load_settings
from feature_repo.events.door import admit
from feature_repo.events.schema import arrow_schema
from serving.console import timeline
from serving.console.desk import Desk
from serving.console.log import stretch, weekly
from serving.console.timeline import TimelineView, timeline_view
from serving.console.words import Words

ADA, BOB = ("u_" + digit * 32 for digit in "ab")
NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
EN = Words("en")


def put(settings: Settings, table: str, *rows: dict[str, Any]) -> None:
    base = {"user_id": ADA}
    whole = [
        {**base, "event_id": f"{table}{n}", "ingested_at": row["event_timestamp"], **row} for n, row in enumerate(rows)
    ]
    known = pa.schema([field for field in arrow_schema(table) if any(field.name in row for row in whole)])
    assert admit(settings.log_root, table, pa.Table.from_pylist(whole, schema=known), source="t").quarantined == {}


def hours(back: float) -> dict[str, Any]:
    return {"event_timestamp": NOW - timedelta(hours=back)}


@pytest.fixture
def settings(home: Path) -> Settings:
    return load_settings()


@pytest.fixture
def desk(settings: Settings) -> Iterator[Desk]:
    found = Desk.of(settings, FixedClock(to_us(NOW)))
    yield found
    found.portrait.close()


def told(view: TimelineView) -> list[tuple[str, str]]:
    return [(entry.what, entry.details) for entry in view.entries]


def test_an_order_is_one_entry_with_what_was_paid_and_what_for(desk: Desk) -> None:
    put(
        desk.settings,
        "purchase",
        {**hours(3), "order_id": "1", "category": "BEEF", "amount": 2.0},
        {**hours(3), "order_id": "1", "category": "SOUP", "amount": 5.5},
        {**hours(3), "order_id": "2", "category": "EGGS", "amount": 1.0},
    )
    put(desk.settings, "payment", {**hours(3), "order_id": "1", "amount": 7.5, "lines": 2})
    view = timeline_view(desk, ADA, "", EN)
    assert sorted(told(view)) == [
        ("Order", "amount 1.00, lines 1; EGGS"),
        ("Order", "amount 7.50, lines 2; SOUP, BEEF"),
    ]
    assert {entry.at.ago for entry in view.entries} == {"3 hours ago"}


def test_events_are_the_shoppers_own_in_order_and_in_words(desk: Desk) -> None:
    put(desk.settings, "search", {**hours(2), "query": "soup"}, {**hours(1), "query": "beef", "user_id": BOB})
    put(desk.settings, "consent", {**hours(1), "purpose": "risk", "granted": False})
    assert told(timeline_view(desk, ADA, "", Words("zh"))) == [("授权", "用途 risk，同意 否"), ("搜索", "搜索词 soup")]
    assert told(timeline_view(desk, ADA, (NOW - timedelta(hours=1)).isoformat(), EN)) == [("Search", "query soup")]


def test_of_what_did_not_happen_nothing_is_told(desk: Desk) -> None:
    assert timeline_view(desk, ADA, "", EN) == TimelineView((), "", ())
    put(desk.settings, "search", {**hours(2), "query": "soup"})
    assert timeline_view(desk, BOB, "", EN) == TimelineView((), "", ())
    assert told(timeline_view(desk, ADA, "no instant", EN)) == [("Search", "query soup")]


@pytest.mark.parametrize("most", [1, 2, 3, 100])
def test_stretches_one_after_another_are_all_there_is(settings: Settings, most: int) -> None:
    put(settings, "view", *(hours(back) for back in (1, 1, 2, 5, 5, 8)))
    put(settings, "click", *(hours(back) for back in (1, 3, 5, 9)))
    found, until = list[Any](), NOW
    while True:
        part = stretch(settings, ADA, until, most=most)
        found += part.events
        if part.rest is None:
            break
        assert part.rest < until
        until = part.rest
    times = [event.at for event in found]
    assert times == sorted(times, reverse=True)
    # Of more events of a table at one instant than are read, the rest is left out.
    assert {event.event_id for event in found} >= ({f"click{n}" for n in range(4)} if most == 1 else set())
    if most > 1:
        assert len({event.event_id for event in found}) == len(found) == 10


def test_pages_of_entries_leave_none_out(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "_SHOWN", 2)
    monkeypatch.setattr(timeline, "_READ", 4)
    put(desk.settings, "view", *({**hours(back), "category": f"C{n}"} for n, back in enumerate((1, 1, 1, 2, 3, 3, 4))))
    found, before = list[tuple[str, str]](), ""
    while True:
        view = timeline_view(desk, ADA, before, EN)
        found += told(view)
        before = view.older
        if not before:
            break
    assert sorted(found) == [("Page view", f"category C{n}") for n in range(7)]


def test_weeks_begin_on_monday_and_count_orders_once(settings: Settings) -> None:
    monday = datetime(2026, 3, 2, tzinfo=UTC)
    at: Sequence[datetime] = (monday, monday - timedelta(microseconds=1), monday + timedelta(days=2))
    put(settings, "payment", *({"event_timestamp": each, "amount": 1.0} for each in at))
    put(settings, "purchase", *({"event_timestamp": each, "amount": 1.0} for each in at))
    assert weekly(settings, ADA, NOW - timedelta(weeks=9), NOW) == {monday - timedelta(weeks=1): 1, monday: 2}
