"""The same through Kafka: whatever dies, every event is in the log once, and Redis says what the log says."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_repo.core.settings import Settings, load_settings
from mortal_consumers import TAKING, MortalConsumer
from own_shops import Sender, consume_all, opened
from shop_checks import assert_holds
from shop_stream import Traffic
from tansu_process import Broker

pytestmark = pytest.mark.slow(130)

DEATHS = 50
FLEET = 8
PATIENCE_S = 90.0


@pytest.fixture
def kafka_shop(home: Path, kafka_broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A shop whose events go through Kafka."""
    monkeypatch.setenv("PORTRAIT_THREADS", "2")
    monkeypatch.setenv("PORTRAIT_PARTITIONS", str(FLEET))
    monkeypatch.setenv("PORTRAIT_KAFKA_BOOTSTRAP", kafka_broker.address)
    with opened(load_settings()) as settings:
        yield settings


def test_fleets_of_consumers_of_kafka_die_and_nothing_is_lost_or_doubled(kafka_shop: Settings, seed: int) -> None:
    # To be given partitions takes a member three seconds, and those of a dead one six: they live and die together.
    traffic, chance, deaths = Traffic(seed, kafka_shop.partitions), random.Random(seed), 0
    with Sender(kafka_shop, traffic, size=60).sending():
        for number in itertools.count():
            fleet = [MortalConsumer.start(f"mortal-{number}-{n}") for n in range(FLEET)]
            assert all(consumer.hears(TAKING, PATIENCE_S) for consumer in fleet)
            chance.shuffle(fleet)
            for consumer in fleet:
                consumer.process.join(0.3 * chance.random())
                assert consumer.process.is_alive(), "a consumer ended by itself"
                deaths += consumer.kill() == TAKING
            if deaths >= DEATHS:
                break
    reading = consume_all(kafka_shop)
    print(f"{number + 1} fleets, {deaths} died in a batch, {traffic.count:,} events, {reading.replayed} replayed")  # noqa: T201
    assert_holds(kafka_shop, traffic)
