"""A shopper's pseudonym is one, stays one, and says nothing."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.core.errors import DataError, SettingsError
from feature_repo.privacy.pseudonyms import (
    KEY_BYTES,
    Pseudonymiser,
    are_pseudonyms,
    is_pseudonym,
    key_path,
    load_pseudonymiser,
)

PSEUDONYMISER = Pseudonymiser(bytes(range(KEY_BYTES)))


@given(st.text().filter(str.strip))
def test_a_pseudonym_is_never_hashed_twice(raw: str) -> None:
    once = PSEUDONYMISER.pseudonym(raw)
    assert is_pseudonym(once)
    assert PSEUDONYMISER.pseudonym(once) == once


@given(
    st.lists(st.one_of(st.from_regex(r"u_[0-9a-f]{32}", fullmatch=True), st.text("u_0fFé\n", max_size=35)), min_size=1)
)
def test_many_are_pseudonyms_if_each_of_them_is(texts: list[str]) -> None:
    assert are_pseudonyms(texts) == all(is_pseudonym(text) for text in texts)


@given(st.permutations("u_" + "0" * 6 + "u_"), st.integers(0, 10))
def test_a_prefix_in_the_wrong_place_makes_no_pseudonym(letters: list[str], start: int) -> None:
    text = "0" * start + "".join(letters) + "0" * (24 - start)
    assert are_pseudonyms([text]) == is_pseudonym(text)


@pytest.mark.parametrize(
    "near", ["u_" + "0" * 31, "u_" + "0" * 33, "u_" + "A" * 32, "U_" + "0" * 32, "u_" + "0" * 32 + "\n"]
)
def test_what_only_looks_like_a_pseudonym_is_hashed(near: str) -> None:
    assert not is_pseudonym(near)
    assert PSEUDONYMISER.pseudonym(near) != near


def test_the_pseudonym_is_the_published_function_of_key_and_id() -> None:
    # HMAC-SHA-256, test case 2 of RFC 4231, with its key filled up with zeros as RFC 2104 does.
    key = b"Jefe".ljust(KEY_BYTES, b"\0")
    assert Pseudonymiser(key).pseudonym("what do ya want for nothing?") == "u_5bdcc146bf60754e6a042426089575c7"


def test_another_key_gives_another_pseudonym() -> None:
    assert Pseudonymiser(bytes(KEY_BYTES)).pseudonym("7") != PSEUDONYMISER.pseudonym("7")


@given(st.lists(st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=3).filter(str.strip)), max_size=20))
def test_a_column_is_hashed_as_its_values_are(raws: list[str | None]) -> None:
    column = PSEUDONYMISER.pseudonyms(pa.array(raws, pa.string()))
    assert column.to_pylist() == [None if raw is None else PSEUDONYMISER.pseudonym(raw) for raw in raws]


@pytest.mark.parametrize("column", [pa.array([7, None, 7]), pa.chunked_array([["7", None], ["7"]])])
def test_numbers_and_chunks_are_the_same_ids(column: pa.Array | pa.ChunkedArray) -> None:
    expected = PSEUDONYMISER.pseudonym("7")
    assert PSEUDONYMISER.pseudonyms(column).to_pylist() == [expected, None, expected]


@pytest.mark.parametrize("empty", [pa.chunked_array([], pa.string()), pa.array([], pa.int64()), pa.nulls(0)])
def test_an_empty_column_stays_empty(empty: pa.Array | pa.ChunkedArray) -> None:
    assert PSEUDONYMISER.pseudonyms(empty).to_pylist() == []


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    first = load_pseudonymiser(tmp_path).pseudonym("7")
    path = key_path(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert len(path.read_bytes()) == KEY_BYTES
    assert load_pseudonymiser(tmp_path).pseudonym("7") == first


@pytest.mark.parametrize("empty", ["", " ", "\t\u3000\n"])
def test_nobody_has_no_pseudonym(empty: str) -> None:
    with pytest.raises(DataError, match="A user id is empty"):
        PSEUDONYMISER.pseudonym(empty)
    with pytest.raises(DataError, match="A user id is empty"):
        PSEUDONYMISER.pseudonyms(pa.array(["7", empty]))


def commit_version(home: Path, name: str) -> None:
    log = home / "log" / "purchase" / "_delta_log"
    log.mkdir(parents=True, exist_ok=True)
    (log / name).touch()


def test_tables_without_rows_need_no_old_key(tmp_path: Path) -> None:
    commit_version(tmp_path, "00000000000000000000.json")
    commit_version(tmp_path, "_last_checkpoint")
    assert load_pseudonymiser(tmp_path).pseudonym("7")


# Of a long log only the checkpoint and what came after it is left, and no name of those need end in 1.
@pytest.mark.parametrize("left", ["00000000000000000001.json", "00000000000000000100.checkpoint.parquet"])
def test_a_lost_key_is_not_replaced_where_the_log_holds_rows(tmp_path: Path, left: str) -> None:
    load_pseudonymiser(tmp_path)
    commit_version(tmp_path, left)
    assert load_pseudonymiser(tmp_path)
    key_path(tmp_path).unlink()
    with pytest.raises(SettingsError, match=r"user_id\.key is missing(.|\n)*from a backup"):
        load_pseudonymiser(tmp_path)
    assert not list(key_path(tmp_path).parent.iterdir())


@pytest.mark.parametrize("length", [0, KEY_BYTES - 1, KEY_BYTES + 1])
def test_a_key_of_another_length_is_refused(tmp_path: Path, length: int) -> None:
    load_pseudonymiser(tmp_path)
    key_path(tmp_path).write_bytes(bytes(length))
    with pytest.raises(SettingsError, match=f"has {length} bytes"):
        load_pseudonymiser(tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    load_pseudonymiser(tmp_path)
    key_path(tmp_path).chmod(mode)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_pseudonymiser(tmp_path)


def test_a_key_that_is_no_file_is_refused(tmp_path: Path) -> None:
    key_path(tmp_path).mkdir(parents=True)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_pseudonymiser(tmp_path)


_RACER = """
import sys, pathlib
from feature_repo.privacy.pseudonyms import load_pseudonymiser
sys.stdin.readline()
print(load_pseudonymiser(pathlib.Path(sys.argv[1])).pseudonym("7"))
"""


def test_processes_that_race_for_the_key_agree(tmp_path: Path) -> None:
    run = [sys.executable, "-c", _RACER, str(tmp_path)]
    racers = [subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    names = {racer.communicate(timeout=60)[0].strip() for racer in racers}
    assert names == {load_pseudonymiser(tmp_path).pseudonym("7")}
    assert list(key_path(tmp_path).parent.iterdir()) == [key_path(tmp_path)]


def test_whoever_loses_the_race_uses_the_winners_key(tmp_path: Path) -> None:
    racers = 8
    with ThreadPoolExecutor(racers) as pool:
        for round_ in range(10):
            home, start = tmp_path / str(round_), threading.Barrier(racers)

            def load(home: Path = home, start: threading.Barrier = start) -> str:
                start.wait()
                return load_pseudonymiser(home).pseudonym("7")

            names = {future.result() for future in [pool.submit(load) for _ in range(racers)]}
            assert len(names) == 1
            assert list(key_path(home).parent.iterdir()) == [key_path(home)]
