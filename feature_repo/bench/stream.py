"""`portrait bench stream`: events through the stream into the log and three windowed views, beside Feast's push.

A few shoppers and items of a click stream have much and most have little, as by Zipf's law: then an event of a full
batch changes about 0.8 states in the three views. The same is measured with shoppers who are seldom twice in a batch,
of whom an event changes about two: what a consumer does at worst.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from feast import FeatureStore, FeatureView, Field, FileSource, PushSource, StreamFeatureView
from feast.data_source import PushMode
from feast.types import Float64, Int64

from feature_repo.bench.bench import Bench, Findings, Size
from feature_repo.bench.ground import Ground
from feature_repo.bench.measure import in_turns, rates, spent, times_faster
from feature_repo.bench.shoppers import EVENT, twenty_features, write_purchases
from feature_repo.bench.stock import CLASSES, our_store, quiet, stock_store
from feature_repo.bench.synthetic import Span, pseudonym_sql, queried, ranked_sql, unit
from feature_repo.core.clock import HOUR, SystemClock
from feature_repo.core.errors import CheckFailedError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.definitions.entities import category, item, user
from feature_repo.definitions.purchases import LINE, item_purchases, user_category_purchases
from feature_repo.definitions.sources import purchases
from feature_repo.definitions.windows import hour, windowed_view
from feature_repo.events.log import read_snapshot
from feature_repo.events.schema import table_path
from feature_repo.events.stream.channel import Message, partition_of
from feature_repo.events.stream.open import open_channel
from feature_repo.jobs.consume import Consumer
from feature_repo.jobs.consuming.meter import Reading
from feature_repo.jobs.materialize import materialize

PUSHED = "pushed"
COUNTED = "user_lines:count_84d"
ROWS_PER_PUSH = 10_000
HISTORY_DAYS = 80
ITEMS = 50_000
CHECKED = 200
# A sender sends so often, whatever the rate.
TICK_S = 0.01
# Half of the 50,000 events a second that are asked of a consumer.
ASKED_HALF = 25_000


@dataclass(frozen=True)
class Scale:
    """Shoppers with so many order lines before; events of a round, ours and the peer's; seconds at half the rate."""

    users: int
    lines: int
    events: int
    pushed: int
    seconds: int
    rounds: int = 3


def measure(ground: Ground, scale: Scale) -> Findings:
    """Consume what waits in the stream and push rows to stock Feast, in turn; then follow at half the rate.

    And at half the rate that is asked of a consumer, where its own is higher.
    """
    ground.step("shoppers with a history", 0.0)
    views = [_user_lines(), user_category_purchases, item_purchases]
    span = Span(ground.clock.now_us(), HISTORY_DAYS)
    table = table_path(ground.settings.log_root, EVENT)
    write_purchases(ground.settings, table, users=scale.users, events=scale.lines, span=span)
    with quiet():
        our_store().apply([user, category, item, *views])
    materialize(ground.settings, ground.clock)
    peer = _stock(ground.settings)
    sent = iter(range(0, 10**12, 10**8))
    taken = in_turns(
        lambda: spent(lambda: _consumed(ground.settings)),
        lambda: spent(lambda: _pushed(peer, ground.settings, scale)),
        rounds=scale.rounds,
        told=lambda share: ground.step("ours and stock in turn", share * 0.6),
        before=lambda: _fill(ground.settings, scale, RANKED, first=next(sent)),
    )
    mine, stock = rates(scale.events, taken[0]), rates(scale.pushed, taken[1])
    ground.step("half the rate", 0.6)
    half = int(mine["rows_per_s"] / 2)
    fresh = _followed(ground.settings, scale, half, first=next(sent))
    asked = min(ASKED_HALF, half)
    fresh_as_asked = _followed(ground.settings, scale, asked, first=next(sent))
    ground.step("shoppers seldom twice in a batch", 0.8)
    worst = []
    for _ in range(scale.rounds):
        _fill(ground.settings, scale, SPREAD, first=next(sent))
        worst.append(spent(lambda: _consumed(ground.settings)))
    _check(ground.settings, scale, followed=(half + asked) * scale.seconds)
    ours = {
        "events_per_s": mine.pop("rows_per_s"),
        **mine,
        "freshness_ms": fresh.freshness_ms,
        "freshness_at": half,
        "freshness_asked_ms": fresh_as_asked.freshness_ms,
        "freshness_asked_at": asked,
        "events_per_s_spread": rates(scale.events, worst)["rows_per_s"],
    }
    theirs = {"events_per_s": stock.pop("rows_per_s"), **stock}
    ratio = times_faster(*taken) * scale.events / scale.pushed
    setup = {"peer": f"{CLASSES}; store.push of the rows, no aggregation", "views": [view.name for view in views]}
    return Findings(ours, theirs, ratio, "events/s", setup)


def _user_lines() -> StreamFeatureView:
    return windowed_view(
        name="user_lines",
        entities=[user],
        source=purchases,
        hop=hour,
        events=LINE,
        features=twenty_features(),
        description="What a synthetic shopper buys.",
        zh="模拟顾客的购买",
        owner="bench",
    )


def _stock(settings: Settings) -> FeatureStore:
    """Three views of the last row, fed by one push source."""
    path = settings.home / "pushed.parquet"
    rows = FileSource(name="pushed_rows", path=str(path), timestamp_field="event_timestamp")
    source = PushSource(name=PUSHED, batch_source=rows)
    schema = [Field(name="amount", dtype=Float64), Field(name="quantity", dtype=Int64)]
    entities = {"user": [user], "user_category": [user, category], "item": [item]}
    views = [
        FeatureView(name=f"last_{name}", entities=of, source=source, schema=schema) for name, of in entities.items()
    ]
    store = stock_store(settings)
    queried(settings, f"COPY ({_rows_sql(0, 1, 1, 0)}) TO '{path}' (FORMAT parquet)")
    with quiet():
        store.apply([user, category, item, source, *views])
    return store


@dataclass(frozen=True)
class Traffic:
    """SQL of the ranks of an event's shopper and item, given how many there are."""

    shopper: Callable[[int], str]
    item: Callable[[int], str]


RANKED = Traffic(
    lambda size: ranked_sql(unit("i", "user"), 1.3, size), lambda size: ranked_sql(unit("i", "item"), 1.2, size)
)
SPREAD = Traffic(
    lambda size: f"CAST(floor(pow({unit('i', 'user')}, 3) * {size}) AS BIGINT)",
    lambda size: f"CAST(floor(pow({unit('i', 'item')}, 3) * {size}) AS BIGINT)",
)


def _rows_sql(first: int, count: int, users: int, now: int, traffic: Traffic = RANKED) -> str:
    """Events numbered from ``first``, of the last six hours."""
    return (
        f"SELECT 'e' || i AS event_id, make_timestamptz({now} - CAST({unit('i', 'ago')} * {6 * HOUR} AS BIGINT)) "
        f"AS event_timestamp, make_timestamptz({now}) AS ingested_at, "
        f"{pseudonym_sql(traffic.shopper(users))} AS user_id, 'item ' || {traffic.item(ITEMS)} AS item_id, "
        f"'category ' || CAST(floor({unit('i', 'category')} * 40) AS INTEGER) AS category, "
        f"1 + CAST(floor({unit('i', 'quantity')} * 5) AS BIGINT) AS quantity, "
        f"round({unit('i', 'amount')} * 50, 2) AS amount FROM range({first}, {first + count}) t(i)"
    )


def _messages(
    settings: Settings, first: int, count: int, users: int, partitions: int, traffic: Traffic = RANKED
) -> list[Message]:
    rows = queried(
        settings,
        f"SELECT user_id, to_json(struct_pack(*COLUMNS(*)))::VARCHAR AS body FROM (SELECT * REPLACE "
        f"(epoch_us(event_timestamp) AS event_timestamp, epoch_us(ingested_at) AS ingested_at) "
        f"FROM ({_rows_sql(first, count, users, SystemClock().now_us(), traffic)}))",
    )
    pairs = zip(rows["user_id"].to_pylist(), rows["body"].to_pylist(), strict=True)
    return [Message(EVENT, partition_of(name, partitions), body.encode()) for name, body in pairs]


def _fill(settings: Settings, scale: Scale, traffic: Traffic, *, first: int) -> None:
    with closing(open_channel(settings)) as channel:
        channel.send(_messages(settings, first, scale.events, scale.users, channel.partitions, traffic))


def _consumed(settings: Settings) -> Reading:
    with quiet():
        return Consumer(settings, SystemClock(), until_empty=True).run()


def _pushed(store: FeatureStore, settings: Settings, scale: Scale) -> None:
    now = SystemClock().now_us()
    for first in range(0, scale.pushed, ROWS_PER_PUSH):
        count = min(ROWS_PER_PUSH, scale.pushed - first)
        with quiet():
            store.push(
                PUSHED, queried(settings, _rows_sql(first, count, scale.users, now)).to_pandas(), to=PushMode.ONLINE
            )


def _followed(settings: Settings, scale: Scale, rate: int, *, first: int) -> Reading:
    """Consume while another process sends at a rate."""
    consumer = Consumer(settings, SystemClock())
    sender = get_context("spawn").Process(target=_send, args=(rate, scale.seconds, scale.users, first), daemon=True)
    with quiet():
        sender.start()
        consumer.progress = _stopping(consumer, sender)
        return consumer.run()


def _stopping(consumer: Consumer, sender: Any) -> Callable[[Reading], None]:
    def look(reading: Reading) -> None:
        if not sender.is_alive() and reading.lag == 0:
            consumer.stop.set()

    return look


def _send(rate: int, seconds: int, users: int, first: int) -> None:
    """Send for some seconds, a hundred times a second; what was made before is sent with the present time."""
    settings = load_settings()
    with closing(open_channel(settings)) as channel:
        waiting = _messages(settings, first, rate * seconds, users, channel.partitions)
        began = time.monotonic()
        sent = 0
        while sent < len(waiting):
            due = min(len(waiting), int((time.monotonic() - began) * rate))
            channel.send(waiting[sent:due])
            sent = due
            time.sleep(TICK_S)


def _check(settings: Settings, scale: Scale, *, followed: int) -> None:
    """Every event has to be in the log once, and the counts that are read have to be the log's.

    Raises
    ------
    CheckFailedError
        They are not.
    """
    snapshot = read_snapshot(table_path(settings.log_root, EVENT))
    counted = queried(settings, f"SELECT user_id, count(*) AS n FROM {snapshot.sql()} GROUP BY user_id ORDER BY n DESC")
    expected = scale.users * scale.lines + 2 * scale.rounds * scale.events + followed
    found = sum(counted["n"].to_pylist())
    if found != expected:
        raise CheckFailedError(f"The log holds {found} of {expected} events.")
    some = counted.slice(0, CHECKED)
    with quiet():
        read = our_store().get_online_features([COUNTED], [{"user_id": name} for name in some["user_id"].to_pylist()])
    differing = sum(a != b for a, b in zip(read.to_dict()["count_84d"], some["n"].to_pylist(), strict=True))
    if differing:
        raise CheckFailedError(f"{differing} of {CHECKED} shoppers are read with other counts than the log has.")


BENCH = Bench(
    name="stream",
    sizes={
        Size.SMALL: Scale(users=2_000, lines=30, events=60_000, pushed=10_000, seconds=5, rounds=2),
        Size.FULL: Scale(users=20_000, lines=30, events=400_000, pushed=40_000, seconds=20),
    },
    measure=measure,
    least=3.0,
)
