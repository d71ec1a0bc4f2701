"""A consumer's commits: each row of the stream once, whatever is read again and whoever else commits."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from feature_repo.core.errors import LogError
from feature_repo.events import known_ids
from feature_repo.events.delta_entry import entry_path
from feature_repo.events.log import LogTable, append, read_snapshot, stamped
from feature_repo.events.schema import arrow_schema, log_table
from feature_repo.events.stream_table import StreamTable
from feature_repo.events.table_head import load_table
from stream_rows import DAY, NOW, arrivals, rows


@pytest.fixture
def log(tmp_path: Path) -> LogTable:
    opened = log_table(tmp_path, "follow")
    opened.ensure()
    return opened


def opened(log: LogTable, known_days: int = 7) -> StreamTable:
    return StreamTable(log.path, arrow_schema("follow"), known_days=known_days)


def test_rows_are_handed_back_as_they_were_written(log: LogTable) -> None:
    done = opened(log).commit(arrivals(["b", "a", "b"]))
    assert (done.version, done.duplicates, done.replayed) == (1, 1, 0)
    assert done.rows.select(["event_id", "log_version"]).to_pydict() == {"event_id": ["b", "a"], "log_version": [1, 1]}


def test_positions_read_again_are_left_out_whatever_their_ids(log: LogTable) -> None:
    opened(log).commit(arrivals(["a", "b"]))
    done = opened(log).commit(arrivals(["x", "b", "c"]))
    assert (done.version, done.rows["event_id"].to_pylist(), done.replayed) == (2, ["c"], 2)


def test_an_id_is_known_from_the_log_from_others_and_from_oneself(log: LogTable) -> None:
    log.commit(rows(["a"]))
    table = opened(log)
    log.commit(rows(["b"]))
    table.commit(arrivals(["c"]))
    done = table.commit(arrivals(["a", "b", "c", "d"], first=2))
    assert (done.version, done.rows["event_id"].to_pylist(), done.duplicates) == (4, ["d"], 3)


def test_an_event_older_than_the_ids_held_is_looked_for_in_the_table(log: LogTable) -> None:
    log.commit(rows(["old"], NOW - 30 * DAY))
    log.commit(rows(["new"]))
    done = opened(log).commit(arrivals(["older", "old"], at=NOW - 30 * DAY))
    assert (done.rows["event_id"].to_pylist(), done.duplicates) == (["older"], 1)


def test_only_files_with_newer_rows_are_handed_out(log: LogTable) -> None:
    table = opened(log)
    for n, name in enumerate("abc"):
        assert table.commit(arrivals([name], first=1 + n)).version == n + 1
    assert [len(table.newer(above).files) for above in range(4)] == [3, 2, 1, 0]
    assert table.head() == table.newer(0).version == read_snapshot(log.path).version == 3


def test_a_person_erased_on_the_way_to_a_commit_is_left_out_when_it_is_tried_again(log: LogTable) -> None:
    table, asked = opened(log), list[int]()

    def standing(users: pa.ChunkedArray) -> pa.Array:
        asked.append(len(users))
        if len(asked) > 1:
            return pa.array([False, True])
        append(load_table(log.path), stamped(log.conform(rows(["x"])), 1), {})  # by who takes no turns
        return pa.array([True, True])

    done = table.commit(arrivals(["a", "b"]), standing=standing)
    assert (asked, done.rows["event_id"].to_pylist(), done.duplicates, done.replayed) == ([2, 2], ["b"], 0, 0)


def test_threads_that_ask_at_once_while_others_commit_are_told_whole_snapshots(log: LogTable) -> None:
    table, other = opened(log), opened(log)

    def ask(_: int) -> set[int]:
        snapshot = table.newer(-1)
        return {len(snapshot.files) - snapshot.version}  # each version here is one file

    with ThreadPoolExecutor(4) as threads:
        asked = [threads.map(ask, range(40))]
        for n in range(40):
            other.commit(arrivals([str(n)], first=1 + n))
            asked.append(threads.map(ask, range(10)))
        assert {found for each in asked for answers in each for found in answers} == {0}


def test_a_table_that_comes_to_ask_more_of_its_writers_is_written_by_deltalake(log: LogTable) -> None:
    table = opened(log)
    table.commit(arrivals(["a"]))
    DeltaTable(str(log.path)).alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    done = table.commit(arrivals(["a", "b"]))
    assert (done.version, done.rows["event_id"].to_pylist(), done.replayed) == (3, ["b"], 1)
    by_deltalake = ["delta-rs" in entry_path(log.path, version).read_text() for version in (1, 3)]
    assert by_deltalake == [False, True]
    assert table.commit(arrivals(["a", "b"])).replayed == 2


def test_others_commits_compactions_and_erasures_are_followed_without_loading_the_table(
    log: LogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.commit(rows(["a"]), app_id="stream-0", position=1)
    table, other = opened(log), opened(log)
    assert table.commit(arrivals(["a"])).replayed == 1
    log.commit(rows(["b"]), app_id="stream-0", position=2)
    other.commit(arrivals(["c"], first=3))
    DeltaTable(str(log.path)).optimize.compact()
    DeltaTable(str(log.path)).delete("event_id = 'b'")
    monkeypatch.setattr("feature_repo.events.followed_table.load_table", None)
    done = table.commit(arrivals(["a", "b", "c", "c", "d"]))
    assert (done.version, done.rows["event_id"].to_pylist(), done.replayed) == (6, ["d"], 3)
    assert table.newer(-1) == read_snapshot(log.path)


def test_a_table_made_anew_is_refused(log: LogTable) -> None:
    table = opened(log)
    table.commit(arrivals(["a"]))
    shutil.rmtree(log.path)
    log.ensure()
    with pytest.raises(LogError, match=r"'follow' of the event log is at version 0, and was at 1 before"):
        table.commit(arrivals(["b"], first=2))
    for name in "xyz":
        log.commit(rows([name]))
    DeltaTable(str(log.path)).alter.set_table_properties({"delta.appendOnly": "false"})
    with pytest.raises(LogError, match=r"'follow' of the event log has another id than before"):
        table.commit(arrivals(["b"], first=2))


def test_an_id_that_is_too_old_to_be_held_is_looked_for_in_the_table(
    log: LogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_ids, "GENERATION", 4)
    table = opened(log, known_days=1)
    for day in range(8):
        table.commit(arrivals([f"{day}a", f"{day}b"], first=2 * day + 1, at=NOW + day * DAY))
    assert table.ids_held <= 2 * 2 + 4
    for day in range(8):
        done = table.commit(arrivals([f"{day}a", f"{day}x"], first=100 + 2 * day, at=NOW + day * DAY))
        assert (done.rows["event_id"].to_pylist(), done.duplicates) == ([f"{day}x"], 1)
