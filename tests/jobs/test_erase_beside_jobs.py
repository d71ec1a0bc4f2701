"""An erasure beside jobs that sleep on what they have read: they wake up, and bring nobody back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.core.clock import SECOND, FixedClock, SystemClock
from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import connect_redis
from feature_repo.engine.entity_keys import entity_keys
from feature_repo.engine.feature_store import open_store
from feature_repo.events.stream.channel import Message, partition_of
from feature_repo.events.stream.open import open_channel
from feature_repo.jobs.absence import Needles, scan
from feature_repo.jobs.erase import erase
from feature_repo.jobs.erase_redis import DEAD_AFTER_S
from feature_repo.jobs.materialize import materialize
from feature_repo.jobs.parity import parity
from own_shops import consume_all, end_leases, opened
from shop_checks import assert_same, rows_of, values_of
from shop_stream import pseudonym
from sleepers import Sleeper, build, consume

pytestmark = pytest.mark.slow(104)

USERS = [pseudonym(n) for n in range(22)]
PEOPLE, OTHERS = USERS[:14], USERS[14:]

# Where a consumer may be for as long as it likes: between its question who was erased, and what it then writes.
IN_A_CONSUMER = [
    ("feature_repo.events.stream_table:reading", 1),  # files of the log are listed, not read
    ("feature_repo.events.stream_table:append_entry", 1),  # the log; nothing is written yet
    ("feature_repo.events.stream_table:append_entry", 2),
    ("pathlib:Path.hardlink_to", 1),  # the log; its file lies there
    ("feature_repo.engine.merging:Merger.merge", 1),  # Redis; states not read yet
    ("feature_repo.engine.redis_writer:RedisWriter.merge", 1),  # Redis; states merged
    ("feature_repo.engine.redis_writer:RedisWriter.merge", 4),
    ("feature_repo.engine.redis_wire:Wire.send", 5),
    ("feature_repo.engine.positions:Positions.advance_shards", 2),
]
IN_A_BUILD = [
    ("feature_repo.engine.builder:events_of", 2),  # files of the log are listed, not read
    ("feature_repo.engine.positions:Positions.intend", 3),  # the log is read, nothing claimed
    ("feature_repo.engine.redis_writer:RedisWriter.build", 1),
    ("feature_repo.engine.redis_writer:RedisWriter.build", 6),
    ("feature_repo.engine.positions:Positions.switch", 1),
    ("feature_repo.engine.positions:Positions.switch", 5),
    ("feature_repo.engine.builder:StateBuilder.retire", 2),
]


@pytest.fixture
def shop(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("PORTRAIT_THREADS", "2")
    with opened(load_settings()) as settings:
        yield settings


def send(settings: Settings, tag: str, users: list[str]) -> None:
    """All of them look at the same things and buy them, and each at one of their own."""
    now = SystemClock().now_us()
    things = [(user, item) for user in users for item in ("i1", "i2", only_of(user))]
    with closing(open_channel(settings)) as channel:
        for kind in ("view", "purchase", "cart", "payment"):
            channel.send([message(settings, kind, f"{tag} {n}", now - n, *each) for n, each in enumerate(things)])


def message(settings: Settings, kind: str, name: str, at: int, user: str, item: str) -> Message:
    row = {"event_id": f"{kind} {name}", "event_timestamp": at, "ingested_at": at, "user_id": user, "category": "c"}
    row |= {} if kind == "payment" else {"item_id": item}
    return Message(kind, partition_of(user, settings.partitions), json.dumps(row).encode())


def only_of(user: str) -> str:
    return f"i-{USERS.index(user)}"


def erase_beside(settings: Settings, person: str) -> None:
    """Erase when all who sleep are taken for dead; at most a file that one of them has half written is found."""
    later = FixedClock(SystemClock().now_us() + (DEAD_AFTER_S + 1) * SECOND)
    for place in erase(settings, later, person).places:
        with pytest.raises(pa.ArrowInvalid):
            pq.read_table(settings.home / place)


def assert_gone(settings: Settings, person: str, when: str) -> None:
    """The person is nowhere but in what Redis appends (sent since), and neither is what only they have touched."""
    with closing(connect_redis(settings)) as client:
        found = scan(settings.home, client, Needles(person[2:]))
        assert [place for place in found.places if "redis/" not in place] == [], when
        [theirs] = entity_keys(open_store().project, ["item_id"], [pa.array([only_of(person)])])
        assert live_states(client, theirs) == [], when


def assert_others_as_built(settings: Settings) -> None:
    """Redis says what the log says, and the same when built anew."""
    at = SystemClock().now_us() + SECOND
    assert parity(settings, FixedClock(at), users=20).mismatches == 0
    before = values_of(settings, at)
    materialize(settings, FixedClock(at), full=True)
    assert_same(before, values_of(settings, at))


def live_states(client: Any, key: bytes) -> list[bytes]:
    """Fields of an entity whose states have tiles."""
    return [name for name, blob in client.hgetall(key).items() if int.from_bytes(blob[4:8], "little")]


def test_a_consumer_that_wakes_after_an_erasure_brings_nobody_back(shop: Settings) -> None:
    send(shop, "before", PEOPLE)
    consume_all(shop)
    for n, (place, nth) in enumerate(IN_A_CONSUMER):
        person = PEOPLE[n]
        send(shop, f"before {n}", [person, *OTHERS])
        consumer = Sleeper.fall_asleep(consume, place, nth)
        erase_beside(shop, person)
        send(shop, f"after {n}", [person, *OTHERS])
        end_leases(shop)
        assert consumer.wake() == 0, place
        assert_gone(shop, person, place)
    assert_others_as_built(shop)
    ids = [row["event_id"] for row in rows_of(shop, "purchase") if row["user_id"] in OTHERS]
    assert len(ids) == len(set(ids)) == 2 * len(IN_A_CONSUMER) * 3 * len(OTHERS)


def test_a_build_that_wakes_after_an_erasure_starts_over_and_a_dead_one_is_not_gone_on_with(shop: Settings) -> None:
    send(shop, "before", [*PEOPLE, *OTHERS])
    consume_all(shop)
    for n, (place, nth) in enumerate(IN_A_BUILD):
        builder = Sleeper.fall_asleep(build, place, nth)
        erase_beside(shop, PEOPLE[2 * n])
        assert builder.wake() == 0, place
        assert_gone(shop, PEOPLE[2 * n], place)
        Sleeper.fall_asleep(build, place, nth).kill()
        erase_beside(shop, PEOPLE[2 * n + 1])
        build()
        assert_gone(shop, PEOPLE[2 * n + 1], place)
    assert_others_as_built(shop)
