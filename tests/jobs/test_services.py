from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis as redis_py

from feature_repo.core.clock import FixedClock, from_us
from feature_repo.core.errors import SettingsError, StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_redis, embedded_state_path, read_embedded, write_embedded
from feature_repo.jobs import services

CLOCK = FixedClock(at_us=1_790_000_000_000_000)


@pytest.fixture
def own(home: Path) -> Iterator[Settings]:
    """Settings of an embedded server of the test's own, in a home whose path holds what shells trip over."""
    settings = Settings(home=home / 'a shop\'s "home" #1', redis_url="")
    yield settings
    services.down(settings)


def pid_of(settings: Settings) -> int:
    server = read_embedded(settings)
    assert server is not None
    return server.pid


def kill(settings: Settings) -> None:
    pid = pid_of(settings)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_up_tells_where_it_runs_and_since_when(own: Settings):
    report = services.up(own, CLOCK)
    assert (report.kind, report.running, report.started_at) == ("embedded", True, from_us(CLOCK.at_us))
    assert report.pid == pid_of(own)
    assert report.persistence_ok
    assert report.keys == 0


def test_up_twice_is_up_once(own: Settings):
    first = services.up(own, CLOCK)
    second = services.up(own, FixedClock(CLOCK.at_us + 1))
    assert (first.pid, first.url, first.started_at) == (second.pid, second.url, second.started_at)


def test_down_keeps_the_very_last_write(own: Settings):
    services.up(own, CLOCK)
    with connect_redis(own) as client:
        client.set("last", "write")
    assert not services.down(own).running
    assert not embedded_state_path(own).exists()
    assert "ready to exit" in (own.home / "redis" / "server.log").read_text()
    services.up(own, CLOCK)
    with connect_redis(own, decode=True) as client:
        assert client.get("last") == "write"


def test_down_twice_is_down_once(own: Settings):
    services.up(own, CLOCK)
    assert services.down(own) == services.down(own)


def test_down_of_a_home_that_never_was_creates_nothing(home: Path):
    assert not services.down(Settings(home=home, redis_url="")).running
    assert not home.exists()


def test_a_killed_server_comes_back_with_its_data_at_the_same_address(own: Settings):
    before = services.up(own, CLOCK)
    with connect_redis(own) as client:
        client.set("kept", 1)
        client.execute_command("WAITAOF", 1, 0, 5000)
    kill(own)
    assert "ended without" in services.status(own).detail
    with pytest.raises(StoreUnavailableError, match="does not answer") as caught:
        connect_redis(own)
    assert caught.value.exit_code == 3
    assert "server.log" in caught.value.hint
    after = services.up(own, CLOCK)
    assert (after.url, after.keys) == (before.url, 1)
    assert after.pid != before.pid


def test_two_at_once_end_with_one_server(own: Settings):
    code = (
        "import sys; from pathlib import Path; from feature_repo.core.clock import SystemClock;"
        "from feature_repo.core.settings import Settings; from feature_repo.jobs import services;"
        "print('ready', flush=True); sys.stdin.readline();"
        "print(services.up(Settings(home=Path(sys.argv[1]), redis_url=''), SystemClock()).pid)"
    )
    command = [sys.executable, "-c", code, str(own.home)]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].strip() for process in both]
    assert answers == [str(pid_of(own))] * 2
    assert (own.home / "redis" / "server.log").read_text().count("Ready to accept connections") == 1


def test_a_server_that_is_not_the_one_the_state_file_names_is_not_believed(own: Settings):
    services.up(own, CLOCK)
    server = read_embedded(own)
    assert server is not None
    write_embedded(own, replace(server, pid=os.getpid()))
    assert not services.status(own).running
    write_embedded(own, server)


def test_a_copied_home_does_not_take_the_originals_server_for_its_own(own: Settings):
    original = services.up(own, CLOCK)
    copy = own.model_copy(update={"home": own.home.parent / "copy"})
    shutil.copytree(own.home, copy.home)
    try:
        assert not services.status(copy).running
        assert not services.down(copy).running
        assert services.status(own).running
        assert services.up(copy, CLOCK).pid != original.pid
    finally:
        services.down(copy)


def test_a_moved_home_keeps_its_server(own: Settings):
    services.up(own, CLOCK)
    moved = own.model_copy(update={"home": own.home.parent / "moved"})
    own.home.rename(moved.home)
    assert services.status(moved).running
    assert not services.down(moved).running


def test_a_state_file_that_names_a_dead_process_is_replaced(own: Settings):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    services.up(own, CLOCK)
    server = read_embedded(own)
    assert server is not None
    services.down(own)
    write_embedded(own, replace(server, pid=ended.pid))
    assert not services.status(own).running
    assert services.up(own, CLOCK).running
    assert pid_of(own) != ended.pid


def test_a_state_file_that_names_another_live_process_is_replaced_and_that_process_left_alone(own: Settings):
    services.up(own, CLOCK)
    server = read_embedded(own)
    assert server is not None
    services.down(own)
    write_embedded(own, replace(server, pid=os.getpid()))
    assert not services.down(own).running
    write_embedded(own, replace(server, pid=os.getpid()))
    assert services.up(own, CLOCK).pid != os.getpid()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_a_damaged_state_file_is_replaced(own: Settings, content: str):
    path = embedded_state_path(own)
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert services.up(own, CLOCK).running


def test_another_program_on_the_old_port_moves_the_server_elsewhere(own: Settings, monkeypatch: pytest.MonkeyPatch):
    services.up(own, CLOCK)
    monkeypatch.setattr(services, "PROBE_TIMEOUT_S", 1.0)  # the other program never answers
    server = read_embedded(own)
    assert server is not None
    kill(own)
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", server.port))
        squatter.listen()
        assert services.up(own, CLOCK).running
        moved = read_embedded(own)
    assert moved is not None
    assert moved.port != server.port
    assert moved.password == server.password


def test_a_hung_server_is_never_joined_by_a_second_one(own: Settings, monkeypatch: pytest.MonkeyPatch):
    services.up(own, CLOCK)
    monkeypatch.setattr(services, "PROBE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(services, "STOP_TIMEOUT_S", 0.1)
    pid = pid_of(own)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailableError, match=f"Process {pid} holds"):
            services.up(own, CLOCK)
        with pytest.raises(StoreUnavailableError, match=f"Process {pid} holds"):
            services.down(own)
    finally:
        os.kill(pid, signal.SIGCONT)
    os.waitpid(pid, 0)  # the SIGTERM of `down` arrived


def test_a_server_that_cannot_read_its_data_says_why(own: Settings):
    services.up(own, CLOCK)
    with connect_redis(own) as client:
        client.set("x", 1)
    services.down(own)
    for file in (own.home / "redis" / "appendonlydir").glob("*.incr.aof"):
        file.write_bytes(b"not a log\n" + file.read_bytes())
    with pytest.raises(StoreUnavailableError, match=r"stopped while (starting|loading)") as caught:
        services.up(own, CLOCK)
    assert "server.log" in caught.value.hint


def test_secrets_are_readable_by_the_owner_alone_and_not_on_the_command_line(own: Settings):
    services.up(own, CLOCK)
    server = read_embedded(own)
    assert server is not None
    for path in (embedded_state_path(own), own.home / "redis" / "server.conf"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert server.password in path.read_text()
    for path in (own.home, own.home / "redis", own.home / "run"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    command_line = subprocess.run(["ps", "-o", "args=", "-p", str(server.pid)], capture_output=True, check=True)
    assert server.password.encode() not in command_line.stdout


def test_the_server_refuses_a_stranger(own: Settings):
    services.up(own, CLOCK)
    server = read_embedded(own)
    assert server is not None
    address = f"redis://127.0.0.1:{server.port}/0"
    with pytest.raises(StoreUnavailableError, match="refuses the password"):
        connect_redis(own.model_copy(update={"redis_url": address}))


def test_the_server_is_set_up_to_hold_state(own: Settings):
    services.up(own, CLOCK)
    with connect_redis(own, decode=True) as client:
        wanted = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec", "save": ""}
        assert {name: client.config_get(name)[name] for name in wanted} == wanted
        assert Path(client.config_get("dir")["dir"]) == own.home / "redis"


@pytest.mark.parametrize(
    ("users", "taken"), [(None, "tcache_count=20000"), ("glibc.malloc.tcache_count=9", "tcache_count=9")]
)
def test_the_server_keeps_small_strings_at_hand_unless_the_user_says_otherwise(
    own: Settings, monkeypatch: pytest.MonkeyPatch, users: str | None, taken: str
):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if users:
        monkeypatch.setenv("GLIBC_TUNABLES", users)
    pid = services.up(own, CLOCK).pid
    found = Path(f"/proc/{pid}/environ").read_text().split("GLIBC_TUNABLES=")[1]
    assert found.startswith(f"glibc.malloc.{taken}")


def test_an_external_server_is_described_and_left_alone(settings: Settings, redis: redis_py.Redis):
    redis.set("x", 1)
    report = services.up(settings, CLOCK)
    assert (report.kind, report.running, report.keys) == ("external", True, 1)
    assert report.started_at is not None
    assert services.down(settings).running
    assert not settings.home.exists()


def test_an_external_server_out_of_reach_is_an_error_of_up_and_a_line_of_status(home: Path):
    settings = Settings(home=home, redis_url="redis://shop:s3cret@127.0.0.1:1/0")
    with pytest.raises(StoreUnavailableError, match=r"shop:\*\*\*@127\.0\.0\.1:1/0 does not answer"):
        services.up(settings, CLOCK)
    report = services.status(settings)
    assert not report.running
    assert "s3cret" not in json.dumps([report.url, report.detail])


def test_a_home_that_cannot_be_written_is_told(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be written"):
        services.up(Settings(home=tmp_path / "file" / "home", redis_url=""), CLOCK)
