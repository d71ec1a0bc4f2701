from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis as redis_py
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import atomic_write, connect_duckdb, connect_redis, mask_password, redis_url


def test_without_a_server_the_hint_is_portrait_up(home: Path):
    with pytest.raises(StoreUnavailableError) as caught:
        redis_url(Settings(home=home, redis_url=""))
    assert "`portrait up`" in caught.value.hint


@pytest.mark.parametrize(
    "url", ["localhost:6379", "http://h:1", "redis://:s3cret/x@h:6379/0", "redis://:s3cret@h:port"]
)
def test_a_malformed_address_is_told_without_its_password(home: Path, url: str):
    with pytest.raises(StoreUnavailableError, match="not an address of Redis") as caught:
        connect_redis(Settings(home=home, redis_url=url))
    assert "s3cret" not in str(caught.value)


def test_a_refused_password_is_told_and_masked(settings: Settings):
    wrong = settings.model_copy(update={"redis_url": settings.redis_url.replace("redis://:", "redis://:s3cret")})
    with pytest.raises(StoreUnavailableError, match="refuses the password") as caught:
        connect_redis(wrong)
    assert "s3cret" not in str(caught.value)


def test_a_server_that_may_evict_is_refused(settings: Settings, redis: redis_py.Redis):
    redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(StoreUnavailableError, match="allkeys-lru") as caught:
            connect_redis(settings)
    finally:
        redis.config_set("maxmemory-policy", "noeviction")
    assert "CONFIG SET maxmemory-policy noeviction" in caught.value.hint


def test_a_server_that_forbids_info_is_trusted(settings: Settings, redis: redis_py.Redis):
    redis.execute_command("ACL", "SETUSER", "shop", "reset", "on", ">pw", "+ping", "+get", "~*")
    try:
        limited = settings.redis_url.split("@")[1]
        with connect_redis(settings.model_copy(update={"redis_url": f"redis://shop:pw@{limited}"})) as client:
            assert client.get("nothing") is None
    finally:
        redis.execute_command("ACL", "DELUSER", "shop")


def test_a_command_that_broke_midway_is_not_sent_again(settings: Settings):
    with connect_redis(settings) as writer, connect_redis(settings) as other, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(writer.blpop, ["queue"], 4)
        while not (blocked := [client["id"] for client in other.client_list() if client["cmd"] == "blpop"]):
            assert not waiting.done()
        other.client_kill_filter(_id=blocked[0])
        with pytest.raises(redis_py.ConnectionError):
            waiting.result()


@given(
    user=st.text("abc", max_size=3),
    password=st.text(st.sampled_from("s3:/@?#%"), min_size=4, max_size=12).map(lambda text: "SECRET" + text + "SECRET"),
)
def test_no_password_survives_the_mask(user: str, password: str):
    masked = mask_password(f"rediss://{user}:{password}@cache:6379/0")
    assert masked == f"rediss://{user}:***@cache:6379/0"


@pytest.mark.parametrize("url", ["redis://localhost:6379/0", "unix:///run/redis.sock?db=1"])
def test_an_address_without_a_password_is_left_as_it_is(url: str):
    assert mask_password(url) == url


def test_duckdb_is_in_utc_bounded_and_offline(home: Path):
    settings = Settings(home=home, threads=1, memory="128MiB")
    wanted = {
        "TimeZone": "UTC",
        "threads": 1,
        "memory_limit": "128.0 MiB",
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    with connect_duckdb(settings) as connection:
        asked = ", ".join(f"current_setting('{name}') AS {name}" for name in wanted)
        assert connection.sql(f"SELECT {asked}").to_arrow_table().to_pylist() == [wanted]


def test_cursors_are_in_utc_wherever_the_machine_is(home: Path):
    asked = (
        "from feature_repo.core.settings import load_settings; from feature_repo.core.stores import connect_duckdb\n"
        "with connect_duckdb(load_settings()) as connection, connection.cursor() as cursor:\n"
        '    print([each.sql("SELECT make_timestamptz(0)::VARCHAR").fetchall() for each in (connection, cursor)])'
    )
    done = subprocess.run(
        [sys.executable, "-c", asked],
        env=os.environ | {"TZ": "Asia/Shanghai"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[[('1970-01-01 00:00:00+00',)], [('1970-01-01 00:00:00+00',)]]\n"


def test_duckdb_spills_below_the_home_and_leaves_nothing(home: Path):
    settings = Settings(home=home, threads=1, memory="64MB")
    with connect_duckdb(settings) as connection:
        connection.execute("CREATE TABLE big AS SELECT md5(range::VARCHAR) AS x FROM range(3000000)")
        assert [path.name.split("-")[0] for path in (home / "tmp").iterdir()] == ["duckdb"]
    assert list((home / "tmp").iterdir()) == []


@given(old=st.binary(max_size=20), new=st.one_of(st.binary(max_size=20), st.text(max_size=20)))
def test_a_file_is_replaced_as_a_whole(tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes | str):
    path = tmp_path_factory.mktemp("files") / "below" / "file"
    atomic_write(path, old)
    atomic_write(path, new)
    assert path.read_bytes() == (new.encode() if isinstance(new, str) else new)
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_content_and_no_litter(tmp_path: Path):
    path = tmp_path / "file"
    atomic_write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        atomic_write(path, "\ud800")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(("private", "mode"), [(True, 0o600), (False, 0o644)])
def test_a_private_file_is_for_its_owner_alone(tmp_path: Path, private: bool, mode: int):
    atomic_write(tmp_path / "file", "x", private=private)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode
