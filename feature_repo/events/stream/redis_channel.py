"""The stream of events in Redis Streams: one stream per partition, read by position like a log.

There is no consumer group: a process that lost its partition and did not notice would take new entries out of one, and
lose them; and each read through one is written to the append-only file. What was acknowledged is a number in Redis,
and entries up to it are removed, so the length of a stream is what waits in it.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import redis

from feature_repo.core.deadlines import Deadline
from feature_repo.core.errors import BufferFullError, DataError, SettingsError, StoreUnavailableError
from feature_repo.core.leases import TTL_MS, Leases
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_redis, redis_answers
from feature_repo.events.stream.channel import Entries, Ints, Message
from feature_repo.events.stream.redis_keys import ACKNOWLEDGED, FACTS, READERS

RETRY_AFTER_S = 1.0
LONGEST_WAIT_S = 2.0  # well below what a reply may take, and a lease lives

# Messages of one script: a server runs nothing else meanwhile (about 2 ms).
_MOST_MESSAGES = 1_000
_MOST_BYTES = 1 << 20
_SEQUENCE_BITS = 20
_MOST_MS = 1 << (63 - _SEQUENCE_BITS)
_REFUSED = -1

# The bound is checked and kept in one step, so many writers together do not pass it.
_SEND = """
if redis.call('HGET', KEYS[1], 'partitions') ~= ARGV[1] then return -1 end
local room = {}
for n = 2, #KEYS do room[n] = ARGV[2] - redis.call('XLEN', KEYS[n]) end
local taken = 0
for n = 3, #ARGV, 3 do
  local key = ARGV[n] + 2
  if room[key] < 1 then break end
  redis.call('XADD', KEYS[key], '*', 't', ARGV[n + 1], 'e', ARGV[n + 2])
  room[key] = room[key] - 1
  taken = taken + 1
end
return taken
"""

# What a reader that lost a partition still sends for it is without effect, and so is an older position.
_ACKNOWLEDGE = """
for n = 2, #KEYS, 2 do
  local at = (n - 2) / 2 * 3 + 2
  local partition, ms, sequence = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  if redis.call('GET', KEYS[n]) == ARGV[1] then
    local held = redis.call('HGET', KEYS[1], partition) or '0-0'
    local held_ms, held_sequence = string.match(held, '(%d+)-(%d+)')
    held_ms, held_sequence = tonumber(held_ms), tonumber(held_sequence)
    if held_ms < ms or (held_ms == ms and held_sequence < sequence) then
      local id = ARGV[at + 1] .. '-'
      redis.call('HSET', KEYS[1], partition, id .. ARGV[at + 2])
      redis.call('XTRIM', KEYS[n + 1], 'MINID', '=', id .. string.format('%.0f', sequence + 1))
    end
  end
end
"""


@dataclass(frozen=True)
class Stream:
    """What is fixed at the first use of a stream.

    Attributes
    ----------
    incarnation
        Random; a stream made anew has another.
    partitions
        How many.
    """

    incarnation: str
    partitions: int

    def app_id(self, partition: int) -> str:
        """Return what positions of a partition are positions of."""
        return f"{self.incarnation}-{partition}"

    def keys(self) -> list[str]:
        """Return the keys of the partitions, in order."""
        return [f"{FACTS}:{partition}" for partition in range(self.partitions)]


class RedisChannel:
    """The writing end. Threads may share one.

    Parameters
    ----------
    settings
        Name the server, the partitions and ``stream_limit``, of which each partition gets an equal part.
    deadline
        Of what is sent.
    """

    def __init__(self, settings: Settings, *, deadline: Deadline | None = None) -> None:
        self._settings = settings
        self._limit = max(1, settings.stream_limit // settings.partitions)
        self._client: Any = connect_redis(settings, deadline=deadline)
        self._script = self._client.register_script(_SEND)
        with _closed_if_it_fails(self._client):
            self._stream = stream_facts(self._client, settings)

    @property
    def partitions(self) -> int:
        """How many partitions the stream has."""
        return self._stream.partitions

    def send(self, messages: Sequence[Message]) -> None:
        """Append messages in order; return when Redis holds all of them.

        Raises
        ------
        BufferFullError
            A partition is at its bound. ``accepted`` messages, from the first on, were taken, and none behind them.
        StoreUnavailableError
            Redis does not answer; some messages may have been taken.
        """
        done = 0
        with redis_answers():
            for chunk in _chunks(messages):
                taken = self._append(chunk)
                done += taken
                if taken < len(chunk):
                    raise self._full(chunk[taken].partition, done)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _append(self, chunk: Sequence[Message]) -> int:
        arguments: list[Any] = [self.partitions, self._limit]
        for message in chunk:
            arguments += (message.partition, message.event_type, message.body)
        keys = [FACTS, *self._stream.keys()]
        taken = self._script(keys=keys, args=arguments)
        if taken == _REFUSED:  # Redis was emptied: the stream begins anew, or somebody began it in another shape
            self._stream = stream_facts(self._client, self._settings)
            taken = self._script(keys=keys, args=arguments)
        return max(0, int(taken))

    def _full(self, partition: int, accepted: int) -> BufferFullError:
        return BufferFullError(
            f"Partition {partition} of the stream of events is full: {self._limit:,} events wait in it.",
            accepted=accepted,
            retry_after_s=RETRY_AFTER_S,
            hint="send the rest later; `portrait jobs consume` empties it, PORTRAIT_STREAM_LIMIT sets the bound.",
        )


class RedisReader:
    """The reading end of one process.

    Parameters
    ----------
    settings
        Name the server and the partitions.
    name
        Of the process, for those who look into Redis.
    ttl_ms
        How long the partitions of a process that died stay unread.
    """

    def __init__(self, settings: Settings, *, name: str, ttl_ms: int = TTL_MS) -> None:
        # Positions are remembered here; a server that was restarted may have come back with older ones.
        self._client: Any = connect_redis(settings, same_server=True)
        self._client.set_response_callback("XREAD", _as_it_came)
        with _closed_if_it_fails(self._client):
            self._stream = stream_facts(self._client, settings)
        names = [f"portrait:lease:{partition}" for partition in range(self._stream.partitions)]
        self._leases = Leases(self._client, names, members=READERS, name=name, ttl_ms=ttl_ms)
        self._acknowledge = self._client.register_script(_ACKNOWLEDGE)
        self._keys = self._stream.keys()
        self._read: dict[int, str] = {}

    @property
    def partitions(self) -> int:
        """How many partitions the stream has."""
        return self._stream.partitions

    def owned(self) -> frozenset[int]:
        """Partitions this reader owns now; claims and gives up what it has to.

        Raises
        ------
        StoreUnavailableError
            Redis does not answer, or was restarted.
        """
        with redis_answers():
            shares = self._leases.renew()
            # Others may have read on in a partition that was not ours all the time.
            self._read = {p: last for p, last in self._read.items() if p in shares.kept}
            missing = sorted(shares.held - set(self._read))
            if missing:
                found = self._client.hmget(ACKNOWLEDGED, missing)
                self._read |= {p: (at or b"0-0").decode() for p, at in zip(missing, found, strict=True)}
        return shares.held

    def keep(self) -> None:
        """Keep what is owned while other work is done; what was lost stays lost. Any thread may call it.

        Raises
        ------
        StoreUnavailableError
            Redis does not answer, or was restarted.
        """
        with redis_answers():
            self._leases.keep()

    def read(self, most: int, *, wait_s: float) -> list[Entries]:
        """Return up to ``most`` entries of owned partitions, behind the last ones read; wait for the first.

        Raises
        ------
        StoreUnavailableError
            Redis does not answer, or was restarted.
        DataError
            An entry's id is none that Redis gives.
        """
        if not self._read:
            return []
        partitions = sorted(self._read)
        command: list[Any] = ["XREAD", "COUNT", max(1, most // len(partitions))]
        if wait_s > 0:
            command += ["BLOCK", max(1, int(min(wait_s, LONGEST_WAIT_S) * 1000))]
        keys = [self._keys[partition] for partition in partitions]
        with redis_answers():
            reply = self._client.execute_command(*command, "STREAMS", *keys, *[self._read[p] for p in partitions])
        found: dict[bytes, list[Any]] = dict(reply.items() if isinstance(reply, dict) else reply or [])
        return [
            self._entries(partition, raw)
            for partition in partitions
            if (raw := found.get(self._keys[partition].encode()))
        ]

    def acknowledge(self, upto: Mapping[int, int]) -> None:
        """Let go of entries up to a position; without effect in partitions that are no longer ours.

        Raises
        ------
        StoreUnavailableError
            Redis does not answer, or was restarted.
        """
        keys, arguments = [ACKNOWLEDGED], [self._leases.token]
        for partition, position in upto.items():
            keys += (self._leases.names[partition], self._keys[partition])
            arguments += map(str, (partition, *_unpacked(position)))
        with redis_answers():
            self._acknowledge(keys, arguments)

    def lag(self) -> int:
        """Entries of owned partitions that were not acknowledged; of all partitions if none is owned.

        Raises
        ------
        StoreUnavailableError
            Redis does not answer, or was restarted.
        """
        return self._waiting_in(sorted(self._read) or range(self._stream.partitions))

    def drained(self) -> bool:
        """Whether nothing waits in the stream; False if no partition is owned.

        What others own counts: a reader that died owns its partitions until its leases end.

        Raises
        ------
        StoreUnavailableError
            Redis does not answer, or was restarted.
        """
        return bool(self._read) and self._waiting_in(range(self._stream.partitions)) == 0

    def _waiting_in(self, partitions: Iterable[int]) -> int:
        with redis_answers(), self._client.pipeline(transaction=False) as pipeline:
            for partition in partitions:
                pipeline.xlen(self._keys[partition])
            return sum(pipeline.execute())

    def close(self) -> None:
        """Give up all partitions, so that others take over at once; if Redis is away, the leases end by themselves."""
        with contextlib.suppress(redis.RedisError, StoreUnavailableError):
            self._leases.release()
        self._read = {}
        self._client.close()

    def _entries(self, partition: int, raw: list[Any]) -> Entries:
        ids = [entry[0] for entry in raw]
        ms, sequences = _numbers(ids, partition)
        self._read[partition] = ids[-1].decode()
        try:
            usual = {(fields[0], fields[2], len(fields)) for _, fields in raw} == {(b"t", b"e", 4)}
        except (IndexError, TypeError):
            usual = False
        if usual:
            kinds, bodies = [fields[1] for _, fields in raw], [fields[3] for _, fields in raw]
        else:
            named = [_named(fields) for _, fields in raw]
            kinds, bodies = [n.get(b"t", b"") for n in named], [n.get(b"e", b"") for n in named]
        known = {kind: kind.decode("utf-8", "replace") for kind in set(kinds)}
        return Entries(
            partition=partition,
            app_id=self._stream.app_id(partition),
            positions=(ms << _SEQUENCE_BITS) | sequences,
            arrived=ms * 1000,
            event_types=[known[kind] for kind in kinds],
            bodies=bodies,
        )


def stream_facts(client: Any, settings: Settings) -> Stream:
    """Return what was fixed at the first use of the stream, which may be this one.

    Raises
    ------
    SettingsError
        The stream was made with another number of partitions.
    redis.RedisError
        Redis does not answer.
    """
    with client.pipeline() as pipeline:
        pipeline.hsetnx(FACTS, "incarnation", secrets.token_hex(8))
        pipeline.hsetnx(FACTS, "partitions", settings.partitions)
        pipeline.hmget(FACTS, "incarnation", "partitions")
        incarnation, partitions = pipeline.execute()[-1]
    if int(partitions) != settings.partitions:
        raise SettingsError(
            f"PORTRAIT_PARTITIONS is {settings.partitions}, and the stream of events in Redis was made with "
            f"{int(partitions)} partitions.",
            hint=f"set PORTRAIT_PARTITIONS={int(partitions)}: a shopper's events would change places midway.",
        )
    return Stream(incarnation.decode(), int(partitions))


def _chunks(messages: Sequence[Message]) -> list[Sequence[Message]]:
    ends, size, begin = [], 0, 0
    for n, message in enumerate(messages):
        size += len(message.body)
        if n > begin and (n - begin >= _MOST_MESSAGES or size > _MOST_BYTES):
            ends.append((begin, n))
            begin, size = n, len(message.body)
    return [messages[low:high] for low, high in [*ends, (begin, len(messages))] if high > low]


def _numbers(ids: list[bytes], partition: int) -> tuple[Ints, Ints]:
    """Milliseconds and sequence numbers of ids."""
    both = np.array(b"-".join(ids).split(b"-")).astype(np.uint64).reshape(-1, 2)
    odd = (both[:, 0] >= _MOST_MS) | (both[:, 1] >= 1 << _SEQUENCE_BITS)
    if odd.any():
        raise DataError(
            f"Partition {partition} of the stream of events has entry {ids[int(np.argmax(odd))].decode()}, whose id "
            "Redis did not give.",
            hint="write to the stream through `ProfileClient.track` or POST /v1/events, or by XADD with the id '*'.",
        )
    pairs = both.astype(np.int64)
    return pairs[:, 0], pairs[:, 1]


def _unpacked(position: int) -> tuple[int, int]:
    return position >> _SEQUENCE_BITS, position & ((1 << _SEQUENCE_BITS) - 1)


def _named(fields: list[bytes] | None) -> dict[bytes, bytes]:
    given = fields or []  # NULL for an entry that was deleted
    return dict(zip(given[::2], given[1::2], strict=False))


def _as_it_came(reply: Any, **_: Any) -> Any:
    return reply


@contextlib.contextmanager
def _closed_if_it_fails(client: Any) -> Any:
    try:
        with redis_answers():
            yield
    except BaseException:
        client.close()
        raise
