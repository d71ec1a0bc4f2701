"""Write to Redis in bounded chunks, each write guarded on the server.

The guards make every write harmless to repeat: a build replaces only older states, a merge only the state it read, a
row of an ordinary view only one that is not later.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any

import redis

MAX_COMMANDS = 1_000
MAX_BYTES = 1 << 20

# KEYS[1] entity, ARGV: field, log version, state, retired fields. Replaces a state whose header is older.
_BUILD = """
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held and struct.unpack('<i8', held, 9) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
for i = 4, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
return 1
"""

# The same arguments; ARGV[2] is the log version of the state that was merged into (-1: there was none).
_MERGE = """
local held = redis.call('HGET', KEYS[1], ARGV[1])
local version = -1
if held then version = struct.unpack('<i8', held, 9) end
if version ~= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
for i = 4, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
return 1
"""

# KEYS[1] entity, ARGV: _ts field, new timestamp (protobuf), then field, value pairs. A later row stays; one with the
# same time is a correction and wins. Varints of negative seconds have ten groups of seven bits, two's complement.
_ROW = """
local function varint(text, at)
  local groups, byte = {}, nil
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
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held then
  local s, n = instant(held)
  local t, m = instant(ARGV[2])
  if s > t or (s == t and n > m) then return 0 end
end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
"""

# The same without the guard: the rows of a table that was recreated, or written anew on purpose.
_ROW_ANEW = "redis.call('HSET', KEYS[1], unpack(ARGV)) return 1"

Arguments = Sequence[bytes | int]
Rows = Iterable[tuple[bytes, Arguments]]


class RedisWriter:
    """Send guarded writes; each method returns which of them took effect, in order.

    Raises
    ------
    redis.RedisError
        The server went away or refused a write. What was sent before may have been written; running again is safe.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client
        self._build = client.register_script(_BUILD)
        self._merge = client.register_script(_MERGE)
        self._row = client.register_script(_ROW)
        self._row_anew = client.register_script(_ROW_ANEW)

    def build(
        self, keys: Sequence[bytes], field: bytes, version: int, states: Sequence[bytes], retired: Sequence[bytes]
    ) -> list[bool]:
        """Replace states whose header is older than ``version``."""
        rows: Rows = ((key, [field, version, state, *retired]) for key, state in zip(keys, states, strict=True))
        return self._send(self._build, rows)

    def merge(
        self,
        keys: Sequence[bytes],
        field: bytes,
        versions: Sequence[int],
        states: Sequence[bytes],
        retired: Sequence[bytes],
    ) -> list[bool]:
        """Replace states that still have the version they were read with."""
        rows: Rows = (
            (key, [field, version, state, *retired]) for key, version, state in zip(keys, versions, states, strict=True)
        )
        return self._send(self._merge, rows)

    def rows(self, keys: Sequence[bytes], fields: Sequence[Arguments], *, anew: bool = False) -> list[bool]:
        """Write rows of an ordinary view: ``fields`` are ``_ts`` field, timestamp, then field and value in turn.

        A later row stays, unless the view is written ``anew``.
        """
        return self._send(self._row_anew if anew else self._row, zip(keys, fields, strict=True))

    def _send(self, script: Any, rows: Rows) -> list[bool]:
        taken: list[bool] = []
        for chunk in _chunks(rows):
            with self._client.pipeline(transaction=False) as pipe:
                for key, arguments in chunk:
                    script(keys=[key], args=arguments, client=pipe)
                taken += [bool(reply) for reply in pipe.execute()]
        return taken


def remove_fields(
    client: Any, pattern: bytes, fields: Sequence[bytes], *, keep: Container[bytes] = frozenset()
) -> None:
    """Delete fields from every hash whose key matches and is not to be kept, a page of keys at a time."""
    cursor = 0
    while True:
        cursor, keys = client.scan(cursor, match=pattern, count=MAX_COMMANDS, _type="hash")
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                if key not in keep:
                    pipe.hdel(key, *fields)
            pipe.execute()
        if not cursor:
            return


def _chunks(rows: Rows) -> Iterator[list[tuple[bytes, Arguments]]]:
    chunk: list[tuple[bytes, Arguments]] = []
    size = 0
    for key, arguments in rows:
        length = len(key) + sum(len(part) for part in arguments if isinstance(part, bytes))
        if chunk and (len(chunk) >= MAX_COMMANDS or size + length > MAX_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append((key, arguments))
        size += length
    if chunk:
        yield chunk
