"""Streams of the tests in a broker of Kafka's protocol, and what it takes to read them to an end."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from feature_repo.core.clock import SystemClock
from feature_repo.core.settings import Settings
from feature_repo.events.stream.channel import Message
from feature_repo.events.stream.kafka_channel import KafkaReader
from tansu_process import Broker

# Joining a group takes the broker three seconds, taking over from a member that died six; both on busy machines.
PATIENCE_S = 60.0


def settings_of(broker: Broker, home: Path) -> Settings:
    return Settings(home=home, kafka_bootstrap=broker.address, partitions=3)


def delete_topic(settings: Settings) -> None:
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap, "log_level": 2})
    with contextlib.suppress(KafkaException):  # there was none
        admin.delete_topics([settings.kafka_topic])[settings.kafka_topic].result()


def messages(numbers: range, partitions: int = 3) -> list[Message]:
    return [Message("view" if n % 2 else "purchase", n % partitions, b'{"n": %d}' % n) for n in numbers]


def opened(settings: Settings, name: str = "one") -> KafkaReader:
    return KafkaReader(settings, SystemClock(), name=name)


def collect(reader: KafkaReader, enough: Callable[[dict[int, list[bytes]]], bool]) -> dict[int, list[bytes]]:
    """Bodies by partition until there are enough of them; the last answer is kept by partition too."""
    found: defaultdict[int, list[bytes]] = defaultdict(list)
    deadline = time.monotonic() + PATIENCE_S
    while not enough(found):
        assert time.monotonic() < deadline, f"read {dict(found)} so far"
        for entries in reader.read(1000, wait_s=0.2):
            found[entries.partition] += entries.bodies
    return dict(found)


def counted(number: int) -> Callable[[dict[int, list[bytes]]], bool]:
    return lambda found: sum(map(len, found.values())) >= number


def by_partition(sent: list[Message]) -> dict[int, list[bytes]]:
    found: defaultdict[int, list[bytes]] = defaultdict(list)
    for message in sent:
        found[message.partition].append(message.body)
    return dict(found)


def until(reached: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline
