"""Whatever dies, and whenever: every event is in the log once, and Redis says what the log says."""

from __future__ import annotations

import itertools
import os
import random
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_repo.core.clock import SystemClock
from feature_repo.core.settings import Settings, load_settings
from feature_repo.jobs import services
from mortal_consumers import ACKNOWLEDGED, TAKING, MortalConsumer
from own_shops import Sender, consume_all, end_leases, kill_redis, opened
from shop_checks import assert_holds
from shop_stream import Traffic
from tansu_process import tansu

DEATHS = 50
PATIENCE_S = 90.0


@pytest.fixture
def seed() -> int:
    """Printed, and so shown of a test that fails; PORTRAIT_TEST_SEED brings it back."""
    found = int(os.environ.get("PORTRAIT_TEST_SEED") or secrets.randbelow(10**6))
    print(f"PORTRAIT_TEST_SEED={found}")  # noqa: T201
    return found


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
    # Most die in their first batches, some later.
    consumer.process.join(chance.choice([0.05, 0.3, 1.0]) * chance.random())
    return consumer.kill() == TAKING


def test_fifty_consumers_of_redis_die_and_nothing_is_lost_or_doubled(shop: Settings, seed: int) -> None:
    traffic, chance, deaths = Traffic(seed, shop.partitions), random.Random(seed), 0
    with Sender(shop, traffic).sending():
        for number in itertools.count():
            deaths += killed_in_the_middle(chance, f"mortal-{number}")
            end_leases(shop)
            if deaths == DEATHS:
                break
    reading = consume_all(shop)
    print(f"{number + 1} consumers, {deaths} died in a batch, {traffic.count:,} events, {reading.replayed} replayed")  # noqa: T201
    assert_holds(shop, traffic)
