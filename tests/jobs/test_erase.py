"""An erased person is found nowhere, does not come back, and nobody else's data changes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis as redis_py

from feature_repo import cli
from feature_repo.core.clock import FixedClock, SystemClock
from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.engine.entity_keys import entity_of, entity_pattern
from feature_repo.engine.feature_store import open_store
from feature_repo.engine.positions import Positions
from feature_repo.events import removal
from feature_repo.events.door import admit
from feature_repo.events.importing.job import import_events
from feature_repo.events.importing.mapping_file import read_mapping
from feature_repo.jobs import absence, services
from feature_repo.jobs.absence import Needles, scan
from feature_repo.jobs.erase import EraseReport, erase
from feature_repo.jobs.erase_redis import delete_keys, delete_queued, wait_for_consumers
from feature_repo.jobs.features import apply
from feature_repo.jobs.materialize import materialize
from feature_repo.jobs.parity import parity
from feature_repo.privacy.pseudonyms import load_pseudonymiser
from feature_repo.privacy.tombstones import Tombstones
from redis_keys import keys_in
from support_commands import run_portrait

PEOPLE = 16
BEGIN = datetime.now(UTC).replace(microsecond=7) - timedelta(days=20)


ORDERS = """
source: {format: csv}
time: {zone: UTC}
event_type: purchase
columns: {user_id: who, event_timestamp: at, item_id: item, amount: paid}
duplicates: keep
"""


def raw(n: int) -> str:
    return f"raw-shopper-{n:04}"


def pseudonym(settings: Settings, n: int) -> str:
    return load_pseudonymiser(settings.home).pseudonym(raw(n))


def rows(settings: Settings, table: str, users: list[int], begin: int, **columns: Any) -> pa.Table:
    """Events of some people, a few each; item k belongs to person k alone, the others to many."""
    count = 4 * len(users)
    numbers = np.arange(begin, begin + count)
    at = [BEGIN + timedelta(hours=int(n) % 400) for n in numbers]
    who = [users[n % len(users)] for n in range(count)]
    times = pa.array(at, pa.timestamp("us", "UTC"))
    return pa.table(
        {
            "event_id": [f"{table}-{n}" for n in numbers],
            "event_timestamp": times,
            "ingested_at": times,
            "user_id": [pseudonym(settings, n) for n in who],
            "item_id": [f"own-{n}" if i < len(users) else f"item-{i % 5}" for i, n in enumerate(who)],
            "category": [f"c{i % 3}" for i in range(count)],
            "amount": [float(n % 40) / 4 for n in numbers],
            **columns,
        }
    )


def send(settings: Settings, users: list[int], begin: int = 0) -> None:
    purchases = rows(settings, "purchase", users, begin)
    half = purchases.num_rows // 2
    for part in (purchases.slice(0, half), purchases.slice(half)):
        admit(settings.log_root, "purchase", part, source="till")
    admit(settings.log_root, "payment", rows(settings, "payment", users, begin), source="till")
    bad = rows(settings, "refused", users, begin)
    admit(settings.log_root, "payment", bad.set_column(0, "event_id", pa.nulls(len(bad), pa.string())), source="till")
    first = rows(settings, "users", users, begin).slice(0, len(users))
    admit(settings.log_root, "users", first, source="till")


@pytest.fixture
def shop_of_few(settings: Settings, redis: redis_py.Redis) -> Settings:
    """A small home with everything built, events on their way, and a training run's list of rows."""
    apply()
    send(settings, list(range(PEOPLE)))
    materialize(settings, SystemClock())
    for n in range(PEOPLE):
        queue(settings, redis, n)
    folder = settings.home / "mlflow" / "artifacts" / "task" / "run" / "artifacts"
    folder.mkdir(parents=True)
    users = [pseudonym(settings, n) for n in range(PEOPLE)]
    pq.write_table(pa.table({"user_id": users, "label": list(range(PEOPLE))}), folder / "entity_rows.parquet")
    return settings


def queue(settings: Settings, redis: redis_py.Redis, n: int) -> None:
    body = {"event_id": f"q{n}", "user_id": pseudonym(settings, n)}
    redis.xadd(f"portrait:events:{n % 4}", {"t": "purchase", "e": json.dumps(body)})


def states(settings: Settings, redis: redis_py.Redis, view: str, keys: list[str]) -> dict[Any, bytes]:
    """What Redis holds of each entity, without the version, which a build counts otherwise; empty states left out."""
    project = open_store().project
    layout = Positions(redis, project).serving(view)
    assert layout is not None
    found = {}
    for key in keys_in(redis, entity_pattern(project, keys)):
        blob = redis.hget(key, layout.field)
        if blob and int.from_bytes(blob[4:8], "little"):
            found[entity_of(project, key)] = blob[:8] + blob[16:]
    return found


def assert_gone(settings: Settings, redis: redis_py.Redis, n: int, report: EraseReport | None = None) -> None:
    """The person is nowhere, and what is left is what a build from the log gives."""
    found = scan(settings.home, redis, Needles(pseudonym(settings, n)[2:], raw(n)))
    assert found.places == ()
    if report is not None:
        assert (report.found, report.files_scanned > 0, report.keys_scanned > 0) == (0, True, True)


def assert_others_as_built(settings: Settings, redis: redis_py.Redis) -> None:
    live = states(settings, redis, "item_purchases", ["item_id"])
    materialize(settings, SystemClock(), full=True)
    assert states(settings, redis, "item_purchases", ["item_id"]) == live
    assert parity(settings, SystemClock(), users=100).mismatches == 0


def test_a_person_is_erased_everywhere_and_others_stay(shop_of_few: Settings, redis: redis_py.Redis) -> None:
    settings = shop_of_few
    before = states(settings, redis, "item_purchases", ["item_id"])
    rehearsal = erase(settings, SystemClock(), raw(0), dry_run=True)
    assert not Tombstones(settings.home).count
    assert states(settings, redis, "item_purchases", ["item_id"]) == before
    report = erase(settings, SystemClock(), raw(0))
    assert report.rows == rehearsal.rows == {"purchase": 4, "payment": 4, "quarantine": 4, "users": 1}
    assert report.keys == rehearsal.keys > 1
    assert (report.queued, report.elsewhere) == (
        1,
        {"entity_rows": 1, "served_features": 0, "snapshots": 0, "audiences": 0},
    )
    assert 1 < report.refolded <= rehearsal.refolded  # some are too old for a state of the live views
    assert (report.raw_id, report.rebuilt, rehearsal.files_scanned) == ("everywhere", (), 0)
    assert_gone(settings, redis, 0, report)
    after = states(settings, redis, "item_purchases", ["item_id"])
    changed = {entity for entity in before if before[entity] != after.get(entity)}
    assert (("item_id",), ("own-0",)) in changed - set(after)
    assert (("item_id",), ("own-1",)) not in changed
    assert_others_as_built(settings, redis)
    again = erase(settings, SystemClock(), raw(0))
    assert (again.erased_before, again.rows, again.keys, again.queued, again.refolded, again.found) == (
        (True, {}, 0, 0, 0, 0)
    )


def test_by_pseudonym_it_is_the_same(shop_of_few: Settings, redis: redis_py.Redis) -> None:
    report = erase(shop_of_few, SystemClock(), pseudonym(shop_of_few, 3))
    assert (report.rows["purchase"], report.raw_id) == (4, "not given")
    assert_gone(shop_of_few, redis, 3, report)


@pytest.mark.slow(7)
def test_nothing_brings_the_person_back(shop_of_few: Settings, redis: redis_py.Redis, tmp_path: Path) -> None:
    settings = shop_of_few
    source = tmp_path / "orders.csv"
    lines = [f"{raw(n % 2)},2024-05-0{n + 1} 10:00,item-1,2.5" for n in range(6)]
    source.write_text("\n".join(["who,at,item,paid", f"{raw(0)},not a time,item-1,2.5", *lines]))
    mapping = read_mapping(ORDERS, "orders.yaml")
    first = import_events(settings, SystemClock(), [str(source)], mapping)
    assert (first.published, first.erased) == (6, 0)
    erase(settings, SystemClock(), raw(0))
    assert_gone(settings, redis, 0)
    again = import_events(settings, SystemClock(), [str(source)], mapping)
    assert (again.published, again.duplicates, again.erased) == (0, 3, 3)
    assert_gone(settings, redis, 0)
    send(settings, list(range(PEOPLE)))
    assert_gone(settings, redis, 0)
    materialize(settings, SystemClock(), full=True)
    assert_gone(settings, redis, 0)
    assert_others_as_built(settings, redis)


# Killed on the way ----------------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


@pytest.mark.slow(62)
def test_an_erasure_that_stops_before_any_step_is_finished_by_the_next(
    shop_of_few: Settings, redis: redis_py.Redis
) -> None:
    steps: list[str] = []
    erase(shop_of_few, SystemClock(), raw(0), progress=lambda step, _: steps.append(step))
    assert steps[0] == "tombstone"
    assert len(steps) > 12
    tables = [step for step in steps if step.startswith("table ")]
    alike = {*tables[1:-1]} - {"table purchase"}  # of the tables it goes through: the first, the last, a full one
    for n, stop in enumerate([step for step in steps if step not in alike], 1):
        person = n % PEOPLE

        def stopping(step: str, _: float, stop: str = stop) -> None:
            if step == stop:
                raise Killed

        send(shop_of_few, [person], 1000 * n)
        materialize(shop_of_few, SystemClock())
        with pytest.raises(Killed):
            erase(shop_of_few, SystemClock(), raw(person), progress=stopping)
        assert_gone(shop_of_few, redis, person, erase(shop_of_few, SystemClock(), raw(person)))
    assert not list((shop_of_few.home / "privacy" / "unfinished").iterdir())
    assert_others_as_built(shop_of_few, redis)


@pytest.mark.slow(7)
def test_one_that_stops_between_the_note_and_the_commit_or_behind_the_commit_is_finished(
    shop_of_few: Settings, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = removal._commit

    def before(*args: Any) -> None:
        raise Killed

    def behind(table: Any, rewritten: Any) -> None:
        commit(table, rewritten)
        if rewritten:
            raise Killed

    for person, broken in enumerate((before, behind)):
        with monkeypatch.context() as patch:
            patch.setattr(removal, "_commit", broken)
            with pytest.raises(Killed):
                erase(shop_of_few, SystemClock(), raw(person))
        assert_gone(shop_of_few, redis, person, erase(shop_of_few, SystemClock(), raw(person)))
    assert_others_as_built(shop_of_few, redis)


CHILD = """
import os, signal, sys
from feature_repo.core.clock import SystemClock
from feature_repo.core.settings import load_settings
from feature_repo.jobs.erase import erase
def stop(step, done):
    if step == sys.argv[2]: os.kill(os.getpid(), signal.SIGKILL)
erase(load_settings(), SystemClock(), sys.argv[1], progress=stop)
"""


@pytest.mark.slow(12)
def test_one_that_is_killed_is_finished(shop_of_few: Settings, redis: redis_py.Redis) -> None:
    for person, step in enumerate(("table payment", "states of others", "append-only file")):
        command = [sys.executable, "-c", CHILD, raw(person), step]
        assert subprocess.run(command, check=False, env=dict(os.environ)).returncode == -signal.SIGKILL
        assert_gone(shop_of_few, redis, person, erase(shop_of_few, SystemClock(), raw(person)))
    assert_others_as_built(shop_of_few, redis)


# Consumers ------------------------------------------------------------------------------------------------------------


def test_live_consumers_are_waited_for_and_dead_ones_are_not(settings: Settings, redis: redis_py.Redis) -> None:
    clock = FixedClock(60_000_000)
    said = {"live": (1, 59_000_000), "slow": (0, 50_000_000), "dead": (0, 49_999_999)}
    for name, (seen, at) in said.items():
        redis.hset("portrait:consumers", name, json.dumps({"seen_tombstones": seen, "at_us": at}))
    redis.hset("portrait:consumers", "odd", "not JSON")
    with pytest.raises(StoreUnavailableError, match="Consumer 'slow' has not"):
        wait_for_consumers(redis, clock, 1, wait_s=0)

    def pause(_: float) -> None:
        redis.hset("portrait:consumers", "slow", json.dumps({"seen_tombstones": 1, "at_us": 60_000_000}))

    assert wait_for_consumers(redis, clock, 1, wait_s=1, pause=pause) == 2


# What the proof can see -----------------------------------------------------------------------------------------------


def hide(home: Path, needle: str, how: str) -> None:
    text = f'{{"user_id": "{needle}"}}'
    column = pa.array(["x", needle, None])
    if how == "text":
        (home / "f.log").write_text("x" * (absence.BLOCK - 7) + text)
    elif how == "gzip":
        with pa.CompressedOutputStream(pa.OSFile(str(home / "f.json.gz"), "wb"), "gzip") as out:
            out.write(text.encode())
    elif how == "dictionary":
        pq.write_table(pa.table({"user_id": column.dictionary_encode()}), home / "f.parquet")
    elif how == "nested":
        pq.write_table(pa.table({"a": pa.array([[{"user_id": needle}]])}), home / "f.parquet")
    elif how == "binary":
        pq.write_table(pa.table({"user_id": column.cast(pa.binary())}), home / "f.parquet")
    elif how == "archive":
        np.savez_compressed(home / "f.npz", user_id=np.array([text.encode()]))
    elif how == "torn":
        (home / "f.parquet").write_bytes(b"PAR1 torn")
    else:
        (home / needle).touch()


@pytest.mark.parametrize("how", ["text", "gzip", "dictionary", "nested", "binary", "archive", "torn", "name"])
def test_the_proof_looks_into_files(settings: Settings, redis: redis_py.Redis, tmp_path: Path, how: str) -> None:
    needles = Needles("ab" * 16, "raw-id-of-ada")
    for needle in ("u_" + "ab" * 16, "raw-id-of-ada"):
        folder = tmp_path / needle[:3]
        folder.mkdir()
        assert scan(folder, redis, needles).places == ()
        hide(folder, needle, how)
        [place] = scan(folder, redis, needles).places
        assert needle not in place


@pytest.mark.parametrize("kind", ["key", "string", "hash", "field", "list", "set", "zset", "stream"])
def test_the_proof_looks_into_redis(settings: Settings, redis: redis_py.Redis, tmp_path: Path, kind: str) -> None:
    name = "u_" + "ab" * 16
    writes = {
        "key": lambda: redis.set(name, "x"),
        "string": lambda: redis.set("k", f"..{name}.."),
        "hash": lambda: redis.hset("k", "f", name),
        "field": lambda: redis.hset("k", name, "x"),
        "list": lambda: redis.rpush("k", "x", name),
        "set": lambda: redis.sadd("k", "x", name),
        "zset": lambda: redis.zadd("k", {"x": 1, name: 2}),
        "stream": lambda: redis.xadd("k", {"e": name}),
    }
    redis.set("other", "u_" + "ac" * 16)
    assert scan(tmp_path, redis, Needles("ab" * 16)).places == ()
    writes[kind]()
    assert len(scan(tmp_path, redis, Needles("ab" * 16)).places) == 1


class Repeating:
    """A real client that gives every key twice, as SCAN may while the server's table grows or shrinks."""

    def __init__(self, client: redis_py.Redis) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def scan(self, *arguments: Any, **options: Any) -> tuple[int, list[bytes]]:
        cursor, keys = self._client.scan(*arguments, **options)
        return cursor, keys + keys

    def scan_iter(self, **options: Any) -> list[bytes]:
        return 2 * list(self._client.scan_iter(**options))


def test_a_key_that_the_server_gives_twice_counts_once(redis: redis_py.Redis, tmp_path: Path) -> None:
    name = b"u_" + b"ab" * 16
    for n in range(3):
        redis.hset(name + bytes([n]), "f", 1)
        redis.xadd(f"portrait:events:{n}", {"e": name})
    assert scan(tmp_path, Repeating(redis), Needles("ab" * 16)).keys == 6
    assert delete_queued(Repeating(redis), name) == 3
    assert delete_keys(Repeating(redis), name) == 3
    assert scan(tmp_path, Repeating(redis), Needles("ab" * 16)).places == ()


def test_a_short_number_is_taken_for_an_id_only_beside_a_name(tmp_path: Path, redis: redis_py.Redis) -> None:
    (tmp_path / "a.json").write_text('{"size":2375,"item_id":"2375"}')
    pq.write_table(pa.table({"item_id": ["2375"], "user_id": ["12375"]}), tmp_path / "a.parquet")
    assert scan(tmp_path, redis, Needles("ab" * 16, "2375")).places == ()
    (tmp_path / "b.json").write_text('{"user_id": "2375"}')
    pq.write_table(pa.table({"user_id": ["2375"]}), tmp_path / "b.parquet")
    assert scan(tmp_path, redis, Needles("ab" * 16, "2375")).places == ("b.json", "b.parquet")


# The command ----------------------------------------------------------------------------------------------------------


def test_what_is_left_somewhere_is_exit_1_and_named_without_the_person(
    shop_of_few: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    name = pseudonym(shop_of_few, 0)
    (shop_of_few.home / "notes.txt").write_text(f"called {name}")
    assert cli.main(["jobs", "erase", raw(0), "--json"]) == 1
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert (report["found"], report["places"]) == (1, ["notes.txt"])
    assert name[2:] not in said.out + said.err
    assert raw(0) not in said.out + said.err
    assert "notes.txt" in said.err
    (shop_of_few.home / "notes.txt").unlink()
    assert cli.main(["jobs", "erase", raw(0)]) == 0
    assert "nothing found" in capsys.readouterr().out


@pytest.mark.slow(30)
def test_on_the_real_data_nothing_is_left_not_even_in_the_append_only_file(built_shop: Path, tmp_path: Path) -> None:
    home = tmp_path / "shop"
    shutil.copytree(built_shop, home)
    settings = Settings(home=home, redis_url="")
    needle = load_pseudonymiser(home).pseudonym("2375")[2:].encode()
    services.up(settings, SystemClock())
    try:
        appended = [file for file in (home / "redis" / "appendonlydir").iterdir() if needle in file.read_bytes()]
        assert appended
        report = run_portrait("jobs erase 2375", home)
        assert (report["rows"]["purchase"], report["elsewhere"], report["found"]) == (
            586,
            {"entity_rows": 2, "served_features": 0, "snapshots": 0, "audiences": 0},
            0,
        )
        assert not [file for file in (home / "redis").rglob("*") if file.is_file() and needle in file.read_bytes()]
        assert run_portrait("jobs parity --users 100", home)["mismatches"] == 0
    finally:
        services.down(settings)


def test_an_id_nobody_has_is_told_to_be_looked_at_again(
    shop_of_few: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for words in (["--dry-run"], [], []):
        assert cli.main(["jobs", "erase", "a slip of the pen", *words]) == 0
        said.append(capsys.readouterr().out)
    nobody = "Nothing of this person was here: is the id right? Events of this id"
    assert f"{nobody} would be kept out from now on." in said[0]
    assert "states of others, folded anew, at most" in said[0]
    assert f"{nobody} are kept out from now on." in said[1]
    assert "they were erased before" in said[2]
