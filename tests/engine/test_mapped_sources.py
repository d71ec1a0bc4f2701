"""A source whose columns have other names than the features: read alike offline, online and by the parity job."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from feast import StreamFeatureView

from feature_repo.core.clock import HOUR, from_us
from feature_repo.core.errors import DataError
from feature_repo.engine.oracle import oracle_value
from feature_repo.engine.point_in_time import PointInTimeQuery, Request, spine_of
from feature_repo.engine.positions import Layout
from feature_repo.engine.spec import WindowedView, windowed_view_of
from feature_repo.events.log import LogTable
from histories import BASE, SCHEMA, Event, agrees, every_kernel_view, log_of, oracle_rows, table_of
from test_online_equals_oracle import NOW, builder, connection, online
from test_redis_rows import SCHEMA as FACTS
from test_redis_rows import Facts, row

__all__ = ["connection"]
# The table's own ``amount`` is not the one the view means, so that a forgotten mapping reads a wrong number.
MAPPING = {"who": "user_id", "price": "amount", "amount": "list_price", "event_timestamp": "happened"}
HISTORY = [
    Event("u0", "a", BASE, 0, 3, 1.5),
    Event("u1", "b", BASE + HOUR, 0, 2, 0.1),
    Event("u0", "b", BASE + 2 * HOUR, HOUR, None, -2.5, due=BASE),
    Event("u0", "a", BASE + 5 * HOUR, 0, 4, 7.0, gift=True),
]


class Shop:
    """A log whose table names columns in its own way."""

    def __init__(self, path: Path) -> None:
        names = {name: column for column, name in MAPPING.items() if column in {"who", "price"}}
        schema = pa.schema([field.with_name(names.get(field.name, field.name)) for field in SCHEMA])
        self.table = LogTable(path, schema.append(pa.field("amount", pa.float64())))
        self.table.ensure()
        self.names = names
        self.path = path

    def commit(self, start: int, stop: int) -> None:
        rows = table_of(HISTORY).slice(start, stop - start)
        rows = rows.rename_columns([self.names.get(name, name) for name in rows.column_names])
        self.table.commit(rows.append_column("amount", pa.array([-1.0] * rows.num_rows)))

    @property
    def view(self) -> StreamFeatureView:
        view = every_kernel_view(self.path)
        view.batch_source.field_mapping = MAPPING
        return view


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path / "h")
    shop.commit(0, 2)
    return shop


def expected(spec: WindowedView, user: str, name: str) -> tuple[Any, list[dict[str, Any]]]:
    rows = [{**each, spec.timestamp_field: each["event_timestamp"]} for each in oracle_rows(HISTORY)]
    mine = [each for each in rows if each["user_id"] == user]
    return oracle_value(spec, spec.feature(name), mine, NOW), mine


def test_a_state_built_and_applied_from_mapped_columns_equals_the_oracle(
    redis: Any, connection: Any, shop: Shop
) -> None:
    spec = windowed_view_of(shop.view)
    assert builder(connection, redis).plan(spec).entities == 2
    assert builder(connection, redis).bring_to_head(spec).action == "built"
    shop.commit(2, 4)
    assert builder(connection, redis).bring_to_head(spec).action == "applied"
    found = online(redis, spec, NOW, ["u0", "u1", "nobody"])
    assert found["u0"]["sum_amount_24h"] == 6.0
    for user, row_found in found.items():
        for feature in spec.features:
            value, mine = expected(spec, user, feature.name)
            assert agrees(row_found[feature.name], value, mine, feature, NOW, spec.hop), (user, feature.name)


def test_mapped_columns_give_the_same_windows_offline_and_online(redis: Any, connection: Any, shop: Shop) -> None:
    shop.commit(2, 4)
    view = shop.view
    spec = windowed_view_of(view)
    builder(connection, redis).bring_to_head(spec)
    names = ["sum_amount_24h", "count_all_5h", "last_place_24h", "mean_units_24h"]
    request = Request.of([view], [f"{view.name}:{name}" for name in names], full_feature_names=False)
    times = pa.array([from_us(NOW)] * 2, pa.timestamp("us", "UTC"))
    spine = pa.table({"user_id": ["u0", "u1"], "event_timestamp": times}).to_pandas()
    offline = PointInTimeQuery(request).run(connection, spine_of(connection, spine, ["user_id"])).to_pylist()
    found = online(redis, spec, NOW, ["u0", "u1"])
    assert [[each[name] for name in names] for each in offline] == [
        [found[user][name] for name in names] for user in ("u0", "u1")
    ]


def test_a_state_of_another_mapping_answers_nothing_until_it_is_built(redis: Any, connection: Any, shop: Shop) -> None:
    spec = windowed_view_of(shop.view)
    builder(connection, redis).bring_to_head(spec)
    swapped = dataclasses.replace(spec, mapping=(("event_timestamp", "happened"), ("who", "user_id")))
    assert set(online(redis, swapped, NOW, ["u0"])["u0"].values()) == {None}
    assert builder(connection, redis).bring_to_head(swapped).action == "built"
    assert online(redis, swapped, NOW, ["u0"])["u0"]["sum_amount_24h"] == -1.0


def test_a_view_without_a_mapping_keeps_its_hash_and_its_definitions(tmp_path: Path) -> None:
    # Figures of states and models that are out there.
    log_of(tmp_path / "plain")
    spec = windowed_view_of(every_kernel_view(tmp_path / "plain"))
    spec = dataclasses.replace(spec, features=(spec.feature("count_all_2h"),))
    assert spec.state_hash == "5917240b"
    assert "mapping" not in Layout.of(spec, 0).dump()
    assert spec.definition_of("count_all_2h") == '["history_log",["user_id"],3600000000,"","count",7200000000]'


def test_a_mapped_column_that_the_table_lacks_is_named_before_anything_is_written(
    redis: Any, connection: Any, shop: Shop
) -> None:
    spec = dataclasses.replace(windowed_view_of(shop.view), mapping=(("whom", "user_id"),))
    with pytest.raises(DataError, match="maps column 'whom', which it lacks") as caught:
        builder(connection, redis).bring_to_head(spec)
    assert "did you mean 'who'" in caught.value.hint


def test_rows_of_an_ordinary_view_are_written_from_mapped_columns(tmp_path: Path, redis: Any) -> None:
    facts = Facts(tmp_path / "facts", redis)
    names = {"user_id": "who", "size": "big"}
    schema = pa.schema([each.with_name(names.get(each.name, each.name)) for each in FACTS])
    mapped = LogTable(tmp_path / "mapped", schema)
    mapped.ensure()
    rows = [row(2_000_000, "anna", known=9), row(1_000_000, "ann"), row(3_000_000, "b", key="u2")]
    mapped.commit(pa.Table.from_pylist(rows, FACTS).rename_columns(schema.names))
    source = facts.view.batch_source
    source.file_options.uri = str(mapped.path)
    source.field_mapping = {"who": "user_id", "event_timestamp": "happened", "big": "size", "ingested_at": "learnt"}
    assert facts.bring().entities == 2
    assert [found["size"].int64_val for _, found in facts.stock_read("u1", "u2")] == [4, 1]
