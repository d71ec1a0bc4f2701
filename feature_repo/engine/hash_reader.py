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
    found: list[list[Row]] = [[] if read.fields else [[] for _ in read.keys] for read in reads]
    rows = iter(_replies(client, [chunk for members in groups.values() for chunk in _chunks(reads, members)]))
    for members in groups.values():
        whole = list(islice(rows, len(reads[members[0]].keys)))
        start = 0
        for i in members:
            stop = start + len(reads[i].fields)
            found[i] = whole if len(members) == 1 else [row[start:stop] for row in whole]
            start = stop
    return found


def _chunks(reads: Sequence[HashRead], members: Sequence[int]) -> list[tuple[bytes, int]]:
    """Return commands for the keys of reads that share them: the bytes to send, and how many commands they are."""
    fields, keys = [field for i in members for field in reads[i].fields], reads[members[0]].keys
    tail = b"\r\n" + packed(*fields)
    head = b"*%d\r\n$5\r\nHMGET\r\n$" % (2 + len(fields))
    return [
        (_commands(head, keys[start : start + MAX_OWED], tail), len(keys[start : start + MAX_OWED]))
        for start in range(0, len(keys), MAX_OWED)
    ]


def _commands(head: bytes, keys: Sequence[bytes], tail: bytes) -> bytes:
    lengths = set(map(len, keys))
    if len(lengths) > 1:
        return b"".join([b"%b%d\r\n%b%b" % (head, len(key), key, tail) for key in keys])
    head += b"%d\r\n" % lengths.pop()
    return head + (tail + head).join(keys) + tail


def _replies(client: Any, chunks: Sequence[tuple[bytes, int]]) -> list[Row]:
    found: list[Row] = []
    with borrowed(client) as wire:
        waiting = 0
        for data, commands in chunks:
            if waiting + commands > MAX_OWED:
                found += wire.read_all(waiting)
                waiting = 0
            wire.send(data, commands=commands)
            waiting += commands
        found += wire.read_all(waiting)
    return found
