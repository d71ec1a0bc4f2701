"""Rows of a person leave a table, its files and its transaction log; all others stay what they were."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from cursors import duckdb_cursor
from feature_repo.core.errors import CommitConflictError
from feature_repo.events import removal
from feature_repo.events.cleaning import complete
from feature_repo.events.log import LogTable, read_snapshot
from feature_repo.events.removal import remove_rows, rows_naming, sweep
from feature_repo.events.schema import log_table
from feature_repo.jobs import absence
from feature_repo.privacy.tombstones import Tombstones

ADA, BOB, EVE = ("u_" + digit * 32 for digit in "abe")
NEEDLE = ADA[2:]


def follows(*events: tuple[str, str | None]) -> pa.Table:
    at = [datetime(2026, 1, 1, 0, 0, n, 1, tzinfo=UTC) for n in range(len(events))]
    times = pa.array(at, pa.timestamp("us", "UTC"))
    ids, users = zip(*events, strict=True)
    columns = {"event_id": ids, "event_timestamp": times, "ingested_at": times}
    return complete(pa.table({**columns, "user_id": pa.array(users, pa.string())}), "follow")


def held(path: Path) -> list[tuple[str, str | None, int]]:
    with duckdb_cursor() as connection:
        query = f"SELECT event_id, user_id, log_version FROM {read_snapshot(path).sql()} ORDER BY ALL"
        return connection.sql(query).fetchall()


def bytes_below(path: Path) -> bytes:
    whole = [file.read_bytes() for file in path.rglob("*") if file.is_file()]
    columns = [str(pq.read_table(file).to_pydict()).encode() for file in path.rglob("*.parquet")]
    return b"\n".join([*whole, *columns])


@pytest.fixture
def table(tmp_path: Path) -> LogTable:
    opened = log_table(tmp_path / "log", "follow")
    opened.ensure()
    return opened


def test_others_keep_their_version_and_the_person_is_in_no_file(table: LogTable) -> None:
    table.commit(follows(("a", ADA), ("b", BOB)))
    table.commit(follows(("c", BOB)))
    table.commit(follows(("d", ADA), ("e", ADA)))
    told: list[int] = []
    assert remove_rows(table.path, NEEDLE, before=lambda rows: told.append(rows.num_rows)) == 3
    assert held(table.path) == [("b", BOB, 1), ("c", BOB, 2)]
    assert sorted(told) == [1, 2]
    assert sweep(table.path, NEEDLE) == 2
    assert NEEDLE.encode() not in bytes_below(table.path)
    assert read_snapshot(table.path).version == 4


def test_a_person_is_found_in_files_that_deltalake_rewrote(table: LogTable) -> None:
    table.commit(follows(("a", ADA), ("b", BOB), ("c", EVE)))
    DeltaTable(str(table.path)).delete("event_id = 'c'")
    [file] = read_snapshot(table.path).files
    assert pa.types.is_string_view(pq.read_schema(file).field("user_id").type)  # which Arrow cannot search
    assert absence._file_names(Path(file), absence.Needles(NEEDLE, None))
    assert remove_rows(table.path, NEEDLE) == 1
    sweep(table.path, NEEDLE)
    assert held(table.path) == [("b", BOB, 1)]
    assert NEEDLE.encode() not in bytes_below(table.path)


def test_the_table_goes_on_as_before(table: LogTable) -> None:
    table.commit(follows(("a", ADA), ("b", BOB)), app_id="stream", position=7)
    remove_rows(table.path, NEEDLE)
    sweep(table.path, NEEDLE)
    assert table.commit(follows(("c", EVE)), app_id="stream", position=7).rows == 0
    assert table.commit(follows(("b", BOB), ("c", EVE)), app_id="stream", position=8).rows == 1
    assert held(table.path) == [("b", BOB, 1), ("c", EVE, 3)]
    DeltaTable(str(table.path)).optimize.compact()
    assert held(table.path) == [("b", BOB, 1), ("c", EVE, 3)]


def test_the_transaction_log_says_of_the_new_file_what_it_says_of_others(table: LogTable) -> None:
    table.commit(follows(("a", ADA), ("b", BOB), ("c", BOB)))
    remove_rows(table.path, NEEDLE)
    lines = (table.path / "_delta_log" / f"{2:020}.json").read_text().splitlines()
    [add] = [json.loads(line)["add"] for line in lines if "add" in json.loads(line)]
    assert json.loads(add["stats"]) == {
        "numRecords": 2,
        "minValues": {
            "event_timestamp": "2026-01-01T00:00:01.000Z",
            "ingested_at": "2026-01-01T00:00:01.000Z",
            "log_version": 1,
        },
        "maxValues": {
            "event_timestamp": "2026-01-01T00:00:02.001Z",
            "ingested_at": "2026-01-01T00:00:02.001Z",
            "log_version": 1,
        },
        "nullCount": {"event_timestamp": 0, "ingested_at": 0, "log_version": 0},
    }


def test_a_table_without_the_person_is_committed_to_all_the_same(table: LogTable) -> None:
    table.commit(follows(("b", BOB)))
    files = read_snapshot(table.path).files
    assert remove_rows(table.path, NEEDLE) == 0
    assert read_snapshot(table.path).version == 2
    assert read_snapshot(table.path).files == files


def test_a_writer_who_checked_before_the_tombstone_cannot_commit_after_the_removal(
    table: LogTable, tmp_path: Path
) -> None:
    tombstones = Tombstones(tmp_path)
    asked: list[int] = []

    def checked_too_early(rows: pa.Table) -> pa.Table:
        found = tombstones.standing_rows(rows)
        asked.append(found.num_rows)
        if len(asked) == 1:  # everything happens between the check and the commit
            tombstones.add(ADA)
            assert remove_rows(table.path, NEEDLE) == 0
        return found

    done = table.commit(follows(("a", ADA), ("b", BOB)), standing=checked_too_early)
    assert (asked, done.rows, done.erased) == ([2, 1], 1, 1)
    assert held(table.path) == [("b", BOB, 2)]


def test_rows_that_come_between_reading_and_removing_are_removed_too(
    table: LogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.commit(follows(("a", ADA), ("b", BOB)))
    late, commit = [follows(("c", ADA), ("d", BOB))], removal._commit

    def interrupted(*args: object) -> None:
        if late:
            log_table(table.path.parent, "follow").commit(late.pop())
        commit(*args)

    monkeypatch.setattr(removal, "_commit", interrupted)
    assert remove_rows(table.path, NEEDLE) == 2
    assert held(table.path) == [("b", BOB, 1), ("d", BOB, 2)]
    sweep(table.path, NEEDLE)
    assert len(list(table.path.glob("*.parquet"))) == len(read_snapshot(table.path).files)


def test_others_who_always_come_first_are_said(table: LogTable, monkeypatch: pytest.MonkeyPatch) -> None:
    table.commit(follows(("a", ADA)))
    count, commit = iter(range(1000)), removal._commit

    def interrupted(*args: object) -> None:
        log_table(table.path.parent, "follow").commit(follows((f"x{next(count)}", BOB)))
        commit(*args)

    monkeypatch.setattr(removal, "_commit", interrupted)
    with pytest.raises(CommitConflictError, match="Table 'follow' of the event log") as caught:
        remove_rows(table.path, NEEDLE)
    assert NEEDLE not in str(caught.value)


def test_files_of_writers_that_died_are_swept_and_those_of_others_stay(table: LogTable) -> None:
    table.commit(follows(("b", BOB)))
    for name, rows in (("ada", follows(("a", ADA))), ("bob", follows(("z", BOB)))):
        pq.write_table(rows, table.path / f"{name}.parquet")
    (table.path / "torn.parquet").write_bytes(b"PAR1 not whole")
    remove_rows(table.path, NEEDLE)
    assert sweep(table.path, NEEDLE) == 1
    assert {file.name for file in table.path.glob("*.parquet")} >= {"bob.parquet", "torn.parquet"}
    assert not (table.path / "ada.parquet").exists()


def test_old_transaction_logs_that_name_the_person_go(tmp_path: Path) -> None:
    path = tmp_path / "log" / "follow"
    rows = follows(("a", ADA)).append_column("log_version", pa.array([1]))
    write_deltalake(str(path), rows, mode="append")  # statistics of all columns
    assert NEEDLE.encode() in bytes_below(path / "_delta_log")
    remove_rows(path, NEEDLE)
    sweep(path, NEEDLE)
    assert NEEDLE.encode() not in bytes_below(path)
    assert held(path) == []


events = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([ADA, BOB, EVE, None])), min_size=1, max_size=6
)


@settings(max_examples=25)
@given(st.lists(events, max_size=4))
def test_what_is_left_is_what_was_there_without_the_person(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, str | None]]]
) -> None:
    table = log_table(tmp_path_factory.mktemp("log"), "login")
    table = LogTable(table.path, pa.schema([field.with_nullable(True) for field in table.schema][:-1]))
    table.ensure()
    for batch in batches:
        table.commit(complete(follows(*batch), "login"))
    before = held(table.path)
    assert remove_rows(table.path, NEEDLE) == sum(user == ADA for _, user, _ in before)
    assert held(table.path) == [row for row in before if row[1] != ADA]
    assert not rows_naming(table.path, NEEDLE).num_rows
