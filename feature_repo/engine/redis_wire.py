"""Commands as Redis's protocol writes them, whole columns at once, over a connection borrowed from redis-py's pool.

The protocol is RESP: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import redis
from redis._parsers.hiredis import NOT_ENOUGH_DATA

from feature_repo.engine.byte_columns import Column, decimals, joined

_PUSHES = {3, "3"}  # versions of the protocol in which a message may stand between two replies
_NULL_BULK = pa.scalar(b"$0\r\n\r\n", pa.large_binary())


def bulk(column: Column) -> Column:
    """Return an argument of a command, one per row."""
    if isinstance(column.lengths, int):
        return Column.concat(b"$%d\r\n" % column.lengths, column, b"\r\n")
    return Column.concat(b"$", decimals(column.lengths), b"\r\n", column, b"\r\n")


def bulk_or_empty(column: Column, valid: npt.NDArray[np.bool_] | None, rows: int) -> Column:
    """Return an argument that is empty in the rows that are not valid; ``valid`` of None means they all are."""
    whole = bulk(column)
    if valid is None:
        return whole
    return Column.of(pc.if_else(pa.array(valid), joined(whole.pieces, rows), _NULL_BULK))


def packed(*arguments: bytes) -> bytes:
    r"""Return arguments of one command.

    >>> packed(b"GET", b"a")
    b'$3\r\nGET\r\n$1\r\na\r\n'
    """
    return b"".join([b"$%d\r\n%s\r\n" % (len(each), each) for each in arguments])


class Wire:
    """A connection that counts the replies it is owed; see :func:`borrowed`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.owed = 0

    def send(self, data: bytes, *, commands: int) -> None:
        """Send commands; each will be replied to.

        Raises
        ------
        redis.RedisError
            The server went away, or took nothing for too long.
        """
        self.owed += commands
        self._connection.send_packed_command([data])

    def read(self) -> Any:
        """Read the next reply, in the order of the commands; an error the server replied is returned.

        Raises
        ------
        redis.RedisError
            The server went away, or did not reply in time.
        """
        try:
            reply = self._connection.read_response()
        except redis.ResponseError as error:
            reply = error
        self.owed -= 1
        return reply

    def read_all(self, count: int) -> list[Any]:
        """Read the next replies.

        Raises
        ------
        redis.RedisError
            The server went away, did not reply in time, or replied with an error.
        """
        found: list[Any] = []
        while len(found) < count:
            found.append(self._connection.read_response())
            self.owed -= 1
            received = self._received(count - len(found))
            self.owed -= len(received)
            for reply in received:
                if isinstance(reply, redis.RedisError):
                    raise reply
            found += received
        return found

    def _received(self, count: int) -> list[Any]:
        """Take replies that came in the same piece as the last, without asking redis-py for each again."""
        received = getattr(self._connection._parser, "_reader", None)  # noqa: SLF001 - hiredis, if redis-py uses it
        if received is None or self._connection.protocol in _PUSHES:
            return []
        return list(islice(iter(received.gets, NOT_ENOUGH_DATA), count))


@contextmanager
def borrowed(client: Any) -> Iterator[Wire]:
    """Borrow a connection from a client's pool.

    If replies are still to come when it is given back, whatever the reason, it is closed first: the pool's next user
    would take them for its own.
    """
    pool = client.connection_pool
    connection = pool.get_connection()
    wire = Wire(connection)
    try:
        yield wire
    finally:
        if wire.owed:
            connection.disconnect()
        pool.release(connection)
