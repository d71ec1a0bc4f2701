from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast import FeatureStore
from feast.protos.feast.types.Value_pb2 import Value, ValueType
from google.protobuf.timestamp_pb2 import Timestamp

from feature_repo.core.clock import DAY, FixedClock, SystemClock, from_us
from feature_repo.core.errors import DataError, DeclarationError, NotMaterializedError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb, connect_redis, redis_client
from feature_repo.engine.feature_store import open_store, quiet_feast
from feature_repo.events.log import read_snapshot
from feature_repo.events.schema import table_path
from serving.online_features import ServicePlan
from serving.service_views import EntityPart, OrdinaryPart

NOBODY = "u_" + "0" * 32
SERVICES = {
    "profile_v1": ["user_id"],
    "redemption_v1": ["user_id"],
    "item_v1": ["item_id"],
    "user_category_v1": ["user_id", "category"],
    "live_v1": ["user_id"],
    "item_live_v1": ["item_id"],
    "user_category_live_v1": ["user_id", "category"],
}


@pytest.fixture
def store(shop: Settings) -> FeatureStore:
    return open_store()


@pytest.fixture
def client(shop: Settings) -> Iterator[Any]:
    with connect_redis(shop) as client:
        yield client


def asked(settings: Settings, keys: list[str], rows: int = 60) -> dict[str, list[str]]:
    """Entities of the log, some of them twice, and one that was never seen."""
    purchases = read_snapshot(table_path(settings.log_root, "purchase")).sql()
    names = ", ".join(keys)
    query = f"SELECT DISTINCT {names} FROM {purchases} WHERE category IS NOT NULL ORDER BY hash({names}) LIMIT {rows}"
    with closing(connect_duckdb(settings)) as connection:
        found = connection.sql(query).to_arrow_table().to_pydict()
    return {key: [*values, *values[:3], NOBODY] for key, values in found.items()}


def plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return int(value.timestamp())  # Feast's own times are whole seconds
    return None if value is None or value != value else value  # noqa: PLR0124


@pytest.mark.parametrize("service", SERVICES)
def test_the_plan_reads_what_feast_reads(shop: Settings, store: FeatureStore, client: Any, service: str) -> None:
    at = SystemClock().now_us()
    store._get_provider().online_store.clock = FixedClock(at)
    entities = asked(shop, SERVICES[service])
    table = ServicePlan.of(store, service).read(client, entities, at).table
    with quiet_feast():
        rows = pd.DataFrame(entities).to_dict("records")
        feast = store.get_online_features(store.get_feature_service(service), rows, full_feature_names=True).to_dict()
    assert [*table.column_names, *SERVICES[service]] == sorted(
        feast, key=[*table.column_names, *SERVICES[service]].index
    )
    for name in table.column_names:
        assert [plain(v) for v in table[name].to_pylist()] == [plain(v) for v in feast[name]], name


def test_columns_are_typed_and_in_the_services_order(store: FeatureStore, client: Any) -> None:
    plan = ServicePlan.of(store, "profile_v1")
    table = plan.read(client, {"user_id": [NOBODY]}, SystemClock().now_us()).table
    assert table.column_names == list(plan.contract)
    assert table.schema.field("user_payments__count_28d").type == pa.int64()
    assert table.schema.field("user_payments__amount_sum_28d").type == pa.float64()
    assert table.schema.field("user_payments__last_event_at").type == pa.timestamp("us", "UTC")
    assert table.schema.field("user_demographics__age_band").type == pa.string()
    assert plan.read(client, {"user_id": []}, 0).table.schema == table.schema


def test_many_rows_are_read_in_chunks_with_the_same_values(shop: Settings, store: FeatureStore, client: Any) -> None:
    plan = ServicePlan.of(store, "redemption_v1")
    users = asked(shop, ["user_id"])["user_id"]
    at = SystemClock().now_us()
    many = (users * 40)[:2_500]
    once = dict(zip(users, plan.read(client, {"user_id": users}, at).table.to_pylist(), strict=True))
    assert plan.read(client, {"user_id": many}, at).table.to_pylist() == [once[user] for user in many]


def test_a_matrix_has_the_order_asked_for_and_nan_for_null(store: FeatureStore, client: Any) -> None:
    plan = ServicePlan.of(store, "redemption_v1")
    columns = ["user_payments__days_since", "user_payments__count_28d"]
    matrix = plan.read(client, {"user_id": [NOBODY]}, SystemClock().now_us()).matrix(columns)
    assert np.array_equal(matrix, [[np.nan, 0.0]], equal_nan=True)
    assert plan.read(client, {"user_id": []}, 0).matrix(columns).shape == (0, 2)


def test_a_matrix_holds_no_text_and_no_unknown_feature(store: FeatureStore, client: Any) -> None:
    plan = ServicePlan.of(store, "profile_v1")
    for name in ("user_demographics__income", "user_payments__last_event_at"):
        with pytest.raises(DataError, match="models read numbers"):
            plan.read(client, {"user_id": [NOBODY]}, 0).matrix([name])
    with pytest.raises(DataError, match="did you mean 'user_payments__count_28d'"):
        plan.read(client, {"user_id": [NOBODY]}, 0).matrix(["user_payments__count_28"])


def test_a_request_without_the_entity_is_told_which_one(store: FeatureStore, client: Any) -> None:
    with pytest.raises(DataError, match="no column 'category'"):
        ServicePlan.of(store, "user_category_v1").read(client, {"user_id": [NOBODY]}, 0)


def test_an_unknown_service_is_named_with_its_neighbour(store: FeatureStore) -> None:
    with pytest.raises(DeclarationError, match="did you mean 'profile_v1'"):
        ServicePlan.of(store, "profil_v1")


@pytest.mark.parametrize("service", SERVICES)
def test_a_view_without_state_is_no_zero(store: FeatureStore, redis_server: str, service: str) -> None:
    with redis_client(redis_server, timeout_s=5.0) as empty:
        empty.flushall()
        with pytest.raises(NotMaterializedError, match="portrait jobs materialize"):
            ServicePlan.of(store, service).read(empty, {key: [NOBODY] for key in SERVICES[service]}, 0)


def row_at(us: int) -> list[bytes | None]:
    stamp = Timestamp()
    stamp.FromDatetime(from_us(us))
    return [stamp.SerializeToString(), Value(string_val="x").SerializeToString(), b""]


@pytest.mark.parametrize(("age", "held"), [(0, True), (DAY, True), (DAY + 1, False)])
def test_a_row_holds_until_its_ttl_and_at_that_very_instant(age: int, held: bool) -> None:
    kinds = {"v__a": pa.string(), "v__b": pa.string()}
    part = OrdinaryPart(None, EntityPart(("k",), ("k",), (ValueType.STRING,)), kinds, (b"_ts:v", b"a", b"b"), ttl=DAY)
    found = part.columns([*zip(row_at(20_000 * DAY - age), [None] * 3, strict=True)], 20_000 * DAY)
    assert found["v__a"].to_pylist() == ["x" if held else None, None]
    assert found["v__b"].to_pylist() == [None, None]
