"""Whatever dies, and whenever: every event is in the log once, and Redis says what the log says."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from feature_repo.core.clock import SystemClock
from feature_repo.core.leases import TTL_MS
from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import connect_redis
from feature_repo.events.stream.open import open_channel
from feature_repo.jobs import services
from mortal_consumers import ACKNOWLEDGED, TAKING, MortalConsumer
from own_shops import Importer, Sender, consume_all, end_leases, kill_redis, opened
from shop_checks import assert_holds
from shop_stream import Traffic

pytestmark = pytest.mark.slow(135)

DEATHS = 50
RESTARTS = 5
SLACK_S = 15.0  # of a busy machine
PATIENCE_S = 90.0


@pytest.fixture
def shop(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A shop whose events go through Redis."""
    monkeypatch.setenv("PORTRAIT_THREADS", "2")
    with opened(load_settings()) as settings:
        yield settings


def killed_in_the_middle(chance: random.Random, name: str) -> bool:
    """Start a consumer, kill it; whether it had a batch that it had not acknowledged."""
    consumer = MortalConsumer.start(name)
    assert consumer.hears(TAKING, PATIENCE_S)
    if chance.random() < 0.5:
        assert consumer.hears(ACKNOWLEDGED, PATIENCE_S)
    consumer.process.join(chance.random() / 2)
    assert consumer.process.is_alive(), "the consumer ended by itself"
    return consumer.kill() == TAKING


def test_fifty_consumers_of_redis_die_and_nothing_is_lost_or_doubled(shop: Settings, seed: int) -> None:
    traffic, chance, deaths = Traffic(seed, shop.partitions), random.Random(seed), 0
    with Sender(shop, traffic, size=40).sending():
        for number in itertools.count():
            deaths += killed_in_the_middle(chance, f"mortal-{number}")
            end_leases(shop)
            if deaths == DEATHS:
                break
    reading = consume_all(shop)
    print(f"{number + 1} consumers, {deaths} died in a batch, {traffic.count:,} events, {reading.replayed} replayed")  # noqa: T201
    assert_holds(shop, traffic)


def test_redis_dies_again_and_again_and_nothing_acknowledged_is_lost(shop: Settings, seed: int) -> None:
    traffic, chance = Traffic(seed, shop.partitions), random.Random(seed)
    with Sender(shop, traffic).sending() as sender:
        consumer = MortalConsumer.start("lasting")
        for _ in range(RESTARTS):
            assert consumer.hears(ACKNOWLEDGED, PATIENCE_S)
            consumer.process.join(0.5 * chance.random())
            kill_redis(shop)
            services.up(shop, SystemClock())
        assert consumer.hears(ACKNOWLEDGED, PATIENCE_S), "it did not recover"
    consumer.kill()
    end_leases(shop)
    consume_all(shop)
    print(f"{RESTARTS} restarts, {traffic.count:,} events, {sender.again} batches sent again")  # noqa: T201
    assert_holds(shop, traffic, quarantined_again=True)


def test_two_share_a_stream_with_imports_and_who_dies_or_sleeps_is_replaced(shop: Settings, seed: int) -> None:
    traffic, chance = Traffic(seed, shop.partitions), random.Random(seed)
    with Sender(shop, traffic).sending() as sender, Importer(shop, sender).importing() as importer:
        one, other = MortalConsumer.start("one"), MortalConsumer.start("other")
        await_shares(shop, 2)
        assert one.hears(ACKNOWLEDGED, PATIENCE_S)
        assert other.hears(ACKNOWLEDGED, PATIENCE_S)
        one.process.join(chance.random())
        one.kill()
        began = time.monotonic()
        await_shares(shop, 1)
        assert time.monotonic() - began < 2 * TTL_MS / 1000 + SLACK_S
        # Who sleeps for longer than its leases live wakes up in the middle of a batch that others have done.
        os.kill(other.process.pid or 0, signal.SIGSTOP)
        third = MortalConsumer.start("third")
        await_shares(shop, 1)
        assert third.hears(ACKNOWLEDGED, PATIENCE_S)
        os.kill(other.process.pid or 0, signal.SIGCONT)
        assert other.hears(ACKNOWLEDGED, PATIENCE_S)
        assert third.hears(ACKNOWLEDGED, PATIENCE_S)
    others_died = [each.kill() for each in (other, third)]
    assert all(others_died), "a consumer ended by itself"
    end_leases(shop)
    consume_all(shop)
    print(f"{importer.imports} imports, {traffic.count:,} events")  # noqa: T201
    assert_holds(shop, traffic)


def test_a_fold_longer_than_a_lease_keeps_its_partitions_and_who_is_stopped_loses_them(
    shop: Settings, seed: int
) -> None:
    traffic = Traffic(seed, shop.partitions)
    slow = MortalConsumer.start("slow", slow_s=1.6 * TTL_MS / 1000)
    await_shares(shop, 1)
    with closing(open_channel(shop)) as channel:
        channel.send(traffic.batch(400, SystemClock().now_us()))
        assert slow.hears(TAKING, PATIENCE_S)
        [holder] = holders(shop)
        while slow.at == TAKING:
            assert holders(shop) == {holder}
        channel.send(traffic.rest())
    assert slow.hears(TAKING, PATIENCE_S)
    os.kill(slow.process.pid or 0, signal.SIGSTOP)
    other = MortalConsumer.start("other")
    while holder in holders(shop):
        assert other.process.is_alive()
    assert other.hears(ACKNOWLEDGED, PATIENCE_S)
    os.kill(slow.process.pid or 0, signal.SIGCONT)
    assert slow.hears(ACKNOWLEDGED, PATIENCE_S)
    assert all(each.kill() for each in (slow, other)), "a consumer ended by itself"
    end_leases(shop)
    consume_all(shop)
    assert_holds(shop, traffic)


def holders(settings: Settings) -> set[bytes | None]:
    """Who holds the leases; None if some are free."""
    with connect_redis(settings) as client:
        found: Any = client.mget([f"portrait:lease:{partition}" for partition in range(settings.partitions)])
        return set(found)


def await_shares(settings: Settings, readers: int) -> None:
    """Wait until so many readers hold all the leases."""
    deadline = time.monotonic() + PATIENCE_S
    with connect_redis(settings) as client:
        keys = [f"portrait:lease:{partition}" for partition in range(settings.partitions)]
        while True:
            held = client.mget(keys)
            if None not in held and len(set(held)) == readers:
                return
            assert time.monotonic() < deadline, held
