"""Fields of many hashes in one round trip, one command per key however many views it is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from feature_repo.engine.redis_wire import borrowed, packed

MAX_OWED = 500  # replies that may wait unread: the server holds them in memory

Row = list[bytes | None]


@dataclass(frozen=True)
class HashRead:
    """Fields of the hashes of some keys; reads that share the list of keys share a command per key."""

    keys: Sequence[bytes]
    fields: tuple[bytes, ...]


def read_hashes(client: Any, reads: Sequence[HashRead]) -> list[list[Row]]:
    """Return per read, per key, the value of each field: None where there is none.

    The commands are executed in the order of the reads that first name a key.

    Raises
    ------
    redis.RedisError
        The server does not answer, or replies with an error.
    """
    groups: dict[int, list[int]] = {}
    for i, read in enumerate(reads):
        if read.fields:
            groups.setdefault(id(read.keys), []).append(i)
    found: list[list[Row]] = [[[] for _ in read.keys] if not read.fields else [] for read in reads]
    chunks = _chunks([_commands(reads, members) for members in groups.values()])
    rows = iter(_replies(client, chunks))
    for members in groups.values():
        whole = list(islice(rows, len(reads[members[0]].keys)))
        start = 0
        for i in members:
            stop = start + len(reads[i].fields)
            found[i] = whole if len(members) == 1 else [row[start:stop] for row in whole]
            start = stop
    return found


def _commands(reads: Sequence[HashRead], members: Sequence[int]) -> list[bytes]:
    fields = [field for i in members for field in reads[i].fields]
    head, tail = b"*%d\r\n$5\r\nHMGET\r\n$" % (2 + len(fields)), b"\r\n" + packed(*fields)
    return [b"%b%d\r\n%b%b" % (head, len(key), key, tail) for key in reads[members[0]].keys]


def _chunks(commands: Sequence[list[bytes]]) -> list[list[bytes]]:
    whole = [each for some in commands for each in some]
    return [whole[start : start + MAX_OWED] for start in range(0, len(whole), MAX_OWED)]


def _replies(client: Any, chunks: Sequence[list[bytes]]) -> list[Row]:
    found: list[Row] = []
    with borrowed(client) as wire:
        for chunk in chunks:
            wire.send(b"".join(chunk), commands=len(chunk))
            for _ in chunk:
                reply = wire.read()
                if isinstance(reply, Exception):
                    raise reply
                found.append(reply)
    return found
