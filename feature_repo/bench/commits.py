"""`portrait bench commits`: a consumer's commits to one table, by entries of our own beside those of `deltalake`.

Both ways take turns, commit by commit, on a table each, and both tables are compacted on the way as a consumer does it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from feature_repo.bench.bench import Bench, Findings, Size
from feature_repo.bench.ground import Ground
from feature_repo.bench.measure import Spent, percentile
from feature_repo.bench.synthetic import pseudonym_sql, queried, unit
from feature_repo.core.clock import SECOND
from feature_repo.core.errors import CheckFailedError
from feature_repo.core.settings import Settings
from feature_repo.events.cleaning import complete
from feature_repo.events.log import EVENT_ID, read_snapshot
from feature_repo.events.schema import arrow_schema
from feature_repo.events.stream.arrivals import Arrivals
from feature_repo.events.stream_table import StreamTable
from feature_repo.events.stream_upkeep import Upkeep

EVENT = "purchase"
PARTITIONS = 4
SHOPPERS, ITEMS, CATEGORIES = 20_000, 50_000, 40
KNOWN_DAYS = 7
WAYS = {"ours": True, "peer": False}
_SHARES = (50, 99)
# What a commit is to stay under.
_LIMIT_MS = 20


@dataclass(frozen=True)
class Scale:
    """Commits of each way at each number of events per commit."""

    commits: int
    events: tuple[int, ...] = (500, 5_000)


@dataclass
class _Way:
    """A table that is committed to, its upkeep, and what each commit took."""

    table: StreamTable
    upkeep: Upkeep
    taken: list[Spent] = field(default_factory=list)

    def commit(self, batch: Arrivals) -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        self.table.commit(batch)
        self.taken.append(Spent(time.perf_counter() - wall, time.thread_time() - cpu))
        self.upkeep.due(self.table)


def measure(ground: Ground, scale: Scale) -> Findings:
    """Commit the same events both ways, then see that both tables hold each event once."""
    found = {}
    for done, events in enumerate(scale.events):
        ground.step(f"commits of {events:,} events", done / len(scale.events))
        found[events] = _committed(ground.settings, events, scale.commits)
    ours, peer = ({f"{events}_events": each[way] for events, each in found.items()} for way in WAYS)
    ratios = {f"{events}_events": _ratios(each) for events, each in found.items()}
    setup = {
        "peer": "the same table, written by deltalake",
        "thread_ms": "processor of the committing thread alone: deltalake works in others too",
        "ratios": ratios,
    }
    return Findings(ours, peer, ratios[f"{scale.events[0]}_events"]["p50"], "ms per commit", setup)


def _ratios(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    ours, peer = found["ours"]["wall_ms"], found["peer"]["wall_ms"]
    return {name: peer[name] / ours[name] for name in ours}


def _committed(settings: Settings, events: int, commits: int) -> dict[str, dict[str, Any]]:
    with ExitStack() as stack:
        ways = {name: _opened(stack, settings, f"{name}_{events}", own) for name, own in WAYS.items()}
        for number, batch in enumerate(_batches(settings, events, commits)):
            turns = list(ways.values())
            for way in turns if number % 2 == 0 else reversed(turns):
                way.commit(batch)
    for way in ways.values():
        _check(settings, way.table, events * commits)
    return {name: _told(way.taken) for name, way in ways.items()}


def _opened(stack: ExitStack, settings: Settings, name: str, own_entries: bool) -> _Way:
    path, schema = settings.log_root / name, arrow_schema(EVENT)
    table = stack.enter_context(closing(StreamTable(path, schema, known_days=KNOWN_DAYS, own_entries=own_entries)))
    return _Way(table, stack.enter_context(closing(Upkeep())))


def _batches(settings: Settings, events: int, commits: int) -> Iterator[Arrivals]:
    """Batches of a tenth of a second each, read from four partitions."""
    for number in range(commits):
        first = number * events
        rows = queried(settings, _rows_sql(first, events, at=1_790_000_000 * SECOND + number * SECOND // 10))
        positions = np.arange(first, first + events)
        app_ids = {partition: f"bench-{partition}" for partition in range(PARTITIONS)}
        yield Arrivals(complete(rows, EVENT), positions % PARTITIONS, positions, app_ids)


def _rows_sql(first: int, count: int, *, at: int) -> str:
    def number(column: str, many: int) -> str:
        return f"CAST(floor({unit('i', column)} * {many}) AS BIGINT)"

    return (
        f"SELECT md5('event ' || i) AS event_id, make_timestamptz({at}) AS event_timestamp, "
        f"make_timestamptz({at}) AS ingested_at, {pseudonym_sql(number('user', SHOPPERS))} AS user_id, "
        f"'item ' || {number('item', ITEMS)} AS item_id, 'category ' || {number('category', CATEGORIES)} AS category, "
        f"md5('visit ' || i) AS session_id, 1 + {number('quantity', 5)} AS quantity, "
        f"round({unit('i', 'amount')} * 50, 2) AS amount FROM range({first}, {first + count}) t(i)"
    )


def _check(settings: Settings, table: StreamTable, expected: int) -> None:
    sql = read_snapshot(table.path).sql()
    [found] = queried(settings, f"SELECT count(*) AS n, count(DISTINCT {EVENT_ID}) AS ids FROM {sql}").to_pylist()
    if found != {"n": expected, "ids": expected}:
        raise CheckFailedError(f"Table '{table.path.name}' holds {found['n']} rows, {found['ids']} ids of {expected}.")


def _told(taken: list[Spent]) -> dict[str, Any]:
    def percentiles(seconds: list[float]) -> dict[str, float]:
        return {f"p{share}": 1_000 * percentile(seconds, share) for share in _SHARES}

    return {
        "wall_ms": percentiles([each.wall for each in taken]),
        "thread_ms": percentiles([each.cpu for each in taken]),
        f"share_over_{_LIMIT_MS}_ms": sum(1_000 * each.wall > _LIMIT_MS for each in taken) / len(taken),
    }


BENCH = Bench(
    name="commits",
    sizes={Size.SMALL: Scale(commits=300), Size.FULL: Scale(commits=2_000)},
    measure=measure,
    least=2.0,
)
