"""What ``get_historical_features`` takes and gives: spines of every make, keys of every type, results of every size."""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureService, FeatureStore, ValueType

from feast_stores import entities_of, facts_view, source_of, store_at, visits_view
from feature_repo.core.errors import DataError, SettingsError
from feature_repo.engine import point_in_time
from histories import US

DAY1 = datetime(2025, 3, 1, tzinfo=UTC)
NOON = DAY1 + timedelta(hours=12)
REFS = ["facts:size", "visits:count_24h"]


def make_store(home: Path, kind: ValueType, keys: list[Any], **mapped: str) -> FeatureStore:
    """A store whose row i, of the i-th key, happened at i o'clock, with size i; ``mapped`` are column -> name."""
    home.mkdir(parents=True, exist_ok=True)
    times = [DAY1 + timedelta(hours=i) for i in range(len(keys))]
    rows = {
        "user_id": keys,
        "event_timestamp": pa.array(times, US),
        "size": list(range(len(keys))),
        "amount": [i + 0.5 for i in range(len(keys))],
    }
    names = {name: column for column, name in mapped.items()}
    pq.write_table(pa.table({names.get(name, name): column for name, column in rows.items()}), home / "rows.parquet")
    store, entity = store_at(home), {"user_id": kind}
    views = [
        view(source_of(f"{view.__name__}_file", home / "rows.parquet", field_mapping=mapped), entity)
        for view in (facts_view, visits_view)
    ]
    store.apply([*entities_of(entity), *views])
    return store


@pytest.fixture
def store(home: Path) -> FeatureStore:
    return make_store(home, ValueType.STRING, ["a", "b", "a"])


def spine(keys: list[Any], times: Any = None, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"user_id": keys, "event_timestamp": [NOON] * len(keys) if times is None else times, **columns})


def answers(store: FeatureStore, rows: pd.DataFrame | str | None, **options: Any) -> list[tuple[Any, ...]]:
    table = store.get_historical_features(entity_df=rows, features=REFS, **options).to_arrow()
    return list(zip(*(table[name].to_pylist() for name in table.column_names[-2:]), strict=True))


@pytest.mark.parametrize(
    ("kind", "keys", "nobody"),
    [
        (ValueType.STRING, ["a", "b"], "c"),
        (ValueType.INT64, [7, 8], 9),
        (ValueType.BYTES, [b"\x00\xff", b"\x00"], b""),
    ],
)
def test_keys_of_every_type_find_their_rows_and_no_others(
    home: Path, kind: ValueType, keys: list[Any], nobody: Any
) -> None:
    store = make_store(home, kind, [*keys, keys[0]])
    assert answers(store, spine([*keys, nobody])) == [(2, 2), (1, 1), (None, 0)]


def test_ids_in_another_type_are_read_as_the_views(home: Path) -> None:
    store = make_store(home, ValueType.INT64, [7, 8, 7])
    assert answers(store, spine(["7", "8"])) == [(2, 2), (1, 1)]
    assert answers(store, spine([7.0, None])) == [(2, 2), (None, 0)]


@pytest.mark.parametrize(
    ("kind", "rows", "found"),
    [(ValueType.INT64, ["7", "x"], "1 rows are no BIGINT"), (ValueType.INT64, [7.5, 7.0], "1 rows are no BIGINT")],
)
def test_ids_that_the_views_cannot_have_are_refused_without_showing_them(
    home: Path, kind: ValueType, rows: list[Any], found: str
) -> None:
    store = make_store(home, kind, [7, 8])
    with pytest.raises(DataError, match=found) as caught:
        answers(store, spine(rows))
    assert "'x'" not in str(caught.value)


def test_floats_are_no_texts(store: FeatureStore) -> None:
    with pytest.raises(DataError, match="holds DOUBLE"):
        answers(store, spine([7.0]))


def test_rows_come_back_in_order_with_their_other_columns_repeated_ones_and_those_without_a_key(
    store: FeatureStore,
) -> None:
    rows = spine(["b", None, "a", "b", "a"], label=[0.5, None, 2.5, 0.5, 4.5], note=["x", "y", None, "x", "z"])
    table = store.get_historical_features(rows, REFS).to_arrow()
    assert table.column_names == ["user_id", "event_timestamp", "label", "note", "size", "count_24h"]
    assert table["note"].to_pylist() == ["x", "y", None, "x", "z"]
    assert table["size"].to_pylist() == [1, None, 2, 1, 2]
    assert table["count_24h"].to_pylist() == [1, 0, 2, 1, 2]


SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.mark.parametrize(
    "times",
    [
        [NOON, NOON],
        pd.Series([NOON, NOON.astimezone(SHANGHAI)], dtype=object),
        pd.Series([NOON, NOON]).dt.tz_convert(SHANGHAI),
        pd.Series([NOON, NOON]).dt.tz_localize(None),
        pd.Series([NOON, NOON]).dt.as_unit("ns"),
        pd.Series([NOON, NOON]).dt.as_unit("s"),
        ["2025-03-01T12:00:00Z"] * 2,
        ["2025-03-01 20:00:00+08:00"] * 2,
    ],
    ids=[
        "aware",
        "objects of two zones",
        "another zone",
        "naive",
        "nanoseconds",
        "seconds",
        "text",
        "text with a zone",
    ],
)
def test_times_of_every_make_are_the_same_instant(store: FeatureStore, times: Any) -> None:
    rows = spine(["a", "b"], times, seen=pd.Series([NOON, None]).dt.as_unit("ns"))
    table = store.get_historical_features(rows, REFS).to_arrow()
    assert table["event_timestamp"].to_pylist() == [NOON, NOON]
    assert table["seen"].to_pylist() == [NOON, None]
    assert table["count_24h"].to_pylist() == [2, 1]


def test_dates_are_midnights_in_utc(store: FeatureStore) -> None:
    rows = spine(["a", "b"], [date(2025, 3, 2), date(2025, 3, 1)])
    assert answers(store, rows) == [(2, 2), (None, 0)]


def test_times_in_a_column_of_any_name_are_found(store: FeatureStore) -> None:
    rows = spine(["a"]).rename(columns={"event_timestamp": "observed"})
    assert answers(store, rows) == [(2, 2)]


@pytest.mark.parametrize("kind", ["TIMESTAMPTZ", "TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_S"])
def test_sql_may_give_times_with_or_without_a_zone(store: FeatureStore, kind: str) -> None:
    query = f"SELECT 'a' AS user_id, '2025-03-01 12:00:00'::{kind} AS event_timestamp, 5 AS label -- and so on"
    assert answers(store, query) == [(2, 2)]


def test_sql_keeps_its_order_and_its_semicolon(store: FeatureStore) -> None:
    query = (
        "SELECT user_id, TIMESTAMPTZ '2025-03-01 12:00:00+00' AS event_timestamp, n "
        "FROM (SELECT unnest(['a', 'b', 'c']) AS user_id, unnest(range(3)) AS n) ORDER BY n DESC;"
    )
    assert answers(store, query) == [(None, 0), (1, 1), (2, 2)]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT 'a' AS user, now() AS event_timestamp", "lacks the join key 'user_id'"),
        ("SELECT 'a' AS user_id, 'today' AS event_timestamp", "'event_timestamp' holds VARCHAR"),
        ("SELECT 'a' AS user_id, NULL::TIMESTAMP AS event_timestamp", "NULL in 1 rows"),
        ("SELECT 'a' AS user_id", "0 columns of times"),
        ("SELECT 'x'::INT AS user_id, now() AS event_timestamp", "SQL of entity_df fails"),
    ],
)
def test_sql_that_gives_no_spine_is_refused(store: FeatureStore, query: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        answers(store, query)
    assert caught.value.hint


@pytest.mark.parametrize(
    "rows",
    [spine([], pd.Series([], dtype="datetime64[us, UTC]")), "SELECT 'a' AS user_id, now() AS event_timestamp LIMIT 0"],
    ids=["frame", "sql"],
)
def test_no_rows_give_no_rows_in_the_types_of_the_features(store: FeatureStore, rows: pd.DataFrame | str) -> None:
    job = store.get_historical_features(rows, REFS)
    assert job.to_arrow().num_rows == job.to_arrow_reader().read_all().num_rows == 0
    assert [job.to_arrow().schema.field(name).type for name in ("size", "count_24h")] == [pa.int64(), pa.int64()]


@pytest.mark.parametrize(
    ("column", "message"),
    [("size", "would be called 'size'"), ("__row", "a name that the engine needs"), ("User_ID", "in other letters")],
)
def test_columns_that_would_be_taken_for_others_are_refused(store: FeatureStore, column: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        answers(store, spine(["a"], **{column: [1]}))


def test_with_full_names_a_column_may_have_the_name_of_a_feature(store: FeatureStore) -> None:
    assert answers(store, spine(["a"], size=[9]), full_feature_names=True) == [(2, 2)]


def test_columns_are_read_by_the_names_they_are_mapped_to(home: Path) -> None:
    names = {"who": "user_id", "when_": "event_timestamp", "how_big": "size", "paid": "amount"}
    store = make_store(home, ValueType.STRING, ["a", "b", "a"], **names)
    refs = [*REFS, "visits:amount_sum_24h"]
    [row] = store.get_historical_features(spine(["a"]), refs).to_arrow().to_pylist()
    assert (row["size"], row["count_24h"], row["amount_sum_24h"]) == (2, 2, 3.0)


def test_range_mode_reads_mapped_names_too(home: Path) -> None:
    store = make_store(home, ValueType.STRING, ["a", "b", "a"], who="user_id", when_="event_timestamp")
    found = answers(store, None, start_date=DAY1, end_date=NOON)
    assert found == [(0, 0), (1, 0), (2, 1)]


def test_a_mapped_column_that_the_source_lacks_is_named(home: Path) -> None:
    store = make_store(home, ValueType.STRING, ["a"], how_big="size")
    pq.write_table(pq.read_table(home / "rows.parquet").rename_columns({"how_big": "how_bug"}), home / "rows.parquet")
    with pytest.raises(DataError, match="maps column 'how_big', which it lacks") as caught:
        answers(store, spine(["a"]))
    assert "did you mean 'how_bug'" in caught.value.hint


def test_one_view_under_two_names_is_joined_by_two_keys(store: FeatureStore) -> None:
    facts, visits = store.get_feature_view("facts"), store.get_stream_feature_view("visits")
    views = [
        copy.copy(view).with_name(f"{side}_{view.name}").with_join_key_map({"user_id": f"{side}_id"})
        for side in ("buyer", "seller")
        for view in (facts, visits)
    ]
    service = FeatureService(name="trades", features=views)
    store.apply([service])
    rows = pd.DataFrame({"buyer_id": ["a", "b"], "seller_id": ["b", "c"], "event_timestamp": [NOON] * 2})
    table = store.get_historical_features(rows, service, full_feature_names=True).to_arrow()
    assert table["buyer_facts__size"].to_pylist() == [2, 1]
    assert table["seller_facts__size"].to_pylist() == [1, None]
    assert table["buyer_visits__count_24h"].to_pylist() == [2, 1]
    assert table["seller_visits__count_24h"].to_pylist() == [1, 0]


def test_a_result_in_parts_is_the_result(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(point_in_time, "ROWS_PER_BATCH", 3)
    rows = spine(["a", "b", "c", None, "a", "b", "a"], n=range(7))
    job = store.get_historical_features(rows, REFS)
    with job.to_arrow_reader() as reader:
        batches = list(reader)
    assert [batch.num_rows for batch in batches] == [3, 3, 1]
    assert pa.Table.from_batches(batches) == job.to_arrow()
    assert job.to_arrow()["n"].to_pylist() == list(range(7))


def test_a_result_larger_than_memory_comes_in_parts_and_too_little_memory_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(home, ValueType.STRING, [f"u{i}" for i in range(100)])
    rows = 400_000  # 13 MB of instants and numbers, and more of texts
    query = (
        f"SELECT 'u' || i % 100 AS user_id, TIMESTAMPTZ '2025-03-05 00:00:00+00' AS event_timestamp, i, "
        f"repeat(md5(i::VARCHAR), 10) AS note FROM range({rows}) t(i)"
    )
    monkeypatch.setenv("PORTRAIT_THREADS", "1")
    monkeypatch.setenv("PORTRAIT_MEMORY", "90MB")
    with store.get_historical_features(query, REFS).to_arrow_reader() as reader:
        seen = [(batch.num_rows, batch["i"][0].as_py(), batch["i"][-1].as_py()) for batch in reader]
    assert sum(n for n, _, _ in seen) == rows
    assert all(last - first == n - 1 for n, first, last in seen)
    monkeypatch.setenv("PORTRAIT_MEMORY", "4MB")
    with pytest.raises(SettingsError, match="does not fit") as caught:
        store.get_historical_features(query, REFS).to_arrow_reader()
    assert "PORTRAIT_MEMORY" in caught.value.hint
