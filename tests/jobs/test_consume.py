"""A consumer brings each event into the log and into what is read, once, whatever else is going on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from feature_repo.core.clock import DAY, HOUR, SystemClock
from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.engine.feature_store import open_store
from feature_repo.engine.positions import Positions
from feature_repo.events.door import admit
from feature_repo.events.log import read_snapshot
from feature_repo.events.schema import arrow_schema, log_table, table_path
from feature_repo.events.stream.collector import Collector
from feature_repo.events.upkeep import compact
from feature_repo.jobs.consume import CONSUMERS, Consumer
from feature_repo.jobs.consuming.meter import Meter, Reading
from feature_repo.jobs.features import apply
from feature_repo.jobs.materialize import materialize
from serving import ProfileClient

USER = "u_" + "7" * 32
NOW = SystemClock().now_us()
VIEWS = ["user_purchases"]


def line(number: int, **columns: Any) -> dict[str, Any]:
    return {"event_type": "purchase", "event_id": f"p{number}", "user_id": USER, "amount": 2.5, **columns}


@pytest.fixture
def shop(settings: Settings) -> Settings:
    """Everything declared, and a view built over an empty log."""
    apply()
    materialize(settings, SystemClock(), views=VIEWS)
    return settings


def send(settings: Settings, *events: dict[str, Any]) -> None:
    with closing(Collector(settings, SystemClock())) as collector:
        assert collector.collect(list(events)).accepted == len(events)


def consume(settings: Settings) -> Reading:
    return Consumer(settings, SystemClock(), until_empty=True).run()


def read(settings: Settings, *names: str, user: str = USER) -> list[Any]:
    with ProfileClient(settings=settings) as portrait:
        table = portrait.features([user]).to_arrow()
    return [table[name][0].as_py() for name in names]


def rows(settings: Settings, name: str = "purchase") -> int:
    with duckdb.connect() as connection:
        path = table_path(settings.log_root, name)
        [(found,)] = connection.execute(f"SELECT count(*) FROM {read_snapshot(path).sql()}").fetchall()
    return int(found)


def test_an_event_is_in_the_log_and_in_the_profile_once_however_often_it_is_sent(shop: Settings) -> None:
    send(shop, line(1), line(2), line(1))
    first = consume(shop)
    assert (first.events, first.duplicates, first.lag) == (2, 1, 0)
    send(shop, line(2))
    again = consume(shop)
    assert (again.events, again.duplicates) == (0, 1)
    assert rows(shop) == 2
    assert read(shop, "user_purchases__count_28d", "user_purchases__amount_sum_84d") == [2, 5.0]


def test_a_late_event_lands_in_the_window_it_happened_in(shop: Settings) -> None:
    send(shop, line(1, event_timestamp=NOW - 40 * DAY), line(2))
    reading = consume(shop)
    assert (reading.events, reading.late) == (2, 1)
    assert read(shop, "user_purchases__count_28d", "user_purchases__count_84d") == [1, 2]


def test_an_event_past_its_retention_does_not_come_back_when_it_is_sent_again(shop: Settings) -> None:
    old, young = line(1, event_timestamp=NOW - 40 * DAY), line(2)
    send(shop, old, young)
    consume(shop)
    short = shop.model_copy(update={"retention": "purchase=30d"})
    assert compact(short, SystemClock()).tables["purchase"].removed_rows == 1
    send(shop, old, young, line(3))
    again = consume(short)
    assert (again.events, again.duplicates, again.expired) == (1, 1, 1)
    assert rows(shop) == 2
    assert read(shop, "user_purchases__count_84d") == [3]  # the old one, once, for as long as a window reaches it


def test_what_another_process_imported_is_folded_too(shop: Settings) -> None:
    stamp = pa.array([NOW - HOUR, NOW - HOUR]).cast(pa.timestamp("us", "UTC"))
    rows_ = pa.table({"event_id": ["i1", "p1"], "event_timestamp": stamp, "ingested_at": stamp, "user_id": [USER] * 2})
    assert admit(shop.log_root, "purchase", rows_, source="import").published == 2
    send(shop, line(1), line(2))
    assert consume(shop).duplicates == 1
    assert read(shop, "user_purchases__count_28d") == [3]


def test_a_state_that_is_built_while_events_come_misses_none(shop: Settings) -> None:
    send(shop, line(1))
    consume(shop)
    send(shop, line(2))
    materialize(shop, SystemClock(), views=VIEWS, full=True)
    consume(shop)
    materialize(shop, SystemClock(), views=VIEWS, full=True)
    assert read(shop, "user_purchases__count_28d") == [2]


def test_every_shard_is_at_the_head_afterwards_so_materialize_has_nothing_to_do(shop: Settings, redis: Any) -> None:
    send(shop, line(1), {**line(2), "user_id": "u_" + "1" * 32})
    consume(shop)
    head = read_snapshot(table_path(shop.log_root, "purchase")).version
    positions = Positions(redis, open_store().project)
    layout = positions.serving("user_purchases")
    assert layout is not None
    held = positions.position(layout.view, layout.state_hash, layout.generation)
    assert held is not None
    assert held.version == head
    assert {view.action for view in materialize(shop, SystemClock(), views=VIEWS).views} == {"at head"}


def test_events_of_types_nobody_declared_a_view_of_are_kept(shop: Settings) -> None:
    send(shop, {"event_type": "support", "event_id": "s1", "user_id": USER, "topic": "delivery"})
    assert consume(shop).events == 1
    assert rows(shop, "support") == 1


def test_a_view_without_a_state_keeps_nothing_from_the_log(settings: Settings) -> None:
    apply()
    send(settings, line(1))
    assert consume(settings).events == 1
    materialize(settings, SystemClock(), views=VIEWS)
    assert read(settings, "user_purchases__count_28d") == [1]


def test_a_consumer_that_is_told_to_stop_leaves_nothing_of_itself_behind(shop: Settings, redis: Any) -> None:
    seen: list[Reading] = []
    consumer = Consumer(shop, SystemClock())

    def look(reading: Reading) -> None:
        seen.append(reading)
        assert redis.hlen(CONSUMERS) == 1
        consumer.stop.set()

    consumer.progress = look
    consumer.run()
    assert seen
    assert redis.hlen(CONSUMERS) == 0


def test_without_a_redis_a_consumer_says_so_at_once(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_REDIS_URL", "redis://127.0.0.1:1/0")
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        Consumer(load_settings(), SystemClock()).run()


@pytest.mark.slow(6)
def test_the_command_ends_on_a_signal_with_a_report(shop: Settings) -> None:
    send(shop, line(1))
    command = [sys.executable, "-m", "feature_repo.cli", "jobs", "consume", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ), text=True) as child:
        while not rows(shop):
            assert child.poll() is None
        child.send_signal(signal.SIGTERM)
        out, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    report = json.loads(out)
    assert report["events"] == 1
    assert {"events_per_s", "lag", "freshness_ms", "late", "duplicates", "quarantined"} <= set(report)


def test_freshness_is_of_the_last_minute_and_none_without_events() -> None:
    meter = Meter(started=0)
    assert meter.read(at=1_000_000, lag=0).freshness_ms == {"p50": None, "p99": None}
    meter.visible(2_000_000, 10, np.array([1_900_000, 1_800_000]))
    assert meter.read(at=2_000_000, lag=0).freshness_ms == {"p50": 150.0, "p99": 199.0}
    assert meter.read(at=2_000_000, lag=0).events_per_s == 5.0
    assert meter.read(at=63_000_000, lag=0).freshness_ms == {"p50": None, "p99": None}


def test_every_declared_event_type_has_a_table_a_consumer_can_make(settings: Settings) -> None:
    log_table(settings.log_root, "wishlist").ensure()
    assert "user_id" in arrow_schema("wishlist").names
