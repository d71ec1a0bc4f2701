"""Every cause of a mismatch, brought about in a real Redis and a real log, is found and called by its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from feast import FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.data_format import DeltaFormat
from feast.types import Float64, Int64, String, UnixTimestamp

from feast_stores import entities_of, source_of, visits_view
from feature_repo import cli
from feature_repo.core.clock import DAY, HOUR, FixedClock, SystemClock, from_us
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.batch_engine import materialize_view
from feature_repo.engine.builder import StateBuilder
from feature_repo.engine.entity_keys import entity_keys
from feature_repo.engine.positions import Positions
from feature_repo.engine.spec import windowed_view_of
from feature_repo.events.log import LogTable
from feature_repo.jobs import parity as job
from feature_repo.jobs.causes import Cause
from feature_repo.jobs.parity import ParityReport, parity
from histories import SCHEMA, Event, log_of, table_of

PROJECT = "causes"
USER = {"user_id": ValueType.STRING}
TTL = timedelta(days=30)
FACTS = pa.schema([*SCHEMA, pa.field("size", pa.int64()), pa.field("seen", pa.timestamp("us", "UTC"))])


@dataclasses.dataclass
class Shop:
    """Two views over logs of the test's own: ``visits`` has windows, ``facts`` is ordinary and expires."""

    settings: Settings
    store: FeatureStore
    redis: Any
    events: LogTable
    facts: LogTable
    now: int

    def view(self, name: str) -> FeatureView:
        [found] = [view for view in self.store.list_all_feature_views() if view.name == name]
        return found

    def materialize(self, *names: str, full: bool = False) -> None:
        for name in names or ("visits", "facts"):
            view = self.view(name)
            materialize_view(view, project=PROJECT, settings=self.settings, clock=FixedClock(self.now), full=full)

    def happen(self, *ids: str, amount: float = 1.5, user: str = "u0") -> None:
        rows = table_of([Event(user, "a", self.now - HOUR, 0, 3, amount)] * len(ids))
        self.events.commit(rows.set_column(0, "event_id", pa.array(ids)))

    def tell(self, event_id: str, size: int, *, ago: int = HOUR, user: str = "u0") -> None:
        at = from_us(self.now - ago)
        row = {"event_id": event_id, "event_timestamp": at, "ingested_at": at, "user_id": user, "size": size}
        self.facts.commit(pa.Table.from_pylist([{**row, "amount": 0.1, "seen": at}], schema=FACTS))

    def key(self, user: str = "u0") -> bytes:
        [key] = entity_keys(PROJECT, ["user_id"], [pa.array([user])])
        return key

    @property
    def field(self) -> bytes:
        layout = Positions(self.redis, PROJECT).serving("visits")
        assert layout
        return layout.field

    def parity(self, *views: str, at: int | None = None) -> ParityReport:
        return parity(self.settings, FixedClock(at or self.now), views=list(views) or None)

    def causes(self, *views: str) -> set[str]:
        return set(self.parity(*views).by_cause)


def facts_view(path: Path) -> FeatureView:
    source = FileSource(
        name="facts_log",
        path=str(path),
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="ingested_at",
        field_mapping={"amount": "weight"},
    )
    kinds = {"size": Int64, "weight": Float64, "seen": UnixTimestamp, "user_id": String}
    return FeatureView(
        name="facts",
        entities=entities_of(USER),
        source=source,
        ttl=TTL,
        schema=[Field(name=name, dtype=kind) for name, kind in kinds.items()],
    )


@pytest.fixture
def shop(settings: Settings, redis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    config = RepoConfig(
        project=PROJECT,
        provider="local",
        registry=str(tmp_path / "registry.db"),
        offline_store={"type": "feature_repo.engine.offline_store.WindowedDuckDBOfflineStore"},
        online_store={"type": "feature_repo.engine.online_store.WindowedRedisOnlineStore"},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    facts = LogTable(tmp_path / "facts", FACTS)
    facts.ensure()
    shop = Shop(settings, store, redis, log_of(tmp_path / "events"), facts, SystemClock().now_us())
    events = source_of("events_log", tmp_path / "events", delta=True, field_mapping={"event_timestamp": "happened"})
    store.apply([*entities_of(USER), visits_view(events, USER), facts_view(tmp_path / "facts")])
    monkeypatch.setattr(job, "open_store", lambda: store)
    shop.happen("e0", "e1")
    shop.happen("e2", amount=0.1, user="u1")
    shop.tell("f0", 7)
    shop.tell("f1", 8, user="u1")
    shop.materialize()
    yield shop
    online: Any = store._get_provider().online_store
    if online._client:
        online._client.close()


def test_what_was_materialized_has_no_mismatch(shop: Shop) -> None:
    report = shop.parity()
    assert report.mismatches == 0, report
    assert report.checked == 3 * (2 + 3)  # features of two shoppers, and of one nobody has


def test_what_is_committed_and_not_applied_is_no_mismatch(shop: Shop) -> None:
    shop.happen("e3")
    shop.tell("f2", 9, ago=0)
    assert shop.parity().mismatches == 0


def test_what_is_applied_and_has_no_position_yet_is_no_mismatch(shop: Shop) -> None:
    before = Positions(shop.redis, PROJECT).held(shop.view("visits"))
    shop.happen("e3")
    shop.materialize("visits")
    layout = Positions(shop.redis, PROJECT).serving("visits")
    Positions(shop.redis, PROJECT).advance(layout, before)
    assert shop.parity("visits").mismatches == 0


@pytest.mark.parametrize("lost", ["serve:visits", "at:visits"])
def test_a_view_without_state_or_position_is_not_materialized(shop: Shop, lost: str) -> None:
    positions = Positions(shop.redis, PROJECT)
    [field] = [name for name in shop.redis.hkeys(positions.key) if name.startswith(lost.encode())]
    shop.redis.hdel(positions.key, field)
    assert shop.parity("visits").by_cause == {"not materialized": 1}


def test_a_view_of_another_table_than_there_is_was_recreated(shop: Shop, tmp_path: Path) -> None:
    for table in (shop.events, shop.facts):
        table.path.rename(tmp_path / f"old_{table.path.name}")
        table.ensure()
    shop.happen("e0")
    shop.tell("f0", 9)
    report = shop.parity()
    assert report.by_cause == {"recreated table": 2}
    assert report.by_view == {"visits": 1, "facts": 1}
    shop.materialize()
    assert shop.parity().mismatches == 0


def test_a_table_behind_redis_has_lost_commits(shop: Shop, tmp_path: Path) -> None:
    newest = max((shop.events.path / "_delta_log").glob("*.json"))
    newest.rename(tmp_path / "kept.json")
    assert shop.parity("visits").by_cause == {"lost commits": 1}


def test_what_the_served_state_cannot_answer_is_of_another_definition(shop: Shop) -> None:
    spec = windowed_view_of(shop.view("visits"))
    counts = (spec.feature("count_24h"),)
    with closing(connect_duckdb(shop.settings)) as connection:
        keeper = StateBuilder(connection, shop.redis, PROJECT, FixedClock(shop.now))
        keeper.bring_to_head(dataclasses.replace(spec, features=counts))
    report = shop.parity("visits")
    assert report.by_cause == {"other definition": 3}
    assert report.by_feature == {"visits:amount_sum_24h": 3}


def test_a_state_that_cannot_be_decoded_is_unreadable_and_hides_no_other(shop: Shop) -> None:
    state = shop.redis.hget(shop.key(), shop.field)
    shop.redis.hset(shop.key(), shop.field, state[:-3])
    values = sorted(name for name in shop.redis.hkeys(shop.key("u1")) if b":" not in name)
    shop.redis.hset(shop.key("u1"), values[0], b"\xff\xff")
    shop.redis.hdel(shop.key("u1"), shop.field)
    assert shop.causes("visits") == {"unreadable state", "entity missing"}
    assert shop.causes("facts") == {"unreadable state"}


def test_a_key_that_is_gone_though_the_log_has_rows_is_a_missing_entity(shop: Shop) -> None:
    shop.redis.delete(shop.key())
    assert shop.causes("visits") == {"entity missing"}
    assert shop.causes("facts") == {"entity missing"}


def test_a_row_whose_ttl_ran_out_meanwhile_has_expired(shop: Shop) -> None:
    shop.tell("f2", 5, ago=31 * DAY, user="u2")
    shop.materialize("facts")
    assert shop.parity("facts").mismatches == 0
    report = shop.parity("facts", at=shop.now - 2 * DAY)
    assert report.by_cause["expired"] == 3


def test_a_state_whose_header_is_older_than_its_events_is_behind_the_log(shop: Shop) -> None:
    old = shop.redis.hgetall(shop.key())
    shop.happen("e3")
    shop.tell("f2", 9, ago=0)
    shop.materialize()
    shop.redis.hset(shop.key(), mapping=old)  # as a server does that came back with older data
    assert shop.causes("visits") == {"behind the log"}
    assert shop.causes("facts") == {"behind the log"}


def test_a_row_that_was_pushed_past_the_table_is_ahead_of_the_log(shop: Shop) -> None:
    times = {"event_timestamp": [from_us(shop.now)], "ingested_at": [from_us(shop.now)], "seen": [from_us(shop.now)]}
    frame = pa.table({"user_id": ["u0"], "size": [99], "weight": [0.1], **times}).to_pandas()
    shop.store.write_to_online_store("facts", df=frame)
    report = shop.parity("facts")
    assert report.by_feature == {"facts:size": 1, "facts:seen": 1}
    assert set(report.by_cause) == {"ahead of the log"}


def test_an_event_written_twice_past_the_door_is_a_duplicate(shop: Shop) -> None:
    rows = pa.table(shop.events.conform(table_of([Event("u0", "a", shop.now - HOUR, 0, 3, 1.5)])))
    twice = rows.set_column(0, "event_id", pa.array(["e0"])).append_column("log_version", pa.array([1], pa.int64()))
    write_deltalake(str(shop.events.path), twice, mode="append")
    report = shop.parity("visits")
    assert set(report.by_cause) == {"duplicate event"}
    assert report.by_feature["visits:count_24h"] == 1


def test_a_damaged_state_of_the_right_version_differs_in_value(shop: Shop) -> None:
    field = shop.field
    own, other = (shop.redis.hget(shop.key(user), field) for user in ("u0", "u1"))
    shop.redis.hset(shop.key("u1"), field, own[:8] + other[8:16] + own[16:])
    assert shop.causes("visits") == {"value"}
    shop.redis.hset(shop.key("u1"), field, other)
    assert shop.parity("visits").mismatches == 0


@pytest.mark.parametrize(
    ("relative", "cause"), [(1e-12, None), (5e-10, None), (3e-9, "rounding"), (5e-7, "rounding"), (1e-3, "value")]
)
def test_floats_are_held_to_the_tolerance_of_what_their_window_holds(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, relative: float, cause: str | None
) -> None:
    # A sum of 1e9 and -1e9 + 1 is 1: its noise is that of its terms.
    shop.happen("big", amount=1e9, user="u3")
    shop.happen("small", amount=1.0 - 1e9, user="u3")
    shop.materialize("visits")
    values = job.RedisSide.values

    def noisy(side: Any, held: Any) -> dict[str, list[Any]]:
        found = values(side, held)
        found["amount_sum_24h"] = [each + 2e9 * relative if each == 1.0 else each for each in found["amount_sum_24h"]]
        return found

    monkeypatch.setattr(job.RedisSide, "values", noisy)
    assert shop.causes("visits") == ({cause} if cause else set())


def test_a_state_that_is_written_during_every_comparison_changed_meanwhile(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = job.RedisSide.values

    def busy(side: Any, held: Any) -> dict[str, list[Any]]:
        shop.happen(f"new{SystemClock().now_us()}")
        shop.materialize("visits")
        return values(side, held)

    monkeypatch.setattr(job.RedisSide, "values", busy)
    assert shop.causes("visits") == {"changed meanwhile"}


def test_every_cause_says_what_to_do_and_the_command_exits_1(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["jobs", "parity", "--views", "facts"]) == 0
    shop.redis.delete(shop.key())
    capsys.readouterr()
    assert cli.main(["jobs", "parity", "--views", "facts"]) == 1
    told = capsys.readouterr()
    assert "entity missing" in told.out
    assert Cause.MISSING.remedy in told.out
    assert all(cause.remedy for cause in Cause)
    assert len({cause.words for cause in Cause}) == len(Cause)
