"""A head that is known is read once, and is never taken for another one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from feature_repo.core.errors import LogError
from feature_repo.events import log
from feature_repo.events.log import LogTable, read_snapshot
from feature_repo.events.schema import log_table
from feature_repo.events.upkeep import merge
from stream_rows import rows

LONG = 2**40


@pytest.fixture
def table(tmp_path: Path) -> LogTable:
    opened = log_table(tmp_path, "follow")
    opened.ensure()
    opened.commit(rows(["a"], 0))
    return opened


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the tables that were opened, in order."""
    found: list[str] = []
    load = log.load_table

    def loading(path: str | Path, version: int | None = None) -> object:
        found.append(str(path))
        return load(path, version)

    monkeypatch.setattr(log, "load_table", loading)
    return found


def test_a_table_nobody_committed_to_is_opened_once(table: LogTable, loads: list[str]) -> None:
    first = read_snapshot(table.path)
    del loads[:]
    assert [read_snapshot(table.path) for _ in range(3)] == [first] * 3
    assert read_snapshot(str(table.path)) == first
    assert not loads


def test_a_version_that_is_asked_for_is_read(table: LogTable) -> None:
    assert read_snapshot(table.path).version == 1
    assert read_snapshot(table.path, version=0).files == ()
    assert read_snapshot(table.path).version == 1


def _commits(table: LogTable) -> None:
    table.commit(rows(["b"], 0))


def _is_merged(table: LogTable) -> None:
    merge(table.path, LONG)


def _is_made_anew(table: LogTable) -> None:
    shutil.rmtree(table.path)
    table.ensure()
    table.commit(rows(["c"], 0))


def _is_restored(table: LogTable) -> None:
    copy = table.path.with_name("copy")
    shutil.copytree(table.path, copy)  # the same version of the same table
    shutil.rmtree(table.path)
    copy.rename(table.path)


@pytest.mark.parametrize("happens", [_commits, _is_merged, _is_made_anew, _is_restored])
def test_what_happened_to_the_table_is_seen(
    table: LogTable, loads: list[str], happens: Callable[[LogTable], None]
) -> None:
    table.commit(rows(["x"], 0))
    known = read_snapshot(table.path)
    happens(table)
    del loads[:]
    found = read_snapshot(table.path)
    assert loads
    assert found == read_snapshot(table.path, version=found.version)
    assert (found == known) is (happens is _is_restored)


def test_a_table_that_is_gone_is_said_to_be(table: LogTable) -> None:
    read_snapshot(table.path)
    shutil.rmtree(table.path)
    with pytest.raises(LogError, match="has no table 'follow'"):
        read_snapshot(table.path)


def test_only_the_tables_that_were_read_last_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feature_repo.events.known_heads._MOST_TABLES", 2)
    heads = log.KnownHeads[int]()
    tables = [log_table(tmp_path, name) for name in ("follow", "login", "view")]
    for n, each in enumerate(tables):
        each.ensure()
        heads.put(each.path, 0, n)
    assert [heads.get(each.path) for each in tables] == [None, 1, 2]
