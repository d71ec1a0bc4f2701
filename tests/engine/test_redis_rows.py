"""Ordinary views in Redis are stock Feast's rows, in order of event time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.data_format import DeltaFormat
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values
from feast.types import Bool, Bytes, Float64, Int32, Int64, String, UnixTimestamp
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from cursors import duckdb_cursor
from feature_repo.core.clock import SystemClock, from_us
from feature_repo.core.errors import DataError
from feature_repo.engine import row_writer
from feature_repo.engine.builder import Materialized
from feature_repo.engine.entity_keys import entity_key_array, entity_keys, entity_of, entity_pattern
from feature_repo.engine.point_in_time import PointInTimeQuery, Request, spine_of
from feature_repo.engine.redis_writer import RedisWriter
from feature_repo.engine.row_encoder import PushedRow, RowEncoder
from feature_repo.engine.row_writer import RowMaterializer
from feature_repo.events.log import LogTable
from redis_keys import keys_in

pytestmark = pytest.mark.both_servers
US = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("event_timestamp", US),
        ("ingested_at", US),
        ("user_id", pa.string()),
        ("name", pa.string()),
        ("size", pa.int64()),
        ("weight", pa.float64()),
        ("alive", pa.bool_()),
        ("seen", US),
    ]
)
KINDS = {"name": String, "size": Int64, "weight": Float64, "alive": Bool, "seen": UnixTimestamp}


def facts_view(path: Path) -> FeatureView:
    source = FileSource(
        name="facts",
        path=str(path),
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="ingested_at",
    )
    return FeatureView(
        name="facts",
        entities=[Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)],
        source=source,
        ttl=timedelta(0),
        schema=[Field(name=name, dtype=kind) for name, kind in KINDS.items()] + [Field(name="user_id", dtype=String)],
    )


def row(at: int, name: str | None, *, known: int = 0, key: str = "u1") -> dict[str, Any]:
    return {
        "event_id": f"{key}-{at}-{known}-{name}",
        "event_timestamp": from_us(at),
        "ingested_at": from_us(known),
        "user_id": key,
        "name": name,
        "size": None if name is None else len(name),
        "weight": None if name is None else len(name) / 3,
        "alive": None if name is None else len(name) % 2 == 0,
        "seen": from_us(1_700_000_000_000_000),
    }


class KilledError(Exception):
    pass


class Facts:
    def __init__(self, path: Path, client: Any) -> None:
        self.view = facts_view(path)
        self.table = LogTable(path, SCHEMA)
        self.table.ensure()
        self.client = client

    def commit(self, *rows: dict[str, Any]) -> None:
        self.table.commit(pa.Table.from_pylist(list(rows), schema=SCHEMA))

    def materialize(self, *, full: bool = False) -> str:
        return self.bring(full=full).action

    def bring(self, **options: Any) -> Materialized:
        with duckdb_cursor() as connection:
            return RowMaterializer(connection, self.client, "rows").bring_to_head(self.view, **options)

    def recreate(self) -> None:
        self.table.path.rename(self.table.path.with_name("old"))
        self.table.ensure()

    def stock_read(self, *keys: str) -> list[Any]:
        store = RedisOnlineStore()
        store._client = self.client
        config = RepoConfig(
            project="rows",
            provider="local",
            registry="unused.db",
            online_store=RedisOnlineStoreConfig(),
            entity_key_serialization_version=3,
        )
        entities = [EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=key)]) for key in keys]
        return store.online_read(config, self.view, entities)


@pytest.fixture
def facts(tmp_path: Path, redis: Any) -> Facts:
    return Facts(tmp_path / "facts", redis)


def test_stock_feast_reads_what_we_write(facts: Facts) -> None:
    facts.commit(row(1_500_000, "ann"), row(2_500_000, "anna", key="u2"), row(3_000_000, None, key="u3"))
    assert facts.materialize() == "built"
    (at, first), (_, second), (_, third) = facts.stock_read("u1", "u2", "u3")
    assert at == from_us(1_500_000)
    assert first["name"].string_val == "ann"
    assert first["size"].int64_val == 3
    assert first["weight"].double_val == 1.0
    assert first["alive"].bool_val is False
    assert first["seen"].unix_timestamp_val == 1_700_000_000
    assert second["alive"].bool_val is True
    assert third["name"].WhichOneof("val") is None


def test_a_later_row_is_not_replaced_by_an_earlier_one_that_arrives_after_it(facts: Facts) -> None:
    facts.commit(row(2_000_000, "new"))
    facts.materialize()
    facts.commit(row(1_000_000, "old"))
    assert facts.materialize() == "applied"
    assert facts.stock_read("u1")[0][1]["name"].string_val == "new"
    assert facts.materialize() == "at head"


def test_a_correction_with_the_same_event_time_wins(facts: Facts) -> None:
    facts.commit(row(2_000_000, "wrong", known=1))
    facts.materialize()
    facts.commit(row(2_000_000, "right", known=2))
    facts.materialize()
    assert facts.stock_read("u1")[0][1]["name"].string_val == "right"


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (-1, 0),
        (-(2**31) * 1_000_000, -1_000_000),
        (-1_500_000, -1_000_001),
        (127_000_000, 128_000_000),
        (999_999, 1_000_000),
    ],
)
def test_times_are_ordered_as_instants_and_not_as_bytes(facts: Facts, earlier: int, later: int) -> None:
    facts.commit(row(later, "later"))
    facts.materialize()
    facts.commit(row(earlier, "earlier"))
    facts.materialize()
    assert facts.stock_read("u1")[0][1]["name"].string_val == "later"
    facts.commit(row(later + 1, "latest"))
    facts.materialize()
    assert facts.stock_read("u1")[0][1]["name"].string_val == "latest"


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), min_size=1, max_size=5))
def test_keys_are_feasts_own(pairs: list[tuple[str, str]]) -> None:
    columns = [pa.array([c for c, _ in pairs]), pa.array([u for _, u in pairs])]
    ours = entity_keys("shop", ["category", "user_id"], columns)
    assert entity_key_array("shop", ["category", "user_id"], columns).to_pylist() == ours
    assert [entity_of("shop", key) for key in ours] == [(("category", "user_id"), pair) for pair in pairs]
    stock = [
        serialize_entity_key(
            EntityKey(join_keys=["user_id", "category"], entity_values=[Value(string_val=u), Value(string_val=c)]), 3
        )
        + b"shop"
        for c, u in pairs
    ]
    assert ours == stock


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (pa.array([-5], pa.int64()), Value(int64_val=-5)),
        (pa.array([5], pa.int32()), Value(int32_val=5)),
        (pa.array([b"\x00*"]), Value(bytes_val=b"\x00*")),
    ],
)
def test_keys_of_other_types_are_feasts_own(column: pa.Array, value: Value) -> None:
    [ours] = entity_keys("shop", ["id"], [column])
    assert entity_key_array("shop", ["id"], [pa.chunked_array([column])]).to_pylist() == [ours]
    assert ours == serialize_entity_key(EntityKey(join_keys=["id"], entity_values=[value]), 3) + b"shop"


@pytest.mark.parametrize("make", [entity_keys, entity_key_array])
@pytest.mark.parametrize("column", [pa.array([1.5]), pa.array(["a", None])])
def test_a_column_that_cannot_key_an_entity_is_refused(make: Any, column: pa.Array) -> None:
    with pytest.raises(DataError, match="Join key 'id' is") as caught:
        make("shop", ["id"], [column])
    assert caught.value.hint


def test_a_pattern_matches_the_keys_of_its_join_keys_and_no_others(redis: Any) -> None:
    name = "x" * ord("*")  # the length of the name is the byte of a wildcard
    single = entity_keys("shop", [name], [pa.array(["a", "b"])])
    pair = entity_keys("shop", [name, "y"], [pa.array(["a"]), pa.array(["b"])])
    for key in [*single, *pair]:
        redis.hset(key, "f", 1)
    assert keys_in(redis, entity_pattern("shop", [name])) == set(single)


def test_a_view_that_gains_a_feature_is_written_anew(tmp_path: Path, redis: Any) -> None:
    facts = Facts(tmp_path / "facts", redis)
    facts.commit(row(1_000_000, "ann"))
    whole = facts.view
    facts.view = facts_view(tmp_path / "facts")
    facts.view.features = [feature for feature in whole.features if feature.name == "name"]
    facts.materialize()
    facts.view = whole
    assert facts.materialize() == "built"
    assert facts.stock_read("u1")[0][1]["size"].int64_val == 3


def test_a_recreated_table_replaces_later_rows_and_removes_entities_it_lacks(tmp_path: Path, redis: Any) -> None:
    facts = Facts(tmp_path / "facts", redis)
    facts.commit(row(5_000_000, "wrong"), row(5_000_000, "gone", key="u2"))
    facts.materialize()
    facts.recreate()
    facts.commit(row(4_000_000, "right"))
    assert facts.materialize() == "built"
    (at, first), (_, second) = facts.stock_read("u1", "u2")
    assert (at, first["name"].string_val) == (from_us(4_000_000), "right")
    assert second["name"].WhichOneof("val") is None


def test_rows_pushed_before_the_first_run_stay_where_they_are_later(facts: Facts) -> None:
    pushed = [("u1", 5), ("u2", 1), ("u3", 1)]
    encoder, writer = RowEncoder.of(facts.view), RedisWriter(facts.client)
    keys = entity_keys("rows", ["user_id"], [pa.array([key for key, _ in pushed])])
    rows = [
        PushedRow(key, {"name": Value(string_val="pushed")}, from_us(at * 1_000_000))
        for key, (_, at) in zip(keys, pushed, strict=True)
    ]
    for names, batch in encoder.pushed(rows):
        list(writer.rows(names, [batch]))
    facts.commit(row(2_000_000, "log", key="u1"), row(2_000_000, "log", key="u2"))
    assert facts.materialize() == "built"
    names = [found["name"].string_val for _, found in facts.stock_read("u1", "u2", "u3")]
    assert names == ["pushed", "log", "pushed"]


def test_a_table_recreated_while_the_view_was_redeclared_replaces_all_the_same(facts: Facts) -> None:
    whole = facts.view.features
    facts.view.features = [feature for feature in whole if feature.name == "name"]
    facts.commit(row(5_000_000, "wrong"), row(5_000_000, "gone", key="u2"))
    facts.materialize()
    facts.view.features = whole
    facts.recreate()
    facts.commit(row(4_000_000, "right"))
    facts.materialize()
    (_, first), (_, second) = facts.stock_read("u1", "u2")
    assert first["name"].string_val == "right"
    assert second["name"].WhichOneof("val") is None


def test_full_replaces_whatever_redis_holds(facts: Facts) -> None:
    facts.commit(row(5_000_000, "ann"))
    facts.materialize()
    [key] = keys_in(facts.client, b"*rows")
    field = next(field for field, value in facts.client.hgetall(key).items() if b"ann" in value)
    facts.client.hset(key, field, b"\x12\x03bob")
    facts.client.hset(key, b"_ts:facts", Timestamp(seconds=99).SerializeToString())
    assert facts.materialize() == "at head"
    assert facts.materialize(full=True) == "built"
    assert facts.stock_read("u1")[0][1]["name"].string_val == "ann"


def test_entities_written_and_removed_in_parts_are_those_of_one_run(
    facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_writer, "ROWS_PER_PART", 3)
    monkeypatch.setattr(row_writer, "KEYS_PER_PAGE", 4)
    old, new = ([f"{word}{i}" for i in range(20)] for word in ("old", "new"))
    facts.commit(*(row(1_000_000, "x", key=key) for key in old + new))
    shares: list[float] = []
    assert facts.bring(progress=shares.append).entities == 40
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    facts.recreate()
    facts.commit(*(row(500_000, key, key=key) for key in new))
    assert facts.bring().entities == 20
    assert [found["name"].string_val for _, found in facts.stock_read(*new)] == new
    assert len(keys_in(facts.client, b"*rows")) == 20


def test_an_incremental_run_touches_the_entities_of_the_new_commits_only(facts: Facts) -> None:
    facts.commit(row(1_000_000, "a", key="u1"), row(1_000_000, "b", key="u2"))
    facts.materialize()
    facts.client.config_resetstat()
    facts.commit(row(2_000_000, "c", key="u2"))
    assert facts.bring().entities == 1
    stats = facts.client.info("commandstats")
    assert "cmdstat_scan" not in stats
    assert stats["cmdstat_hset"]["calls"] == 2  # the row and the position


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("after", range(3))
def test_a_run_that_died_is_finished_by_the_next(
    facts: Facts, monkeypatch: pytest.MonkeyPatch, after: int, full: bool
) -> None:
    monkeypatch.setattr(row_writer, "ROWS_PER_PART", 10)
    keys = [f"u{i}" for i in range(30)]
    facts.commit(*(row(1_000_000, "old", key=key) for key in keys))
    facts.materialize()
    facts.commit(*(row(2_000_000, key, key=key) for key in keys))
    calls: list[float] = []

    def dying(share: float) -> None:
        calls.append(share)
        if len(calls) > after:
            raise KilledError

    with pytest.raises(KilledError):
        facts.bring(full=full, progress=dying)
    facts.bring(full=full)
    assert [found["name"].string_val for _, found in facts.stock_read(*keys)] == keys


def test_a_view_with_another_ttl_is_written_anew_so_that_its_keys_do_not_expire_early(facts: Facts) -> None:
    now = SystemClock().now_us()
    facts.view.ttl = timedelta(days=1)
    facts.commit(row(now, "ann"))
    facts.materialize()
    [key] = keys_in(facts.client, b"*rows")
    assert 0 < facts.client.ttl(key) <= 86_400
    facts.view.ttl = timedelta(0)
    assert facts.materialize() == "built"
    assert facts.client.ttl(key) == -1


@pytest.mark.parametrize(
    ("declared", "stored", "values"),
    [
        (Int64, pa.int64(), [7, -7]),
        (Int64, pa.int32(), [7, -7]),
        (Int32, pa.int64(), [7, -7]),
        (String, pa.large_string(), ["*", "é"]),
        (Bytes, pa.binary(), [b"\x00", b"*"]),
    ],
)
def test_keys_are_of_the_declared_type_whatever_the_file_holds(
    tmp_path: Path, redis: Any, declared: Any, stored: pa.DataType, values: list[Any]
) -> None:
    path = tmp_path / "facts.parquet"
    view = FeatureView(
        name="typed",
        entities=[Entity(name="thing", join_keys=["thing"], value_type=declared.to_value_type())],
        source=FileSource(name="typed", path=str(path), timestamp_field="at"),
        schema=[Field(name="size", dtype=Int64), Field(name="thing", dtype=declared)],
    )
    for kept in (values, values[:1]):
        pq.write_table(
            pa.table({"thing": pa.array(kept, stored), "size": [1] * len(kept), "at": pa.array([5] * len(kept), US)}),
            path,
        )
        with duckdb_cursor() as connection:
            assert RowMaterializer(connection, redis, "rows").bring_to_head(view).action == "built"
        protos = python_values_to_proto_values(kept, declared.to_value_type())
        keys = [EntityKey(join_keys=["thing"], entity_values=[proto]) for proto in protos]
        assert keys_in(redis, b"*rows") == {serialize_entity_key(key, 3) + b"rows" for key in keys}


@pytest.mark.parametrize("attempt", range(4))
def test_of_rows_with_one_time_the_latest_commit_holds_online_and_offline(facts: Facts, attempt: int) -> None:
    for name in ("first", "second", "third"):
        facts.commit(row(2_000_000, name, known=5))
    facts.materialize()
    assert facts.stock_read("u1")[0][1]["name"].string_val == "third"
    request = Request.of([facts.view], ["facts:name"], full_feature_names=False)
    with duckdb_cursor() as connection:
        spine = pd.DataFrame({"user_id": ["u1"], "event_timestamp": [from_us(3_000_000)]})
        found = PointInTimeQuery(request).run(connection, spine_of(connection, spine, ["user_id"]))
    assert found["name"].to_pylist() == ["third"]
