"""What Feast writes through the offline store: saved datasets, logged features, rows of ordinary views."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureService, FeatureStore, Field, RequestSource, ValueType
from feast.data_format import DeltaFormat
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Int64

from feast_stores import entities_of, facts_view, source_of, store_at
from feature_repo.core.errors import DataError
from feature_repo.engine import point_in_time
from feature_repo.engine.retrieval import DuckDBRetrievalJob
from histories import US

KEYS = {"user_id": ValueType.STRING}
AT = datetime(2025, 3, 1, tzinfo=UTC)
SPINE = pd.DataFrame({"user_id": ["a", "b", "c"], "event_timestamp": [AT + timedelta(hours=i) for i in range(3)]})
SQL = (
    "SELECT unnest(['a', 'b', 'c']) AS user_id, "
    "TIMESTAMPTZ '2025-03-01 00:00:00+00' + to_hours(unnest(range(3))) AS event_timestamp"
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:(Saving dataset|Retrieving dataset|On demand feature view|Logged features).*:RuntimeWarning"
)


@pytest.fixture
def store(home: Path) -> FeatureStore:
    home.mkdir()
    rows = {"user_id": ["a", "b"], "event_timestamp": pa.array([AT, AT], US), "size": [1, 2]}
    pq.write_table(pa.table(rows), home / "facts.parquet")
    store = store_at(home)
    facts = facts_view(source_of("facts_file", home / "facts.parquet"), KEYS)
    store.apply([*entities_of(KEYS), facts])
    return store


def asked(store: FeatureStore, rows: pd.DataFrame | str = SPINE) -> Any:
    return store.get_historical_features(rows, ["facts:size"])


@pytest.mark.parametrize("rows", [SPINE, SQL], ids=["frame", "sql"])
@pytest.mark.parametrize("path", ["sets/one.parquet", "{home}/sets/one.parquet"])
def test_a_saved_dataset_is_read_back(store: FeatureStore, home: Path, rows: pd.DataFrame | str, path: str) -> None:
    storage = SavedDatasetFileStorage(path=path.format(home=home))
    store.create_saved_dataset(asked(store, rows), "one", storage)
    assert (home / "sets" / "one.parquet").is_file()
    found = store.get_saved_dataset("one").to_df().sort_values("user_id", ignore_index=True)
    pd.testing.assert_frame_equal(found[["user_id", "event_timestamp", "size"]], asked(store).to_df())


def test_a_dataset_is_replaced_only_when_asked_to(store: FeatureStore, tmp_path: Path) -> None:
    storage = SavedDatasetFileStorage(path=str(tmp_path / "one.parquet"))
    asked(store).persist(storage)
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        asked(store).persist(storage)
    asked(store, SPINE[:1]).persist(storage, allow_overwrite=True)
    assert pq.read_table(tmp_path / "one.parquet").num_rows == 1


def test_a_dataset_is_written_in_groups_of_rows_in_order(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(point_in_time, "ROWS_PER_BATCH", 2)
    asked(store).persist(SavedDatasetFileStorage(path=str(tmp_path / "one.parquet")))
    written = pq.ParquetFile(tmp_path / "one.parquet")
    assert [written.metadata.row_group(i).num_rows for i in range(written.num_row_groups)] == [2, 1]
    assert written.read()["size"].to_pylist() == [1, 2, None]


def test_a_dataset_that_fails_half_way_leaves_the_old_one_and_nothing_else(tmp_path: Path, home: Path) -> None:
    def fails(_connection: duckdb.DuckDBPyConnection) -> pa.RecordBatchReader:
        def batches() -> Any:
            yield pa.record_batch({"n": [1]})
            raise DataError("half way")

        return pa.RecordBatchReader.from_batches(pa.schema([("n", pa.int64())]), batches())

    path = tmp_path / "set.parquet"
    pq.write_table(pa.table({"n": [7]}), path)
    with pytest.raises(DataError, match="half way"):
        DuckDBRetrievalJob(fails).persist(SavedDatasetFileStorage(path=str(path)), allow_overwrite=True)
    assert pq.read_table(path)["n"].to_pylist() == [7]
    assert list(tmp_path.glob(".*partial")) == []


def test_a_dataset_is_not_saved_as_a_delta_table(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be saved"):
        asked(store).persist(SavedDatasetFileStorage(path=str(tmp_path), file_format=DeltaFormat()))


def test_on_demand_features_keep_their_declared_type_in_every_part(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    @on_demand_feature_view(
        sources=[store.get_feature_view("facts"), RequestSource(name="more", schema=[Field(name="n", dtype=Int64)])],
        schema=[Field(name="twice", dtype=Int64)],
        mode="pandas",
    )
    def doubled(inputs: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd  # noqa: PLC0415 - Feast restores the function from its text

        return pd.DataFrame({"twice": inputs["size"] * 2 + inputs["n"]})

    store.apply([doubled])
    monkeypatch.setattr(point_in_time, "ROWS_PER_BATCH", 2)
    job = store.get_historical_features(SPINE.assign(n=5), ["facts:size", "doubled:twice"])
    with job.to_arrow_reader() as reader:
        table = reader.read_all()
    assert table.schema.field("twice").type == pa.int64()
    assert table["twice"].to_pylist() == [7, 9, None]
    assert job.to_df()["twice"].tolist()[:2] == [7.0, 9.0]


def logged(store: FeatureStore, destination: FileLoggingDestination) -> tuple[FeatureService, pa.Table]:
    service = FeatureService(
        name="sized", features=[store.get_feature_view("facts")], logging_config=LoggingConfig(destination=destination)
    )
    store.apply([service])
    rows = {
        "user_id": ["a", "b", "a"],
        "facts__size": pa.array([1, 2, None], pa.int64()),
        "facts__size__timestamp": pa.array([AT] * 3, US),
        "facts__size__status": pa.array([2, 2, 1], pa.int32()),
        "__log_timestamp": pa.array([AT] * 3, US),
        "__log_date": pa.array([AT.date()] * 3, pa.date32()),
        "__request_id": ["r1", "r1", "r2"],
    }
    return service, pa.table(rows)


@pytest.mark.parametrize("partition_by", [None, ["__request_id"], ["__log_date", "__request_id"]])
def test_logged_features_are_read_back(
    store: FeatureStore, home: Path, tmp_path: Path, partition_by: list[str] | None
) -> None:
    service, rows = logged(store, FileLoggingDestination(path="served", partition_by=partition_by))
    pq.write_to_dataset(rows, tmp_path / "spooled")
    store.write_logged_features(rows, service)
    store.write_logged_features(tmp_path / "spooled", service)
    store.write_logged_features(rows[:0], service)
    assert len(list((home / "served").rglob("*.parquet"))) == (4 if partition_by else 2)
    again = store._get_provider().retrieve_feature_service_logs(
        service, AT, AT + timedelta(seconds=1), store.config, store.registry
    )
    found = again.to_df()
    assert sorted(found["facts__size"].dropna()) == [1, 1, 2, 2]
    assert sorted(found["__request_id"]) == ["r1"] * 4 + ["r2"] * 2


def test_logs_without_the_column_they_are_partitioned_by_are_refused(store: FeatureStore) -> None:
    service, rows = logged(store, FileLoggingDestination(path="served", partition_by=["__log_dat"]))
    with pytest.raises(DataError, match="partitioned by '__log_dat'") as caught:
        store.write_logged_features(rows, service)
    assert "did you mean '__log_date'" in caught.value.hint


def test_rows_pushed_to_an_ordinary_view_are_added_to_its_file(store: FeatureStore, home: Path) -> None:
    rows = pd.DataFrame({"user_id": ["c"], "event_timestamp": [AT], "size": [3]})
    store.write_to_offline_store("facts", rows)
    assert asked(store).to_df()["size"].tolist() == [1, 2, 3]
    assert list(home.glob(".*partial")) == []


def test_rows_cannot_be_pushed_past_the_door_of_the_event_log(home: Path) -> None:
    view = facts_view(source_of("facts_log", home / "log" / "facts", delta=True), KEYS)
    offline = store_at(home)._get_provider().offline_store
    with pytest.raises(DataError, match="reads the event log") as caught:
        offline.offline_write_batch(None, view, pa.table({"user_id": ["a"]}), None)
    assert "portrait events import" in caught.value.hint
