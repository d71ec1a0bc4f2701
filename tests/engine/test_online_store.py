"""Ordinary views through Feast's own doors: pushed in a race, read by ttl, applied unscanned, torn down to nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Int64, String

from feature_repo.core.clock import DAY, FixedClock, from_us
from feature_repo.core.settings import Settings
from feature_repo.engine.entity_keys import entity_keys, entity_of
from feature_repo.engine.online_store import WindowedRedisOnlineStore
from feature_repo.engine.positions import Positions
from feature_repo.engine.row_encoder import RowEncoder
from feature_repo.engine.spec import windowed_view_of
from histories import BASE, Event, every_kernel_view, log_of
from redis_keys import keys_in
from test_online_equals_oracle import PROJECT, builder, connection

__all__ = ["connection"]
pytestmark = pytest.mark.both_servers

SHOPPERS = 300
NOW = BASE + 30 * DAY  # long ago: a ttl has to be long for a key to be there still

Data = list[tuple[EntityKey, dict[str, Value], datetime, None]]


def view_of(path: Path, name: str, ttl: timedelta) -> FeatureView:
    if not (path / f"{name}.parquet").exists():
        facts = {"user_id": ["u0"], "size": [1], "event_timestamp": pa.array([0], pa.timestamp("us", "UTC"))}
        pq.write_table(pa.table(facts), path / f"{name}.parquet")
    return FeatureView(
        name=name,
        entities=[Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)],
        source=FileSource(name=name, path=str(path / f"{name}.parquet"), timestamp_field="event_timestamp"),
        ttl=ttl,
        schema=[Field(name="size", dtype=Int64), Field(name="user_id", dtype=String)],
    )


def rows(size: int, at: int) -> Data:
    keys = [EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=f"u{i}")]) for i in range(SHOPPERS)]
    return [(key, {"size": Value(int64_val=size)}, from_us(at), None) for key in keys]


@pytest.fixture
def store(settings: Settings, tmp_path: Path) -> Iterator[FeatureStore]:
    config = RepoConfig(
        project=PROJECT,
        provider="local",
        registry=str(tmp_path / "registry.db"),
        offline_store={"type": "duckdb"},
        online_store={"type": "feature_repo.engine.online_store.WindowedRedisOnlineStore"},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    online_of(store).clock = FixedClock(NOW)
    yield store
    online_of(store)._get_client(config.online_store).close()


def online_of(store: FeatureStore) -> WindowedRedisOnlineStore:
    online: WindowedRedisOnlineStore = store._get_provider().online_store
    return online


def sizes(store: FeatureStore, view: str, *users: str) -> list[Any]:
    found = store.get_online_features([f"{view}:size"], [{"user_id": user} for user in users]).to_dict()
    return found["size"]


class Racing:
    """A real client on which another writer is done right before the second pipeline, or the next raw send."""

    def __init__(self, client: Any, other: Callable[[], None]) -> None:
        self._client, self._other, self._turns = client, other, 0

    def __getattr__(self, name: str) -> Any:
        if name in {"pipeline", "connection_pool"}:
            self._turns += 1
            if self._turns == (2 if name == "pipeline" else 1):
                self._other()
        return getattr(self._client, name)


@pytest.mark.parametrize(("kind", "lost"), [(RedisOnlineStore, SHOPPERS), (WindowedRedisOnlineStore, 0)])
def test_a_later_row_written_in_the_midst_of_an_earlier_write_is_lost_by_stock_feast_only(
    tmp_path: Path, redis: Any, kind: type[RedisOnlineStore], lost: int
) -> None:
    view = view_of(tmp_path, "facts", timedelta(0))
    online = RedisOnlineStoreConfig()
    config = RepoConfig(
        project=PROJECT, provider="local", registry="r.db", online_store=online, entity_key_serialization_version=3
    )

    def write(client: Any, size: int) -> None:
        store = kind()
        store._client = client
        store.online_write_batch(config, view, rows(size, BASE + size), None)

    write(Racing(redis, lambda: write(redis, 2)), 1)
    field = RowEncoder.of(view).names[1]
    later = Value(int64_val=2).SerializeToString()
    assert sum(redis.hget(key, field) != later for key in keys_in(redis)) == lost


def test_of_writers_that_race_the_latest_row_of_every_shopper_holds(store: FeatureStore, tmp_path: Path) -> None:
    view = view_of(tmp_path, "facts", timedelta(0))
    store.apply([*view_entities(), view])

    def write(sizes: range) -> None:
        for size in sizes:
            online_of(store).online_write_batch(store.config, view, rows(size, BASE + size), None)

    threads = [threading.Thread(target=write, args=[range(i, 20, 4)]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(sizes(store, "facts", *(f"u{i}" for i in range(SHOPPERS)))) == {19}


def view_entities() -> list[Entity]:
    return [Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)]


def test_pushed_rows_keep_order_within_a_batch_and_leave_what_they_lack(store: FeatureStore, tmp_path: Path) -> None:
    view = view_of(tmp_path, "facts", timedelta(0))
    key = rows(0, 0)[0][0]
    naive = from_us(BASE + 5).replace(tzinfo=None)
    told: list[int] = []
    data = [
        (key, {"size": Value(int64_val=2)}, from_us(BASE + 2), None),
        (key, {"size": Value(int64_val=5)}, naive, None),
        (key, {"size": Value(int64_val=1)}, from_us(BASE + 1), None),
        (key, {}, from_us(BASE + 9), None),
        (key, {"size": Value(int64_val=8)}, from_us(BASE + 8), None),
    ]
    online_of(store).online_write_batch(store.config, view, data, told.append)
    [(at, row)] = online_of(store).online_read(store.config, view, [key])
    assert (at, row["size"].int64_val) == (from_us(BASE + 9), 5)
    assert sum(told) == len(data)


def test_a_row_is_read_up_to_its_ttl_and_no_longer_by_every_door(store: FeatureStore, tmp_path: Path) -> None:
    short, long = view_of(tmp_path, "short", timedelta(days=40_000)), view_of(tmp_path, "long", timedelta(days=50_000))
    store.apply([*view_entities(), short, long])
    frame = pd.DataFrame({"user_id": ["u0"], "size": [7], "event_timestamp": [from_us(NOW)]})
    for name in ("short", "long"):
        store.write_to_online_store(name, df=frame)
    features, entities = ["short:size", "long:size"], [{"user_id": "u0"}]
    key = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val="u0")])

    def asked() -> list[Any]:
        online = online_of(store)
        answers = [
            store.get_online_features(features, entities, full_feature_names=True).to_dict(),
            asyncio.run(store.get_online_features_async(features, entities, full_feature_names=True)).to_dict(),
        ]
        single = [online.online_read(store.config, view, [key])[0][1] for view in (short, long)]
        single += [asyncio.run(online.online_read_async(store.config, view, [key]))[0][1] for view in (short, long)]
        found = [[answer["short__size"][0], answer["long__size"][0]] for answer in answers]
        found += [[row and row["size"].int64_val for row in single[i : i + 2]] for i in (0, 2)]
        assert all(each == found[0] for each in found)
        return found[0]

    online_of(store).clock = FixedClock(NOW + 40_000 * DAY)
    assert asked() == [7, 7]
    online_of(store).clock = FixedClock(NOW + 40_000 * DAY + 1)
    assert asked() == [None, 7]
    online_of(store).clock = FixedClock(NOW + 50_000 * DAY + 1)
    assert asked() == [None, None]


def test_an_ordinary_apply_does_not_scan(store: FeatureStore, tmp_path: Path, redis: Any) -> None:
    view = view_of(tmp_path, "facts", timedelta(0))
    store.apply([*view_entities(), view])
    online_of(store).online_write_batch(store.config, view, rows(1, BASE), None)
    redis.config_resetstat()
    changed = view_of(tmp_path, "facts", timedelta(days=31))
    changed.schema.append(Field(name="more", dtype=Int64))
    store.apply([*view_entities(), changed, view_of(tmp_path, "other", timedelta(0))])
    asked = redis.info("commandstats")
    assert not [name for name in asked if "scan" in name or "keys" in name]
    assert sizes(store, "facts", "u0") == [1]


def test_a_deleted_view_takes_its_rows_and_no_others(store: FeatureStore, tmp_path: Path, redis: Any) -> None:
    first, second = (view_of(tmp_path, name, timedelta(0)) for name in ("first", "second"))
    store.apply([*view_entities(), first, second])
    for view in (first, second):
        online_of(store).online_write_batch(store.config, view, rows(3, BASE), None)
    store.apply([*view_entities(), second], objects_to_delete=[first], partial=False)
    assert sizes(store, "second", "u0") == [3]
    assert {redis.hlen(key) for key in keys_in(redis)} == {2}


def test_teardown_leaves_nothing_and_touches_no_other_project(
    store: FeatureStore, tmp_path: Path, redis: Any, connection: Any
) -> None:
    view = view_of(tmp_path, "facts", timedelta(0))
    store.apply([*view_entities(), view])
    online_of(store).online_write_batch(store.config, view, rows(1, BASE), None)
    log_of(tmp_path / "h", [Event("u0", "a", BASE, 0, 3, 1.5)])
    pair = windowed_view_of(every_kernel_view(tmp_path / "h", keys=("place", "user_id")))
    builder(connection, redis).bring_to_head(pair)
    Positions(redis, PROJECT).intend(pair, "another table")
    positions = Positions(redis, PROJECT).key
    redis.hset(positions, f"at:{pair.name}:00000000:7", "abandoned:-1")
    [other] = entity_keys("a" + PROJECT, ["user_id"], [pa.array(["u0"])])
    foreign = [other, b"foreign:" + PROJECT.encode()]
    for key in foreign:
        redis.hset(key, "f", 1)
    assert redis.dbsize() == SHOPPERS + 1 + 1 + len(foreign)
    store.teardown()
    assert keys_in(redis) == set(foreign)
    assert redis.unlink(*foreign) == len(foreign)
    assert redis.dbsize() == 0


def test_what_is_no_key_of_the_project_is_not_taken_for_one() -> None:
    [key] = entity_keys("p", ["a", "b"], [pa.array([b"\x00\xff"]), pa.array([-3], pa.int32())])
    assert entity_of("p", key) == (("a", "b"), (b"\x00\xff", -3))
    for other in (b"", b"p", b"\x01\x00\x00", key[:-1], key[1:], key + b"p", b"\xff" * 9 + b"p", b"portrait:p:state"):
        assert entity_of("p", other) is None
