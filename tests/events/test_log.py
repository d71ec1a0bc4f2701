"""A commit takes an event once, whoever else commits, wherever the log is, and says what is wrong with it."""

import os
import re
from contextlib import nullcontext
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from cursors import duckdb_cursor
from feature_repo.core.errors import CommitConflictError, LogError, SettingsError
from feature_repo.core.settings import Settings, ensure_home
from feature_repo.events import log
from feature_repo.events.cleaning import complete
from feature_repo.events.log import LogTable, Snapshot, read_snapshot, reading
from feature_repo.events.schema import log_table


def rows(*ids: str | None) -> pa.Table:
    times = [0] * len(ids)
    said = {"event_id": ids, "event_timestamp": times, "ingested_at": times, "user_id": ["u_" + "0" * 32] * len(ids)}
    return complete(pa.table(said), "follow")


def held(table: LogTable) -> list[tuple[str, int]]:
    """Ids with the version that brought them, in the order of the files' rows within a version."""
    snapshot = read_snapshot(table.path)
    with duckdb_cursor() as connection:
        found = connection.sql(f"SELECT event_id, log_version FROM {snapshot.sql()}").to_arrow_table()
    return sorted(((row["event_id"], row["log_version"]) for row in found.to_pylist()), key=lambda pair: pair[1])


@pytest.fixture
def table(tmp_path: Path) -> LogTable:
    opened = log_table(tmp_path, "follow")
    opened.ensure()
    return opened


def test_a_known_event_and_a_repeated_one_are_written_once(table: LogTable) -> None:
    first, second = table.commit(rows("a", "b", "a")), table.commit(rows("b", "c"))
    assert (first.version, first.rows, first.duplicates) == (1, 2, 1)
    assert (second.version, second.rows, second.duplicates) == (2, 1, 1)


@pytest.mark.parametrize("before", [(), ("x",)], ids=["empty", "filled"])
def test_of_rows_with_one_id_the_first_is_kept_and_all_in_order(table: LogTable, before: tuple[str, ...]) -> None:
    table.commit(rows(*before))
    batch = rows("b", "a", "b", "c", "a")
    batch = batch.set_column(batch.schema.get_field_index("user_id"), "user_id", pa.array([*"12345"]))
    fresh = log.unknown_rows(batch, read_snapshot(table.path))
    assert (fresh["event_id"].to_pylist(), fresh["user_id"].to_pylist()) == ([*"bac"], [*"124"])


def test_a_batch_without_news_makes_no_version(table: LogTable) -> None:
    table.commit(rows("a"))
    assert table.commit(rows("a")).version == read_snapshot(table.path).version == 1


@pytest.mark.parametrize("held", [[], ["a"]])
def test_a_row_without_an_id_is_refused_before_it_hides_all_others(table: LogTable, held: list[str]) -> None:
    table.commit(rows(*held))
    with pytest.raises(LogError, match="1 rows for table 'follow' have no event_id"):
        table.commit(rows("b", None))
    assert table.commit(rows("b")).rows == 1


# Others commit meanwhile ----------------------------------------------------------------------------------------------


def interrupt(monkeypatch: pytest.MonkeyPatch, *others: pa.Table, table: LogTable) -> list[int]:
    """Let another writer commit between the check and the write, once for each batch; the list counts the checks."""
    check, left, checks = log.unknown_rows, list(others), []

    def checked(rows: pa.Table, snapshot: Snapshot) -> pa.Table:
        fresh = check(rows, snapshot)
        checks.append(snapshot.version)
        if left:
            other = left.pop(0)
            monkeypatch.setattr(log, "unknown_rows", check)
            table.commit(other)
            monkeypatch.setattr(log, "unknown_rows", checked)
        return fresh

    monkeypatch.setattr(log, "unknown_rows", checked)
    monkeypatch.setattr(log, "committing", nullcontext)  # those who commit meanwhile do not wait for their turn
    return checks


def test_what_another_writer_committed_meanwhile_is_not_written_again(
    table: LogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = interrupt(monkeypatch, rows("b", "x"), rows("c"), table=table)
    done = table.commit(rows("a", "b", "c"))
    assert (done.version, done.rows, done.duplicates) == (3, 1, 2)
    assert checks == [0, 1, 2]
    assert held(table) == [("b", 1), ("x", 1), ("c", 2), ("a", 3)]


def test_a_batch_another_writer_committed_whole_makes_no_version(
    table: LogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(monkeypatch, rows("a", "b"), table=table)
    done = table.commit(rows("a", "b"))
    assert (done.version, done.rows, done.duplicates) == (1, 0, 2)
    assert held(table) == [("a", 1), ("b", 1)]


def test_who_always_comes_second_gives_up_and_has_written_nothing(
    table: LogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "MAX_ATTEMPTS", 3)
    checks = interrupt(monkeypatch, rows("x"), rows("y"), rows("z"), table=table)
    with pytest.raises(CommitConflictError, match=r"'follow' .* by others 3 times in a row(.|\n)*nothing was written"):
        table.commit(rows("a"))
    assert checks == [0, 1, 2]
    assert held(table) == [("x", 1), ("y", 2), ("z", 3)]


# A stream's position --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", [1, 2])
def test_a_position_read_before_is_not_committed_again(table: LogTable, position: int) -> None:
    table.commit(rows("a", "b"), app_id="stream", position=2)
    again = table.commit(rows("new"), app_id="stream", position=position)
    assert (again.version, again.rows, again.duplicates) == (1, 0, 1)
    assert held(table) == [("a", 1), ("b", 1)]


def test_other_batch_boundaries_after_a_restart_lose_and_double_nothing(table: LogTable) -> None:
    table.commit(rows("a", "b"), app_id="stream", position=2)
    table.commit(rows("a"), app_id="stream", position=1)
    table.commit(rows("b", "c"), app_id="stream", position=3)
    table.commit(rows("c", "d"), app_id="stream", position=4)
    assert held(table) == [("a", 1), ("b", 1), ("c", 2), ("d", 3)]


def test_another_stream_has_positions_of_its_own(table: LogTable) -> None:
    table.commit(rows("a"), app_id="stream", position=9)
    assert table.commit(rows("b"), app_id="its next life", position=1).rows == 1
    assert table.commit(rows("c")).rows == 1


def test_a_position_survives_a_conflict(table: LogTable, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, rows("x"), table=table)
    assert table.commit(rows("a"), app_id="stream", position=5).version == 2
    assert table.commit(rows("b"), app_id="stream", position=5).rows == 0


def test_rows_keep_their_order_and_every_row_says_its_version(table: LogTable) -> None:
    names = [f"{n * 7919 % 1000:03}" for n in range(1000)]
    table.commit(rows(*names[:10]))
    done = table.commit(rows(*names[5:], *names[:20]))
    assert (done.version, done.rows, done.duplicates) == (2, 990, 25)
    assert held(table) == [(name, 1) for name in names[:10]] + [(name, 2) for name in names[10:]]


def test_nothing_but_the_table_is_left_beside_it(table: LogTable) -> None:
    table.commit(rows("a"))
    assert {path.suffix or path.name for path in table.path.iterdir()} == {".parquet", "_delta_log", ".lock"}


# Where the log is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["张三 shop", "a#b", "a'b", "a b", 'a"b', "a{b}", "é+~&;:", "event_id=7"])
def test_a_home_may_have_any_name_delta_can_open(tmp_path: Path, name: str) -> None:
    home = ensure_home(Settings(home=tmp_path / name))
    table = log_table(home / "log", "follow")
    table.ensure()
    assert table.commit(rows("a", "b")).rows == 2
    assert table.commit(rows("b", "c")).rows == 1
    assert held(table) == [("a", 1), ("b", 1), ("c", 2)]
    assert all(Path(file).is_file() for file in read_snapshot(table.path).files)
    table.ensure()


def test_a_directory_is_not_taken_for_a_column(tmp_path: Path) -> None:
    table = log_table(tmp_path / "shop=7", "follow")
    table.ensure()
    table.commit(rows("a"))
    snapshot = read_snapshot(table.path)
    with duckdb_cursor() as connection:
        assert connection.sql(f"FROM {snapshot.sql()}").columns == snapshot.schema.names


@pytest.mark.parametrize("letter", [*"[]*?%|^\\", "\n", "\x7f"])
def test_a_home_delta_cannot_open_is_refused_before_it_is_made(tmp_path: Path, letter: str) -> None:
    home = tmp_path / f"a{letter}b"
    with pytest.raises(SettingsError, match=re.escape(f"has {letter!r} in its path") + r"(.|\n)*set PORTRAIT_HOME"):
        ensure_home(Settings(home=home))
    assert not home.exists()


@pytest.mark.parametrize("letter", "[*?")
def test_a_file_is_read_by_its_name_and_not_by_a_pattern(tmp_path: Path, letter: str) -> None:
    for name in (f"a{letter}b]", "axb", "a"):
        (tmp_path / name).mkdir()
        with duckdb_cursor() as connection:
            made = connection.sql("SELECT $name AS event_id", params={"name": name})
            made.write_parquet(str(tmp_path / name / "f.parquet"))
    snapshot = Snapshot(
        "t", "", 0, (str(tmp_path / f"a{letter}b]" / "f.parquet"),), pa.schema([("event_id", pa.string())])
    )
    with duckdb_cursor() as connection:
        assert connection.sql(f"FROM {snapshot.sql()}").fetchall() == [(f"a{letter}b]",)]


def test_an_address_is_handed_on_as_it_is() -> None:
    address = "s3://shop/log/a%20b/f*.parquet"
    assert (log._file(address), log._pattern(address)) == (address, address)


# A damaged log --------------------------------------------------------------------------------------------------------


def damage(file: Path, how: str) -> None:
    whole = file.read_bytes()
    if how == "missing":
        file.unlink()
    elif how == "header":
        file.write_bytes(whole[:4] + b"\xff" * 36 + whole[40:])
    else:
        file.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "other": b"not parquet" * 9}[how])


def test_ids_at_both_ends_of_a_batch_are_known_whatever_lies_between(table: LogTable) -> None:
    table.commit(rows("b"))
    table.commit(rows("d", "é", "B"))
    assert table.commit(rows("d", "c", "b")).rows == 1
    assert table.commit(rows("é", "B", "z" * 200)).rows == 1
    assert table.commit(rows("z" * 200)).rows == 0
    assert table.commit(rows("z" * 200 + "!")).rows == 1


@pytest.mark.parametrize("how", ["missing", "empty", "cut", "other", "header"])
def test_a_damaged_file_is_said_by_its_table_and_with_what_to_do(table: LogTable, how: str) -> None:
    table.commit(rows("a"))
    damage(next(table.path.glob("*.parquet")), how)
    with pytest.raises(LogError, match=r"Table 'follow' of the event log cannot be read(.|\n)*Hint: restore .*follow"):
        table.commit(rows("a", "b"))  # files whose ids are all elsewhere are not read
    assert read_snapshot(table.path).version == 1


def test_a_page_found_damaged_while_batches_are_read_is_said_too(tmp_path: Path) -> None:
    file = tmp_path / "f.parquet"
    with duckdb_cursor() as connection:
        connection.execute(f"COPY (SELECT i::VARCHAR AS event_id FROM range(500000) t(i)) TO '{file}'")
        whole = bytearray(file.read_bytes())
        middle = len(whole) // 2
        whole[middle : middle + 40_000] = bytes(40_000)
        file.write_bytes(whole)
        snapshot = Snapshot(str(tmp_path / "follow"), "", 0, (str(file),), pa.schema([("event_id", pa.string())]))
        with pytest.raises(LogError, match="Table 'follow' of"), reading(snapshot):
            list(connection.sql(f"FROM {snapshot.sql()}").to_arrow_reader(10_000))


def test_only_the_damaged_table_is_named(tmp_path: Path, table: LogTable) -> None:
    other = log_table(tmp_path, "login")
    table.commit(rows("a"))
    left, right = read_snapshot(table.path), other.ensure()
    next(table.path.glob("*.parquet")).unlink()
    with duckdb_cursor() as connection:
        query = f"SELECT count(*) FROM {left.sql()}, {right.sql()}"
        with pytest.raises(LogError, match="Table 'follow' of"), reading(right, left):
            connection.sql(query).fetchall()
        with pytest.raises(duckdb.IOException), reading(right):
            connection.sql(query).fetchall()


def test_a_table_that_many_views_read_is_named_once(table: LogTable) -> None:
    table.commit(rows("a"))
    snapshots = [read_snapshot(table.path) for _ in range(3)]
    next(table.path.glob("*.parquet")).unlink()
    with (
        duckdb_cursor() as connection,
        pytest.raises(LogError, match="Table 'follow' of") as caught,
        reading(*snapshots),
    ):
        connection.sql(f"FROM {snapshots[0].sql()}").fetchall()
    assert caught.value.what.count("'follow'") == caught.value.hint.count(str(table.path)) == 1


def test_of_several_tables_the_one_with_the_damaged_page_is_named(tmp_path: Path, table: LogTable) -> None:
    other = log_table(tmp_path, "login")
    other.ensure()
    logins = complete(rows("a"), "login")
    for opened, batch in ((table, rows("a")), (other, logins)):
        opened.commit(batch)
    file = next(table.path.glob("*.parquet"))
    whole = file.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    file.write_bytes(whole[:4] + bytes(footer - 4) + whole[footer:])
    left, right = read_snapshot(table.path), read_snapshot(other.path)
    with (
        duckdb_cursor() as connection,
        pytest.raises(LogError, match="Table 'follow' of") as caught,
        reading(right, left),
    ):
        connection.sql(f"SELECT a.event_id FROM {left.sql()} a JOIN {right.sql()} b USING (event_id)").fetchall()
    assert caught.value.hint.startswith(f"restore {table.path} from")


def test_an_error_of_the_query_is_left_as_it_is(table: LogTable) -> None:
    table.commit(rows("a"))
    snapshot = read_snapshot(table.path)
    with duckdb_cursor() as connection:
        with pytest.raises(duckdb.BinderException), reading(snapshot):
            connection.sql(f"SELECT amuont FROM {snapshot.sql()}")
        with pytest.raises(duckdb.ConversionException), reading(snapshot):
            connection.sql(f"SELECT event_id::INT FROM {snapshot.sql()}").fetchall()


def test_a_damaged_transaction_log_is_said_in_one_line(table: LogTable) -> None:
    for file in (table.path / "_delta_log").iterdir():
        file.write_bytes(b"junk")
    with pytest.raises(LogError, match="Table 'follow' of the event log cannot be read") as caught:
        read_snapshot(table.path)
    assert os.linesep not in caught.value.what
    assert "<unknown>" not in str(caught.value)
