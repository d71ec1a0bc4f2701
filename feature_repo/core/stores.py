"""Opens the stores Portrait keeps things in: Redis, DuckDB, and files that are replaced as a whole."""

from __future__ import annotations

import json
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from feature_repo.core.deadlines import Deadline, bound
from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.settings import Settings, ensure_home

if TYPE_CHECKING:
    import duckdb
    import redis

Guard = Callable[[Any], None]

LOOPBACK = "127.0.0.1"
SAFE_POLICY = "noeviction"

_USERINFO = re.compile(r"^(?P<scheme>[a-z+]*://)?(?P<user>[^:/@]*):.*@", re.IGNORECASE | re.DOTALL)
_QUERY_SECRET = re.compile(r"((?:^|[?&])(?:ssl_)?password=)[^&]*", re.IGNORECASE)


@dataclass(frozen=True)
class EmbeddedServer:
    """Where the embedded Redis of a home listens; kept in ``<home>/run/redis.json``, readable by its owner alone.

    Attributes
    ----------
    pid
        The server's process. The file may outlive it: whether it runs is asked of the server itself.
    port
        On the loopback interface.
    password
        Of the default user.
    started_at
        Microseconds since the epoch, UTC.
    home
        Inode of the home's directory: a copy of the home must not take the original's server for its own.
    version
        Of the server; empty while it is still loading its data.
    """

    pid: int
    port: int
    password: str
    started_at: int
    home: int
    version: str = ""

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"


def embedded_state_path(settings: Settings) -> Path:
    """Return the file that says where the home's embedded server listens."""
    return settings.home / "run" / "redis.json"


def read_embedded(settings: Settings) -> EmbeddedServer | None:
    """Return what the state file says; None when there is none, or it is not one of this home's."""
    try:
        found = json.loads(embedded_state_path(settings).read_text("utf-8"))
        server = EmbeddedServer(**{field.name: found[field.name] for field in fields(EmbeddedServer)})
        return server if server.home == settings.home.stat().st_ino else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_embedded(settings: Settings, server: EmbeddedServer) -> None:
    """Replace the state file."""
    atomic_write(embedded_state_path(settings), json.dumps(asdict(server)), private=True)


def redis_url(settings: Settings) -> str:
    """Return the address of Redis, password included: ``PORTRAIT_REDIS_URL``, else the embedded server's.

    Raises
    ------
    StoreUnavailableError
        No address is set and no embedded server was started in this home.
    """
    if settings.redis_url:
        return settings.redis_url
    server = read_embedded(settings)
    if server is None:
        raise StoreUnavailableError(
            f"The embedded Redis of {settings.home} is not running.",
            hint="run `portrait up`, or set PORTRAIT_REDIS_URL to a server of yours.",
        )
    return server.url


def mask_password(url: str) -> str:
    """Return a Redis address that may be printed.

    >>> mask_password("rediss://shop:s3cr@et/1@cache.internal:6380/0")
    'rediss://shop:***@cache.internal:6380/0'
    >>> mask_password("redis://localhost:6379?password=s3cret&db=1")
    'redis://localhost:6379?password=***&db=1'
    """
    return _QUERY_SECRET.sub(r"\1***", _USERINFO.sub(r"\g<scheme>\g<user>:***@", url))


def connect_redis(
    settings: Settings,
    *,
    timeout_s: float = 5.0,
    decode: bool = False,
    retries: int = 0,
    same_server: bool = False,
    guard: Guard | None = None,
    deadline: Deadline | None = None,
) -> redis.Redis:
    """Connect, and check that the server answers and never evicts.

    Parameters
    ----------
    timeout_s
        To connect, and for each reply.
    decode
        Replies as ``str`` instead of ``bytes``.
    retries
        How often redis-py sends a command again whose connection broke. None by default: a compare-and-set must not run
        twice unnoticed. Readers may ask for one. An idle connection that broke is replaced in silence all the same.
    same_server
        Refuse to go on with another server process than the first connection led to: for writers, which remember what
        Redis held. After a restart it may hold older data.
    guard
        With ``same_server``: is given every new connection before it is used, and may refuse it.
    deadline
        Of the questions the client is asked: no wait goes on behind it, however many there are.

    Raises
    ------
    StoreUnavailableError
        The address is malformed, nothing answers, the password is refused, or the server may evict keys. Passwords
        are masked in the message.
    """
    client = redis_client(redis_url(settings), timeout_s=timeout_s, decode=decode, retries=retries)
    if deadline is not None:
        bound(client, deadline)
    if same_server:
        client.connection_pool.connection_kwargs["redis_connect_func"] = _SameServer(guard)
    try:
        check_redis(client, settings)
    except BaseException:
        client.close()
        raise
    return client


@contextmanager
def redis_answers() -> Iterator[None]:
    """Turn what redis-py raises when the server goes away meanwhile into an error that says what to do."""
    import redis  # noqa: PLC0415

    try:
        yield
    except redis.RedisError as error:
        raise StoreUnavailableError(
            f"Redis stopped answering: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            hint="see `portrait status`, then run the same command again; it goes on where it stopped.",
        ) from None


class _SameServer:
    """Refuses a connection to another server process than the first one led to."""

    def __init__(self, guard: Guard | None) -> None:
        self._run_id = b""
        self._guard = guard

    def __call__(self, connection: Any) -> None:
        connection.on_connect()
        found = re.search(rb"run_id:(\w+)", _server_facts(connection))
        run_id = found[1] if found else b""
        if self._run_id and run_id != self._run_id:
            connection.disconnect()
            raise StoreUnavailableError(
                "Redis was restarted while a job wrote to it, and may have come back with older data.",
                hint="run the command again: it starts from what Redis holds now.",
            )
        self._run_id = run_id
        if self._guard is not None:
            self._guard(connection)


def _server_facts(connection: Any) -> bytes:
    import redis  # noqa: PLC0415

    connection.send_command("INFO", "server", check_health=False)
    try:
        reply = connection.read_response()
    except redis.ResponseError:  # a server that forbids INFO
        return b""
    return reply.encode() if isinstance(reply, str) else bytes(reply)


def redis_client(url: str, *, timeout_s: float, decode: bool = False, retries: int = 0) -> redis.Redis:
    """Build a client without connecting: the one place that turns an address into a client.

    Raises
    ------
    StoreUnavailableError
        The address is malformed.
    """
    import redis  # noqa: PLC0415
    from redis.backoff import ExponentialBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    try:
        return redis.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            decode_responses=decode,
            retry=Retry(ExponentialBackoff(), retries),
        )
    except ValueError:
        # The parser's own message may quote the password.
        raise StoreUnavailableError(
            f"PORTRAIT_REDIS_URL is {mask_password(url)}, which is not an address of Redis.",
            hint="write redis://[:password@]host:port/0, or rediss:// for TLS; percent-encode a password's / @ and :.",
        ) from None


def check_redis(client: redis.Redis, settings: Settings) -> None:
    """Ask the server whether it answers, has loaded its data, and never evicts.

    A server that forbids ``INFO`` is taken to be set up as its operator wants.

    Raises
    ------
    StoreUnavailableError
        See :func:`connect_redis`.
    """
    import redis  # noqa: PLC0415

    try:
        client.ping()
        memory = cast("dict[str, Any]", client.info("memory"))
    except redis.BusyLoadingError:
        raise StoreUnavailableError(
            f"{_name(settings)} is still loading its data.", hint="`portrait up` returns when it is ready."
        ) from None
    except redis.AuthenticationError as error:
        raise StoreUnavailableError(
            f"{_name(settings)} refuses the password: {error}", hint=_credentials_hint(settings)
        ) from None
    except redis.ResponseError:
        return
    except (redis.RedisError, OSError) as error:
        raise _unreachable(settings, error) from None
    policy = memory.get("maxmemory_policy", SAFE_POLICY)
    if policy != SAFE_POLICY:
        raise StoreUnavailableError(
            f"{_name(settings)} may drop keys when its memory is full (maxmemory-policy {policy}).",
            hint=f"profiles would be silently wrong; run `CONFIG SET maxmemory-policy {SAFE_POLICY}` on it, and keep "
            "it in the server's configuration.",
        )


def connect_duckdb(settings: Settings) -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB, in UTC with all its cursors, bounded by ``settings.threads`` and ``settings.memory``.

    What does not fit in memory spills below ``<home>/tmp``, into a directory of the connection's own. Row order is
    not kept unless a query says ``ORDER BY``. Extensions are never fetched from the net.

    Raises
    ------
    SettingsError
        The home cannot be written.
    """
    import duckdb  # noqa: PLC0415

    spill = ensure_home(settings) / "tmp"
    spill.mkdir(mode=0o700, exist_ok=True)
    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": settings.threads,
            "memory_limit": settings.memory,
            "temp_directory": str(spill / f"duckdb-{os.getpid()}-{secrets.token_hex(4)}"),
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    connection.execute("SET GLOBAL TimeZone = 'UTC'")  # of its cursors too, which would have the machine's
    # The system reads local files ahead; whole row groups of several threads would only be held a second time.
    connection.execute("SET GLOBAL disable_parquet_prefetching = true")
    return connection


def atomic_write(path: Path, data: bytes | str, *, private: bool = False) -> None:
    """Replace a file as a whole: a reader, or a crash at any instant, sees the old content or the new.

    Parameters
    ----------
    path
        Missing parent directories are created, readable by their owner alone.
    data
        Text is written as UTF-8.
    private
        Readable by the owner alone (0600); otherwise as the umask says.

    Raises
    ------
    OSError
        The directory cannot be written, or the disk is full; the old content stays.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data.encode("utf-8") if isinstance(data, str) else data)
            if not private:
                os.fchmod(file.fileno(), 0o666 & ~_umask())
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    # The only portable way to read it is to set it; another thread may see the tight value for an instant.
    current = os.umask(0o077)
    os.umask(current)
    return current


def _name(settings: Settings) -> str:
    return f"Redis at {mask_password(settings.redis_url)}" if settings.redis_url else "The embedded Redis"


def _unreachable(settings: Settings, error: Exception) -> StoreUnavailableError:
    what = f"{_name(settings)} does not answer: {error}"
    if settings.redis_url:
        hint = "check that the server runs and can be reached, or unset PORTRAIT_REDIS_URL to use the embedded one."
        return StoreUnavailableError(what, hint=hint)
    log = settings.home / "redis" / "server.log"
    ours = StoreUnavailableError(
        what, hint=f"run `portrait up`: it starts again with its data; why it ended is in {log}."
    )
    ours.exit_code = 3  # we started it and it should be running: our fault, not the user's
    return ours


def _credentials_hint(settings: Settings) -> str:
    if settings.redis_url:
        return "write the user and password into PORTRAIT_REDIS_URL: redis://user:password@host:port/0."
    return "run `portrait up`: another program took the port of the embedded server."
