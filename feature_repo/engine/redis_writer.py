"""Write to Redis in bounded requests, each row guarded on the server.

The guards make every write harmless to repeat: a build replaces only older states, a merge only the state it read, a
row of an ordinary view only one that is not later. A script takes the rows of several keys, which costs the server half
of what a call per key does; each key's own write is atomic by itself.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import redis
from redis.exceptions import NoScriptError

from feature_repo.engine.byte_columns import Column, Ints, decimals, joined
from feature_repo.engine.redis_wire import Wire, borrowed, bulk, packed

# Two requests are in flight, so that one is made while the server works on the other: together at most 1,000 rows and
# 1 MB, unless a single row is larger. More would only fill the server's memory.
IN_FLIGHT = 2
ROWS_PER_REQUEST = 500
BYTES_PER_REQUEST = 1 << 19
KEYS_PER_PIPELINE = 1_000
# Fewer cost the server more per row; with more it answers nobody else for longer than about a millisecond.
# (A cluster would need 1: its keys live on several servers.)
ROWS_PER_CALL = 125

Bools: TypeAlias = npt.NDArray[np.bool_]
Strings: TypeAlias = pa.Array | Sequence[bytes]

# KEYS: entities. ARGV: field, how many fields are retired, they; then for each key a log version and a state. A key
# that holds a state never expires, whatever the rows beside it say: the first state sees to it.
_STATES = """
local field, retired = ARGV[1], tonumber(ARGV[2])
local taken, at = {{}}, retired + 3
for k, key in ipairs(KEYS) do
  local held, asked = redis.call('HGET', key, field), tonumber(ARGV[at])
  local version = held and struct.unpack('<i8', held, 9) or -1
  taken[k] = '0'
  if {condition} then
    redis.call('HSET', key, field, ARGV[at + 1])
    if retired > 0 then redis.call('HDEL', key, unpack(ARGV, 3, retired + 2)) end
    if not held then redis.call('PERSIST', key) end
    taken[k] = '1'
  end
  at = at + 2
end
return table.concat(taken)
"""

# KEYS: entities. ARGV: how many fields, they, _ts first; then for each key when its row expires (milliseconds, 0 never)
# and the fields' values. A later row stays; one with the same time is a correction and wins. Timestamps are compared as
# instants: varints of negative seconds have ten groups of seven bits, two's complement.
# A key expires with the last of its rows: one that never does keeps it, a later one puts it off. A key is due at -1 if
# it holds something that never expires, at -2 if it was not there. Most are due late enough already: asking costs less
# than writing it again, and the log on disk grows less.
_ROWS = """
local function varint(text, at)
  local groups, byte = {{}}, nil
  repeat byte = string.byte(text, at); at = at + 1; groups[#groups + 1] = byte % 128 until byte < 128
  local negative, value = #groups == 10, 0
  for i = #groups, 1, -1 do
    local group = groups[i]
    if negative then group = (i == 10 and 1 or 127) - group end
    value = value * 128 + group
  end
  if negative then value = -value - 1 end
  return value, at
end
local function instant(text)
  local at, seconds, nanos, tag = 1, 0, 0, nil
  while at <= #text do
    tag, at = varint(text, at)
    if tag == 8 then seconds, at = varint(text, at) else nanos, at = varint(text, at) end
  end
  return seconds, nanos
end
local function later(held, stamp)
  if not held or held == stamp then return false end
  local s, n = instant(held)
  local t, m = instant(stamp)
  return s > t or (s == t and n > m)
end
local call, n, field = redis.call, tonumber(ARGV[1]), ARGV[2]
local row, taken, at = {{}}, {{}}, n + 2
for i = 1, n do row[2 * i - 1] = ARGV[i + 1] end
for k, key in ipairs(KEYS) do
  local expiry, held = ARGV[at], call('HGET', key, field)
  if {guard} then taken[k] = '0' else
    local due = call('PEXPIRETIME', key)
    for i = 1, n do row[2 * i] = ARGV[at + i] end
    call('HSET', key, unpack(row))
    if due ~= -1 then
      if expiry ~= '0' then
        if due == -2 or due < tonumber(expiry) then call('PEXPIREAT', key, expiry) end
      elseif due >= 0 then call('PERSIST', key) end
    end
    taken[k] = '1'
  end
  at = at + n + 1
end
return table.concat(taken)
"""


@dataclass(frozen=True)
class Script:
    """A script as the server knows it: by its digest, once it was loaded."""

    text: str

    @property
    def digest(self) -> bytes:
        """Forty hex digits."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest().encode()


BUILD = Script(_STATES.format(condition="version < asked"))
MERGE = Script(_STATES.format(condition="version == asked"))
ROWS = Script(_ROWS.format(guard="later(held, ARGV[at + 1])"))
ROWS_ANEW = Script(_ROWS.format(guard="false"))


@dataclass(frozen=True)
class Batch:
    """Some keys, and the arguments of each: columns as ``redis_wire.bulk`` makes them."""

    keys: Strings
    arguments: Sequence[Column]


@dataclass(frozen=True)
class _Request:
    data: bytes
    calls: int
    rows: int


class RedisWriter:
    """Send guarded writes, and say of each whether it took effect.

    Every method raises ``redis.RedisError`` when the server goes away or refuses a write (its memory is full, it is
    read-only). What was sent before may have been written; running again is safe.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client

    def build(self, keys: Strings, field: bytes, version: int, states: Strings, retired: Sequence[bytes]) -> Bools:
        """Replace states whose header is older than ``version``; remove the ``retired`` fields beside them."""
        return self._states(BUILD, keys, field, np.full(len(keys), version), states, retired)

    def merge(
        self, keys: Strings, field: bytes, versions: Sequence[int] | Ints, states: Strings, retired: Sequence[bytes]
    ) -> Bools:
        """Replace states that have the version they were read with (-1: none); remove the ``retired`` fields."""
        return self._states(MERGE, keys, field, np.asarray(versions, np.int64), states, retired)

    def rows(self, names: Sequence[bytes], batches: Iterable[Batch], *, anew: bool = False) -> Iterator[Bools]:
        """Write rows of an ordinary view: a later row stays, unless the view is written ``anew``.

        Parameters
        ----------
        names
            Hash fields, ``_ts:<view>`` first.
        batches
            Arguments are each row's expiry (milliseconds since the epoch, 0 for never), then a value per name. The next
            is asked for while the server works on those before. A key expires with the last of the rows in it.

        Yields
        ------
        array
            For the next rows, in order, whether they took effect.
        """
        return self._run(ROWS_ANEW if anew else ROWS, [b"%d" % len(names), *names], batches)

    def _states(
        self, script: Script, keys: Strings, field: bytes, versions: Ints, states: Strings, retired: Sequence[bytes]
    ) -> Bools:
        batch = Batch(keys, [bulk(decimals(versions)), bulk(Column.of(states))])
        taken = [*self._run(script, [field, b"%d" % len(retired), *retired], [batch])]
        return np.concatenate(taken) if taken else np.zeros(0, bool)

    def _run(self, script: Script, common: Sequence[bytes], batches: Iterable[Batch]) -> Iterator[Bools]:
        sent: deque[_Request] = deque()
        with borrowed(self._client) as wire:
            for batch in batches:
                for request in _requests(script, common, batch):
                    while len(sent) >= IN_FLIGHT:
                        yield from _settled(wire, script, sent)
                    wire.send(request.data, commands=request.calls)
                    sent.append(request)
            while sent:
                yield from _settled(wire, script, sent)


def _settled(wire: Wire, script: Script, sent: deque[_Request]) -> Iterator[Bools]:
    """Read the replies of the oldest request."""
    request = sent.popleft()
    replies = _read(wire, request)
    if not any(isinstance(reply, NoScriptError) for reply in replies):
        yield _taken(replies)
        return
    # The server does not know the script yet, or lost it. All that is in flight goes again, in order: a row that has
    # taken effect already stays so, and must not be told to have been refused.
    again = [request, *sent]
    first = [replies, *[_read(wire, each) for each in sent]]
    sent.clear()
    _load(wire, script)
    for each, before in zip(again, first, strict=True):
        wire.send(each.data, commands=each.calls)
        after = _read(wire, each)
        yield _taken([_either(*pair) for pair in zip(before, after, strict=True)])


def _load(wire: Wire, script: Script) -> None:
    wire.send(b"*3\r\n" + packed(b"SCRIPT", b"LOAD", script.text.encode()), commands=1)
    _refuse_errors([wire.read()])


def _requests(script: Script, common: Sequence[bytes], batch: Batch) -> Iterator[_Request]:
    """Cut a batch into requests, and those into calls of the script."""
    rows = len(batch.keys)
    keys = _Rows(bulk(Column.of(batch.keys)), rows)
    arguments = _Rows(Column.concat(*batch.arguments), rows)
    ends = keys.offsets + arguments.offsets
    width = len(batch.arguments)
    shared = packed(*common)
    start = 0
    while start < rows:
        within = int(np.searchsorted(ends, ends[start] + BYTES_PER_REQUEST, side="right")) - 1
        stop = max(start + 1, min(start + ROWS_PER_REQUEST, within))
        bounds = [*range(start, stop, ROWS_PER_CALL), stop]
        parts: list[bytes | memoryview] = []
        for first, last in pairwise(bounds):
            count = last - first
            head = b"*%d\r\n" % (3 + len(common) + count * (1 + width))
            call = packed(b"EVALSHA", script.digest, b"%d" % count)
            parts += [head, call, keys.between(first, last), shared, arguments.between(first, last)]
        yield _Request(b"".join(parts), len(bounds) - 1, stop - start)
        start = stop


class _Rows:
    """Rows of bytes behind each other in memory."""

    def __init__(self, column: Column, rows: int) -> None:
        array = joined(column.pieces, rows)
        _, offsets, data = array.buffers()
        self.offsets: Ints = np.frombuffer(offsets, np.int64)[array.offset : array.offset + rows + 1]
        self._data = memoryview(data or b"")

    def between(self, first: int, last: int) -> memoryview:
        return self._data[self.offsets[first] : self.offsets[last]]


def _read(wire: Wire, request: _Request) -> list[Any]:
    return [wire.read() for _ in range(request.calls)]


def _taken(replies: Sequence[Any]) -> Bools:
    _refuse_errors(replies)
    taken: Bools = np.frombuffer(b"".join(replies), np.uint8) == ord("1")
    return taken


def _either(before: Any, after: Any) -> Any:
    if isinstance(before, Exception) or isinstance(after, Exception):
        return after
    return bytes(map(max, before, after))


def _refuse_errors(replies: Sequence[Any]) -> None:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply


def key_pages(client: Any, pattern: bytes) -> Iterator[list[bytes]]:
    """Keys of hashes that match a pattern, some at a time; one may come twice."""
    cursor = 0
    while True:
        cursor, keys = client.scan(cursor, match=pattern, count=KEYS_PER_PIPELINE, _type="hash")
        yield keys
        if not cursor:
            return


def remove_fields(client: Any, pattern: bytes, fields: Sequence[bytes]) -> None:
    """Delete fields from every hash whose key matches, a page of keys at a time."""
    for page in key_pages(client, pattern):
        drop_fields(client, page, fields)


def drop_fields(client: Any, keys: Sequence[bytes], fields: Sequence[bytes]) -> None:
    """Delete fields of some hashes; one that has no other is gone."""
    for start in range(0, len(keys), KEYS_PER_PIPELINE):
        with client.pipeline(transaction=False) as pipe:
            for key in keys[start : start + KEYS_PER_PIPELINE]:
                pipe.hdel(key, *fields)
            pipe.execute()
