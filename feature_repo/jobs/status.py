"""How the stream, its consumers and what they write are, as seen from outside: nothing but dead notes is changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feature_repo.core.clock import SECOND, Clock
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_redis, redis_answers
from feature_repo.events.stream.waiting import Waiting, waiting
from feature_repo.events.table_head import load_table
from feature_repo.jobs.consuming.declared import Declarations, Declared, declarations

# Where consumers write their word once a second (jobs/consume.py, which takes Feast to import).
CONSUMERS = "portrait:consumers"

# A consumer writes between two batches: one silent for so long is dead, or stands still. Its last word is kept a while.
DEAD_US = 10 * SECOND
FORGOTTEN_US = 60 * SECOND

# Of two that ask, and a consumer that comes back meanwhile: only the word that was found old is dropped.
_FORGET = "if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end"


@dataclass(frozen=True)
class ConsumerStatus:
    """A consumer by its own last word.

    Attributes
    ----------
    name
        Host, process, and a random part.
    alive
        Whether it said so in the last ten seconds.
    said_ago_s
        How long ago it did.
    partitions
        Those it owned then.
    events, late, duplicates, replayed, erased, expired, quarantined
        Counts since the process started; see :class:`feature_repo.jobs.consuming.meter.Reading`.
    events_per_s, freshness_ms
        Over its last minute.
    """

    name: str
    alive: bool
    said_ago_s: float
    partitions: tuple[int, ...]
    events: int
    events_per_s: float
    freshness_ms: dict[str, float | None]
    late: int
    duplicates: int
    replayed: int
    erased: int
    expired: int
    quarantined: dict[str, int]


@dataclass(frozen=True)
class ViewStatus:
    """How far a view is behind the log.

    Attributes
    ----------
    name, table
        View, and the table it reads.
    held, head
        Log version its state holds, in all shards; of the table. None if there is no state, or no table.
    behind
        Versions between them; None if that cannot be said.
    why
        Empty, or why not: ``not built``, ``no table``, ``table made anew``.
    """

    name: str
    table: str
    held: int | None
    head: int | None
    behind: int | None
    why: str


@dataclass(frozen=True)
class TableStatus:
    """A table of the log.

    Attributes
    ----------
    name
        Event type or dimension; ``quarantine``.
    version, files
        Delta version, and its Parquet files.
    table_id
        Delta's; a table made anew has another.
    """

    name: str
    version: int
    files: int
    table_id: str


@dataclass(frozen=True)
class StreamStatus:
    """How all of it is.

    Attributes
    ----------
    events_per_s
        Of the consumers that are alive, together.
    lag
        Entries that wait in the stream, as its broker says.
    freshness_ms
        ``p50`` and ``p99`` of arrival to visible, of the consumer that is least fresh; None without events.
    events, late, duplicates, replayed, erased, expired, quarantined
        Sums over ``consumers``: a consumer that ended takes its counts along.
    running
        Consumers that are alive.
    stream, consumers, views, tables
        Each of them.
    """

    events_per_s: float
    lag: int
    freshness_ms: dict[str, float | None]
    events: int
    late: int
    duplicates: int
    replayed: int
    erased: int
    expired: int
    quarantined: dict[str, int]
    running: int
    stream: Waiting
    consumers: tuple[ConsumerStatus, ...]
    views: tuple[ViewStatus, ...]
    tables: tuple[TableStatus, ...]


def stream_status(settings: Settings, clock: Clock) -> StreamStatus:
    """Ask Redis, the broker and the log. Feast is imported only when the registry has changed since the last time.

    Raises
    ------
    StoreUnavailableError
        Redis or the broker does not answer.
    LogError
        A table of the log is damaged.
    """
    declared = declarations(settings)
    with closing(connect_redis(settings)) as client:
        consumers = _consumers(client, clock.now_us())
        stream = waiting(settings, client)
        with redis_answers():
            recorded: Mapping[bytes, bytes] = client.hgetall(f"portrait:{declared.project}:state")  # type: ignore[assignment]
        # Read after what is held: so no view seems to be ahead.
        tables = _tables(settings.log_root)
    return _summed(consumers, stream, _views(declared, recorded, tables), tables)


def _summed(
    consumers: tuple[ConsumerStatus, ...],
    stream: Waiting,
    views: tuple[ViewStatus, ...],
    tables: tuple[TableStatus, ...],
) -> StreamStatus:
    alive = [each for each in consumers if each.alive]
    refused: Counter[str] = Counter()
    for each in consumers:
        refused.update(each.quarantined)
    return StreamStatus(
        events_per_s=sum(each.events_per_s for each in alive),
        lag=sum(each.waiting for each in stream.partitions),
        freshness_ms={name: _worst(each.freshness_ms.get(name) for each in alive) for name in ("p50", "p99")},
        events=sum(each.events for each in consumers),
        late=sum(each.late for each in consumers),
        duplicates=sum(each.duplicates for each in consumers),
        replayed=sum(each.replayed for each in consumers),
        erased=sum(each.erased for each in consumers),
        expired=sum(each.expired for each in consumers),
        quarantined=dict(sorted(refused.items())),
        running=len(alive),
        stream=stream,
        consumers=consumers,
        views=views,
        tables=tables,
    )


def _worst(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _consumers(client: Any, now: int) -> tuple[ConsumerStatus, ...]:
    with redis_answers():
        words: dict[bytes, bytes] = client.hgetall(CONSUMERS)
        found = []
        for name, word in sorted(words.items()):
            said = json.loads(word)
            if now - said["at_us"] > FORGOTTEN_US:
                client.eval(_FORGET, 1, CONSUMERS, name, word)
            else:
                found.append(_consumer(name.decode(), said, now))
    return tuple(found)


def _consumer(name: str, said: Mapping[str, Any], now: int) -> ConsumerStatus:
    reading = said["reading"]
    silent = max(0, now - said["at_us"])
    return ConsumerStatus(
        name=name,
        alive=silent <= DEAD_US,
        said_ago_s=round(silent / SECOND, 1),
        partitions=tuple(said["partitions"]),
        events=reading["events"],
        events_per_s=reading["events_per_s"],
        freshness_ms=reading["freshness_ms"],
        late=reading["late"],
        duplicates=reading["duplicates"],
        replayed=reading["replayed"],
        erased=reading["erased"],
        expired=reading.get("expired", 0),
        quarantined=reading["quarantined"],
    )


def _tables(root: Path) -> tuple[TableStatus, ...]:
    return tuple(_table(path.parent) for path in sorted(root.glob("*/_delta_log")))


def _table(path: Path) -> TableStatus:
    table = load_table(path)
    return TableStatus(path.name, int(table.version()), len(table.file_uris()), str(table.metadata().id))


def _views(
    declared: Declarations, recorded: Mapping[bytes, bytes], tables: Iterable[TableStatus]
) -> tuple[ViewStatus, ...]:
    heads = {table.name: table for table in tables}
    kept = (each for each in declared.views if not each.when_asked or _position(each, recorded))
    return tuple(_view(each, recorded, heads.get(each.table)) for each in kept)


def _view(view: Declared, recorded: Mapping[bytes, bytes], table: TableStatus | None) -> ViewStatus:
    position = _position(view, recorded)
    held = int(position.rpartition(":")[2]) if position else None
    if table is None:
        return ViewStatus(view.name, view.table, held, None, None, "no table")
    if not position or held is None:
        return ViewStatus(view.name, view.table, None, table.version, None, "not built")
    if position.rpartition(":")[0] != table.table_id:
        return ViewStatus(view.name, view.table, held, table.version, None, "table made anew")
    return ViewStatus(view.name, view.table, held, table.version, max(0, table.version - held), "")


def _position(view: Declared, recorded: Mapping[bytes, bytes]) -> str:
    """Table id and version of the state that readers of a view see; fields as in engine/positions.py."""
    field = view.position
    if not field:
        served = recorded.get(f"serve:{view.name}".encode())
        if served is None:
            return ""
        layout = json.loads(served)
        field = f"at:{view.name}:{layout['state_hash']}:{layout['generation']}"
    return recorded.get(field.encode(), b"").decode()
