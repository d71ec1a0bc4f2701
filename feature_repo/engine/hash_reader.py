"""Fields of many hashes in one round trip, one command per key however many views it is asked about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from feature_repo.engine.redis_wire import borrowed, packed

KEYS_AT_ONCE = 500
MAX_OWED = KEYS_AT_ONCE + 20  # replies that may wait unread: the server holds them in memory

Field: TypeAlias = Sequence[bytes | None]
_Chunk: TypeAlias = tuple[bytes, int]


@dataclass(frozen=True)
class HashRead:
    """Fields of the hashes of some keys; reads that share the list of keys share a command per key."""

    keys: Sequence[bytes]
    fields: tuple[bytes, ...]


def read_hashes(client: Any, reads: Sequence[HashRead]) -> list[list[Field]]:
    """Return per read, per field, its value in the hash of each key: None where there is none.

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
    found: list[list[Field]] = [[] for _ in reads]
    replies = _replies(client, [chunk for members in groups.values() for chunk in _chunks(reads, members)])
    start = 0
    for members in groups.values():
        stop = start + len(reads[members[0]].keys)
        columns = iter(_columns(replies[start:stop], sum(len(reads[i].fields) for i in members)))
        for i in members:
            found[i] = [next(columns) for _ in reads[i].fields]
        start = stop
    return found


def _columns(replies: list[Any], fields: int) -> Sequence[Field]:
    if fields == 1:
        return [replies]
    return list(zip(*replies, strict=True)) if replies else [[]] * fields


def _chunks(reads: Sequence[HashRead], members: Sequence[int]) -> Iterator[_Chunk]:
    """Return commands for the keys of reads that share them: the bytes to send, and how many commands they are."""
    fields, keys = tuple(field for i in members for field in reads[i].fields), reads[members[0]].keys
    head, tail = _around(fields)
    for start in range(0, len(keys), KEYS_AT_ONCE):
        some = keys[start : start + KEYS_AT_ONCE]
        yield _commands(head, some, tail), len(some)


@lru_cache
def _around(fields: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    """Return what stands before and behind the key in a command."""
    command = packed(b"HGET" if len(fields) == 1 else b"HMGET")
    return b"*%d\r\n%b$" % (2 + len(fields), command), b"\r\n" + packed(*fields)


def _commands(head: bytes, keys: Sequence[bytes], tail: bytes) -> bytes:
    lengths = set(map(len, keys))
    if len(lengths) > 1:
        return b"".join([b"%b%d\r\n%b%b" % (head, len(key), key, tail) for key in keys])
    head += b"%d\r\n" % lengths.pop()
    return head + (tail + head).join(keys) + tail


def _replies(client: Any, chunks: Sequence[_Chunk]) -> list[Any]:
    found: list[Any] = []
    with borrowed(client) as wire:
        data, waiting = b"", 0
        for piece, commands in chunks:
            if waiting + commands > MAX_OWED:
                wire.send(data, commands=waiting)
                found += wire.read_all(waiting)
                data, waiting = b"", 0
            data, waiting = data + piece, waiting + commands
        if waiting:
            wire.send(data, commands=waiting)
            found += wire.read_all(waiting)
    return found
