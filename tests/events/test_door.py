"""What comes to the door is in the log or in quarantine afterwards, and names nobody."""

import json
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from example_counts import examples
from feature_repo.core.errors import DataError
from feature_repo.events.cleaning import faults
from feature_repo.events.door import Admitted, admit
from feature_repo.events.log import read_snapshot
from feature_repo.events.schema import INT_MAX

AT = datetime(2026, 1, 1, tzinfo=UTC)
ADA = "u_" + "0" * 32
GOOD = {"event_id": "a", "event_timestamp": AT, "ingested_at": AT, "user_id": ADA, "item_id": "7", "quantity": 1}
TYPES = {"event_timestamp": pa.timestamp("us", "UTC"), "ingested_at": pa.timestamp("us", "UTC"), "quantity": pa.int64()}


def batch(*changes: dict) -> pa.Table:
    rows = [{**GOOD, **change} for change in changes]
    return pa.table({name: pa.array([row[name] for row in rows], TYPES.get(name, pa.string())) for name in GOOD})


def held(root: Path, name: str) -> list[dict]:
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        query = f"FROM {read_snapshot(root / name).sql()} ORDER BY event_id"
        return connection.sql(query).to_arrow_table().to_pylist()


def test_good_rows_are_published_and_bad_ones_say_why(tmp_path: Path) -> None:
    rows = batch(
        {}, {"event_id": " a "}, {"event_id": "b", "quantity": INT_MAX + 1}, {"event_id": "c", "user_id": None}
    )
    assert admit(tmp_path, "purchase", rows, source="till") == Admitted(
        published=1, duplicates=1, quarantined={"integer_out_of_range_quantity": 1, "missing_user_id": 1}
    )
    assert [row["event_id"] for row in held(tmp_path, "purchase")] == ["a"]
    large, nobody = held(tmp_path, "quarantine")
    assert (large["event_id"], large["user_id"], large["reason"]) == ("b", ADA, "integer_out_of_range_quantity")
    assert (large["source"], large["line"], large["event_type"]) == ("till", None, "purchase")
    assert (large["event_timestamp"], large["ingested_at"]) == (AT, AT)
    assert json.loads(large["payload"])["quantity"] == INT_MAX + 1
    assert (nobody["event_id"], nobody["user_id"], nobody["reason"]) == ("c", None, "missing_user_id")


def test_a_batch_without_faults_makes_no_quarantine(tmp_path: Path) -> None:
    assert admit(tmp_path, "purchase", batch({}), source="till").quarantined == {}
    assert not (tmp_path / "quarantine").exists()


def test_twice_is_once_in_quarantine_too(tmp_path: Path) -> None:
    rows = batch({}, {"event_id": None}, {"event_id": None, "item_id": "8"})
    first = admit(tmp_path, "purchase", rows, source="till")
    again = admit(tmp_path, "purchase", rows, source="till")
    assert first.quarantined == again.quarantined == {"missing_event_id": 2}
    assert (again.published, again.duplicates) == (0, 1)
    assert [row["event_id"].startswith("refused-") for row in held(tmp_path, "quarantine")] == [True, True]


@pytest.mark.parametrize("also", [{}, {"event_id": None}, {"event_timestamp": None, "ingested_at": None}])
def test_a_raw_user_id_is_refused_and_never_reaches_the_disk(tmp_path: Path, also: dict) -> None:
    admit(tmp_path, "purchase", batch({"user_id": "raw-ada-2375", **also}), source="till")
    [row] = held(tmp_path, "quarantine")
    assert row["user_id"] is None
    assert "user_id" not in json.loads(row["payload"])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"raw-ada-2375" in path.read_bytes()]


def test_a_row_without_times_is_kept_without_times(tmp_path: Path) -> None:
    admit(tmp_path, "purchase", batch({"event_timestamp": None, "ingested_at": None}), source="till")
    [row] = held(tmp_path, "quarantine")
    assert (row["event_timestamp"], row["ingested_at"], row["reason"]) == (None, None, "missing_event_timestamp")


def test_a_refused_row_without_a_user_column_is_kept(tmp_path: Path) -> None:
    rows = batch({"item_id": None})
    assert admit(tmp_path, "items", rows, source="till").quarantined == {"missing_item_id": 1}
    assert held(tmp_path, "quarantine")[0]["user_id"] is None


def test_an_instant_no_calendar_has_is_kept_as_text(tmp_path: Path) -> None:
    far = pa.array([2**62], pa.int64()).cast(pa.timestamp("us", "UTC"))
    rows = batch({"event_id": None}).drop_columns("event_timestamp").append_column("client_timestamp", far)
    assert admit(tmp_path, "purchase", rows, source="till").quarantined == {"missing_event_id": 1}


def test_a_column_of_another_type_stops_the_batch_before_anything_is_written(tmp_path: Path) -> None:
    rows = batch({}).drop_columns("quantity").append_column("quantity", pa.array(["many"]))
    with pytest.raises(DataError, match="Column 'quantity' of 'purchase'"):
        admit(tmp_path, "purchase", rows, source="till")
    assert not list(tmp_path.iterdir())


ids = st.sampled_from([None, "", "a", "b"])
users = st.sampled_from([None, "", "2375", ADA])
numbers = st.sampled_from([None, 0, INT_MAX, INT_MAX + 1, -INT_MAX - 1])
drawn = st.lists(st.fixed_dictionaries({"event_id": ids, "user_id": users, "quantity": numbers}), max_size=6)


@examples(100, seconds=10)
@given(drawn)
def test_every_row_is_published_known_or_refused(tmp_path_factory: pytest.TempPathFactory, changes: list[dict]) -> None:
    root = tmp_path_factory.mktemp("door")
    admitted = admit(root, "purchase", batch(*changes), source="till")
    assert admitted.published + admitted.duplicates + sum(admitted.quarantined.values()) == len(changes)
    committed = held(root, "purchase")
    assert len(committed) == admitted.published
    if committed:
        kept = pa.Table.from_pylist(committed, read_snapshot(root / "purchase").schema)
        assert faults(kept, "purchase").null_count == len(kept)
