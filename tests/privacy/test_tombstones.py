"""An erased person is known again whatever brings them, and nobody else is taken for one."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.core.errors import SettingsError
from feature_repo.events import log
from feature_repo.events.cleaning import complete
from feature_repo.events.door import admit
from feature_repo.events.log import read_snapshot
from feature_repo.events.quarantine import QUARANTINE_SCHEMA, quarantine_rows, quarantine_table
from feature_repo.events.schema import log_table
from feature_repo.privacy.tombstones import Tombstones, tombstones_path

ADA, BOB, EVE = ("u_" + digit * 32 for digit in "abe")
AT = datetime(2026, 1, 1, tzinfo=UTC)


def purchases(*users: str | None, ids: str = "p") -> pa.Table:
    stamps = pa.array([AT] * len(users), pa.timestamp("us", "UTC"))
    names = [f"{ids}{n}" for n in range(len(users))]
    columns = {"event_id": names, "event_timestamp": stamps, "ingested_at": stamps}
    return pa.table({**columns, "user_id": pa.array(users, pa.string())})


@given(st.lists(st.sampled_from([ADA, BOB, EVE, None]), max_size=9), st.sets(st.sampled_from([ADA, BOB, EVE])))
def test_rows_stand_unless_their_person_was_erased(
    tmp_path_factory: pytest.TempPathFactory, users: list[str | None], erased: set[str]
) -> None:
    tombstones = Tombstones(tmp_path_factory.mktemp("home"))
    assert [tombstones.add(each) for each in erased] == [True] * len(erased)
    whole = pa.array(users, pa.string())
    for column in (whole, pa.chunked_array([whole.slice(0, 2), whole.slice(2)])):
        assert tombstones.standing(column).to_pylist() == [user not in erased for user in users]
    assert tombstones.count == len(erased)


def test_another_process_sees_it_at_once_and_the_file_names_nobody(tmp_path: Path) -> None:
    here, there = Tombstones(tmp_path), Tombstones(tmp_path)
    assert not there.holds(ADA)
    assert (here.add(ADA), here.add(ADA), there.add(ADA)) == (True, False, False)
    assert there.holds(ADA)
    assert not there.holds(BOB)
    assert there.count == 1
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if ADA[2:].encode() in path.read_bytes()]
    assert not [path for path in files if path.stat().st_mode & 0o077 and path.suffix != ".lock"]


def test_other_homes_have_other_hashes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Tombstones(tmp_path / name).add(ADA)
    assert tombstones_path(tmp_path / "a").read_bytes() != tombstones_path(tmp_path / "b").read_bytes()


@pytest.mark.parametrize("cut", range(1, 33))
def test_a_line_that_was_cut_short_hides_no_other(tmp_path: Path, cut: int) -> None:
    Tombstones(tmp_path).add(ADA)
    Tombstones(tmp_path).add(BOB)
    path = tombstones_path(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    after = Tombstones(tmp_path)
    assert (after.holds(ADA), after.holds(BOB)) == (True, cut == 1)
    after.add(EVE)
    assert after.add(BOB) == (cut > 1)
    assert [Tombstones(tmp_path).holds(each) for each in (ADA, BOB, EVE)] == [True] * 3


def test_people_erased_at_once_are_all_kept(tmp_path: Path) -> None:
    people = [f"u_{n:032x}" for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda each: Tombstones(tmp_path).add(each), people))
    assert all(map(Tombstones(tmp_path).holds, people))


def test_a_lost_key_is_said_before_an_erased_person_comes_back(tmp_path: Path) -> None:
    Tombstones(tmp_path).add(ADA)
    (tmp_path / "keys" / "tombstones.key").unlink()
    for ask in (Tombstones(tmp_path).holds, Tombstones(tmp_path).add):
        with pytest.raises(SettingsError, match=r"tombstones.key.*\n.*from a backup"):
            ask(BOB)
    with pytest.raises(SettingsError, match="who was erased"):
        admit(tmp_path / "log", "purchase", purchases(BOB), source="till")
    assert not (tmp_path / "log").exists()


def test_asking_makes_nothing(tmp_path: Path) -> None:
    assert Tombstones(tmp_path / "none").standing(pa.array([ADA, None])).to_pylist() == [True, True]
    assert not (tmp_path / "none").exists()


def test_another_process_is_stopped_from_the_moment_the_tombstone_is_there(tmp_path: Path) -> None:
    add = "import sys, pathlib; from feature_repo.privacy.tombstones import Tombstones as T; "
    add += "T(pathlib.Path(sys.argv[1])).add(sys.argv[2])"
    seen = Tombstones(tmp_path)
    assert seen.count == 0
    subprocess.run([sys.executable, "-c", add, str(tmp_path), ADA], check=True)
    assert seen.holds(ADA)


# The door and the log -------------------------------------------------------------------------------------------------


def users_in(root: Path, name: str) -> list[str | None]:
    return pa.dataset.dataset(read_snapshot(root / name).files).to_table()["user_id"].to_pylist()


def test_the_door_drops_rows_of_erased_people_good_and_bad_ones_and_counts_them(tmp_path: Path) -> None:
    Tombstones(tmp_path).add(ADA)
    rows = purchases(ADA, BOB, ADA, ADA)
    bad = rows.set_column(0, "event_id", pa.array(["p0", "p1", "p2", None]))
    found = admit(tmp_path / "log", "purchase", bad, source="till")
    assert (found.published, found.duplicates, found.quarantined, found.erased) == (1, 0, {}, 3)
    assert not (tmp_path / "log" / "quarantine").exists()


def test_a_table_about_nobody_needs_no_check(tmp_path: Path) -> None:
    Tombstones(tmp_path).add(ADA)
    rows = purchases(None).drop_columns("user_id").append_column("item_id", pa.array(["7"]))
    assert admit(tmp_path / "log", "items", rows, source="till").published == 1


def test_a_person_erased_after_the_door_is_stopped_before_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = log.unknown_rows
    tombstones = Tombstones(tmp_path)
    monkeypatch.setattr(log, "unknown_rows", lambda *given: (tombstones.add(ADA), known(*given))[1])
    found = admit(tmp_path / "log", "purchase", purchases(ADA, BOB), source="till")
    assert (found.published, found.erased) == (1, 1)


def test_every_attempt_to_commit_checks_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, tombstones = log_table(tmp_path / "log", "purchase"), Tombstones(tmp_path)
    table.ensure()
    write, others = log.write_deltalake, [complete(purchases(EVE, ids="x"), "purchase")]

    def interrupted(*args: object, **kwargs: object) -> None:
        if others:
            rows = others.pop()
            tombstones.add(ADA)
            head = log.load_table(table.path)  # by a process that takes no turns
            log.append(head, log.stamped(table.conform(rows), head.version() + 1), {})
        write(*args, **kwargs)

    monkeypatch.setattr(log, "write_deltalake", interrupted)
    done = table.commit(complete(purchases(ADA, BOB), "purchase"), standing=tombstones.standing_rows)
    assert (done.version, done.rows, done.erased) == (2, 1, 1)


def test_refused_rows_of_erased_people_are_not_kept_either(tmp_path: Path) -> None:
    quarantine_table(tmp_path / "log").ensure()
    Tombstones(tmp_path).add(ADA)
    bad = purchases(BOB, ADA).set_column(0, "event_id", pa.nulls(2, pa.string()))
    found = admit(tmp_path / "log", "purchase", bad, source="till")
    assert (found.quarantined, found.erased) == ({"missing_event_id": 1}, 1)


def test_refused_rows_that_only_name_an_erased_person_somewhere_are_not_kept(tmp_path: Path) -> None:
    Tombstones(tmp_path).add(ADA)
    facts = {"source": "stream", "event_type": "purchase", "reason": "no_json", "user_id": None, "line": None}
    payloads = [f'{{"user": "{ADA}', f'{{"user": "{BOB}', None]
    said = [{**facts, "event_id": str(n), "payload": text} for n, text in enumerate(payloads)]
    quarantine_rows(tmp_path / "log", pa.Table.from_pylist(said, QUARANTINE_SCHEMA))
    kept = pa.dataset.dataset(read_snapshot(tmp_path / "log" / "quarantine").files).to_table()
    assert kept["event_id"].to_pylist() == ["1", "2"]
