"""Upkeep leaves every row that is to be kept, and is no one's concern who reads or commits meanwhile."""

import os
import shutil
from pathlib import Path

import pytest

from cursors import duckdb_cursor
from feature_repo.core.clock import FixedClock
from feature_repo.core.errors import SettingsError
from feature_repo.core.settings import Settings
from feature_repo.events import stream_upkeep, table_files
from feature_repo.events.log import read_snapshot
from feature_repo.events.schema import arrow_schema, log_table
from feature_repo.events.stream_table import StreamTable
from feature_repo.events.stream_upkeep import Upkeep
from feature_repo.events.table_files import merge, merge_if_free
from feature_repo.events.upkeep import compact
from stream_rows import DAY, NOW, arrivals, rows

CLOCK = FixedClock(NOW)


def ids(snapshot) -> list[str]:
    with duckdb_cursor() as connection:
        return sorted(row[0] for row in connection.sql(f"SELECT event_id FROM {snapshot.sql()}").fetchall())


def filled(home: Path, *, at: int = NOW) -> Path:
    table = log_table(home / "log", "follow")
    table.ensure()
    for name in "abc":
        table.commit(rows([name], at))
    return table.path


def test_many_files_become_one_and_a_reader_keeps_its_own(tmp_path: Path) -> None:
    path = filled(tmp_path)
    before = read_snapshot(path)
    done = compact(Settings(home=tmp_path), CLOCK).tables["follow"]
    assert (done.files_before, done.files_after, done.removed_rows) == (3, 1, 0)
    assert ids(before) == ids(read_snapshot(path)) == ["a", "b", "c"]


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    filled(tmp_path)
    settings = Settings(home=tmp_path)
    first = compact(settings, CLOCK).tables["follow"]
    again = compact(settings, CLOCK).tables["follow"]
    assert (again.version_before, again.version_after) == (first.version_after,) * 2


def test_events_older_than_their_types_retention_are_removed(tmp_path: Path) -> None:
    path = filled(tmp_path, at=NOW - 30 * DAY - 1)
    log_table(tmp_path / "log", "follow").commit(rows(["edge"], NOW - 30 * DAY))
    assert compact(Settings(home=tmp_path, retention="view=1d"), CLOCK).tables["follow"].removed_rows == 0
    assert compact(Settings(home=tmp_path, retention="follow=30d"), CLOCK).tables["follow"].removed_rows == 3
    assert ids(read_snapshot(path)) == ["edge"]


def test_a_retention_of_no_event_type_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"names 'logn'(.|\n)*did you mean 'login'"):
        compact(Settings(home=tmp_path, retention="logn=1d"), CLOCK)


def test_left_overs_are_removed_when_they_are_a_day_old(tmp_path: Path) -> None:
    for name, age_s in (("import-old", 90_000), ("import-new", 80_000)):
        folder = tmp_path / "tmp" / name
        folder.mkdir(parents=True)
        os.utime(folder, (NOW / 1e6 - age_s,) * 2)
    assert compact(Settings(home=tmp_path), CLOCK).left_overs == 1
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == ["import-new"]


@pytest.mark.slow(10)
def test_a_stream_is_compacted_on_its_way_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_upkeep, "DUE_VERSIONS", 4)
    path = filled(tmp_path)
    table, keeper = StreamTable(path, arrow_schema("follow"), known_days=7), Upkeep()
    begun = []
    for n in range(10):
        table.commit(arrivals([f"s{n}", "a"], first=2 * n + 1))
        begun.append(keeper.due(table))
    keeper.close()
    assert sum(begun) >= 1
    assert keeper.errors == 0
    assert ids(read_snapshot(path)) == sorted(["a", "b", "c", *(f"s{n}" for n in range(10))])
    done = table.commit(arrivals(["s0", "new"], first=30))
    assert (done.rows["event_id"].to_pylist(), done.duplicates) == (["new"], 1)


def test_of_two_who_merge_at_once_one_lets_it_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, tried = filled(tmp_path), list[bool]()
    load = table_files.load_table

    def loaded(path: Path) -> object:
        table = load(path)
        if not tried:
            tried.append(merge_if_free(path, 2**20))
        return table

    monkeypatch.setattr(table_files, "load_table", loaded)
    merge(path, 2**20)
    assert tried == [False]
    assert ids(read_snapshot(path)) == ["a", "b", "c"]
    assert merge_if_free(path, 2**20)


def test_files_that_no_version_names_go_after_an_hour(tmp_path: Path) -> None:
    path = filled(tmp_path)
    [whole, *_] = path.glob("*.parquet")
    for name, age_s in (("old", 3_700), ("young", 3_500)):
        shutil.copy(whole, lost := path / f"part-{name}.parquet")
        os.utime(lost, (lost.stat().st_mtime - age_s,) * 2)
    assert compact(Settings(home=tmp_path), CLOCK).tables["follow"].vacuumed == 1
    assert not (path / "part-old.parquet").exists()
    assert (path / "part-young.parquet").exists()
    assert ids(read_snapshot(path)) == ["a", "b", "c"]


@pytest.mark.slow(10)
def test_a_streams_entries_and_lost_files_go_on_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_upkeep, "DUE_VERSIONS", 2)
    monkeypatch.setattr(stream_upkeep, "MERGES_PER_TIDYING", 2)
    path = filled(tmp_path)
    table, keeper = StreamTable(path, arrow_schema("follow"), known_days=7), Upkeep()
    merge(path, 2**20)  # with a checkpoint: versions of the last hour rest on it
    (lost := path / "part-lost.parquet").touch()
    for file in (lost, *(path / "_delta_log").iterdir()):
        os.utime(file, (file.stat().st_mtime - 7_200,) * 2)
    for n in range(12):
        table.commit(arrivals([f"s{n}"], first=n + 1))
        keeper.due(table)
        keeper.wait()
    keeper.close()
    assert keeper.errors == 0
    assert not lost.exists()
    assert not (path / "_delta_log" / f"{1:020}.json").exists()
    assert ids(read_snapshot(path)) == sorted(["a", "b", "c", *(f"s{n}" for n in range(12))])


def test_a_compaction_that_was_killed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_upkeep, "DUE_VERSIONS", 1)
    path = filled(tmp_path)
    table, keeper = StreamTable(path, arrow_schema("follow"), known_days=7), Upkeep()
    for n in range(3):
        table.commit(arrivals([f"s{n}"], first=n + 1))
        keeper.due(table)
        keeper.wait()
        if n == 1:
            assert keeper._worker is not None
            keeper._worker.kill()
            keeper._worker.wait()
    keeper.close()
    assert keeper.errors == 0
    assert ids(read_snapshot(path)) == sorted(["a", "b", "c", "s0", "s1", "s2"])
    assert len(read_snapshot(path).files) == 1


def test_what_compacts_ends_with_the_process_that_asked(tmp_path: Path) -> None:
    worker = stream_upkeep._worker()
    assert worker.stdin is not None
    worker.stdin.close()
    assert worker.wait(timeout=30) == 0
    assert worker.stdout is not None
    worker.stdout.close()
