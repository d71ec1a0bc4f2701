"""Cut jobs off from Redis that would write there what they read before it was removed from the log.

A job may sleep for any time between what it checks and what it writes, so no check of its own is enough. Who removes
rows raises the fence when they are gone: a number in Redis. Then the connections of all jobs that write states, which
are known by their names, are ended. A job that opens another one finds the number changed, and has to start over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from feature_repo.core.errors import FencedError, StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_redis

FENCE = "portrait:fence"
FOLDING = "portrait:folding"


@contextmanager
def folding_client(settings: Settings) -> Iterator[Any]:
    """Connect a job that writes to Redis what it reads in the log; read the log after this.

    Raises
    ------
    FencedError
        Rows were removed from the log meanwhile, by an erasure: start over.
    StoreUnavailableError
        See ``stores.connect_redis``.
    """
    import redis  # noqa: PLC0415

    with closing(connect_redis(settings, same_server=True, guard=_Fenced())) as client:
        try:
            yield client
        except redis.RedisError:
            with suppress(redis.RedisError):
                client.ping()  # a broken connection does not say why: a new one is refused with the reason
            raise


def fence_of(client: Any) -> str:
    """How often the fence was raised: what was read of the log before it was raised again must not be used any more."""
    return (client.get(FENCE) or b"0").decode()


def raise_fence(client: Any) -> str:
    """Cut off all jobs that have read the log until now; return how often that was done.

    Raises
    ------
    StoreUnavailableError
        The server forbids it.
    redis.RedisError
        Redis does not answer.
    """
    import redis  # noqa: PLC0415

    client.incr(FENCE)  # before connections end: who opens another one has to see it
    try:
        for each in client.client_list():
            if each["name"] == FOLDING:
                client.client_kill_filter(_id=each["id"])
    except redis.ResponseError as error:
        raise StoreUnavailableError(
            f"Redis does not let connections of jobs be ended: {error}",
            hint="allow its user the commands CLIENT LIST and CLIENT KILL, then run the command again.",
        ) from None
    return fence_of(client)


class _Fenced:
    """Names the connections of a client, and refuses those made after the fence was raised."""

    def __init__(self) -> None:
        self._fence: object = None

    def __call__(self, connection: Any) -> None:
        import redis  # noqa: PLC0415

        with suppress(redis.ResponseError):  # a server that gives no names
            _ask(connection, "CLIENT", "SETNAME", FOLDING)
        # Behind the name: a connection made too late to be ended is early enough to see the fence.
        fence = _ask(connection, "GET", FENCE) or b"0"
        if self._fence not in {None, fence}:
            connection.disconnect()
            raise FencedError(
                "Somebody was erased from the event log while a job wrote to Redis what it had read there before.",
                hint="run the command again: it starts from what the log holds now.",
            )
        self._fence = fence


def _ask(connection: Any, *command: str) -> Any:
    connection.send_command(*command, check_health=False)
    return connection.read_response()
