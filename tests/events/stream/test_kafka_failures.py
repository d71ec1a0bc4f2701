"""What goes wrong between Portrait and Kafka: brokers and readers that go away, topics made anew, records of others."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Producer

from feature_repo.core.clock import SECOND, FixedClock
from feature_repo.core.errors import BufferFullError, DataError, SettingsError, StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.events.stream.channel import Message
from feature_repo.events.stream.kafka_channel import KafkaChannel, KafkaReader
from kafka_streams import (
    PATIENCE_S,
    by_partition,
    collect,
    counted,
    delete_topic,
    messages,
    opened,
    until,
)
from tansu_process import Broker, tansu_broker

pytestmark = pytest.mark.slow(65)

READS_AND_HANGS = """
import sys
from feature_repo.core.clock import SystemClock
from feature_repo.core.settings import load_settings
from feature_repo.events.stream.kafka_channel import KafkaReader

reader, found = KafkaReader(load_settings(), SystemClock(), name="doomed"), 0
while found < 30:
    found += sum(len(entries.bodies) for entries in reader.read(100, wait_s=0.2))
print("read", flush=True)
sys.stdin.read()
"""


def test_a_killed_reader_is_taken_over_from_and_nothing_is_lost(
    kafka: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = messages(range(30))
    KafkaChannel(kafka).send(sent)
    monkeypatch.setenv("PORTRAIT_KAFKA_BOOTSTRAP", kafka.kafka_bootstrap)
    monkeypatch.setenv("PORTRAIT_PARTITIONS", str(kafka.partitions))
    command = [sys.executable, "-c", READS_AND_HANGS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as doomed:
        assert doomed.stdout
        assert doomed.stdout.readline() == "read\n"
        doomed.kill()
    reader = opened(kafka, "heir")
    assert collect(reader, counted(30)) == by_partition(sent)
    reader.close()


def test_a_broker_that_goes_away_is_an_error_in_bounded_time(kafka_broker: Broker, kafka: Settings) -> None:
    channel = KafkaChannel(kafka, timeout_s=4.0)  # its first send takes up to a second
    channel.send(messages(range(3)))
    reader = opened(kafka)
    collect(reader, counted(3))
    kafka_broker.end()
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError, match=f"Kafka at {kafka.kafka_bootstrap}.* confirmed"):
        channel.send(messages(range(3)))
    with pytest.raises(StoreUnavailableError, match="brokers are down"):
        until(lambda: reader.read(10, wait_s=0.2))
    for ask in (reader.owned, reader.lag, lambda: reader.acknowledge({0: 1})):
        with pytest.raises(StoreUnavailableError, match="brokers are down"):
            ask()
    for make in (KafkaChannel, partial(KafkaReader, clock=FixedClock(0), name="x")):
        with pytest.raises(StoreUnavailableError, match="Hint: check that it runs"):
            make(kafka, timeout_s=1.0)
    reader.close()
    channel.close()
    assert time.monotonic() - started < PATIENCE_S


def test_a_broker_that_comes_back_empty_is_sent_to_again_and_read_from_the_start(
    tansu: Path, kafka_broker: Broker, kafka: Settings
) -> None:
    channel = KafkaChannel(kafka)
    channel.send(messages(range(3)))
    kafka_broker.end()
    with pytest.raises(StoreUnavailableError):
        channel.send(messages(range(3)))
    with tansu_broker(tansu, port=int(kafka_broker.address.split(":")[1])):
        channel.send(messages(range(3)))
        reader = opened(kafka)
        assert collect(reader, counted(3)) == by_partition(messages(range(3)))
        reader.close()


def test_positions_of_a_topic_made_anew_are_positions_of_something_else(kafka: Settings) -> None:
    KafkaChannel(kafka).send(messages(range(30)))
    old = opened(kafka)
    [first] = [each for each in _all(old, 30) if each.partition == 0][:1]
    old.acknowledge({0: 10, 1: 10, 2: 10})
    old.close()
    delete_topic(kafka)
    KafkaChannel(kafka).send(messages(range(6)))
    new = opened(kafka)
    found = _all(new, 6)
    assert {each.partition: each.positions.tolist() for each in found} == {0: [1, 2], 1: [1, 2], 2: [1, 2]}
    assert first.app_id not in {each.app_id for each in found}
    new.close()


def _all(reader: KafkaReader, number: int) -> list[Any]:
    found: list[Any] = []
    until(lambda: found.extend(reader.read(100, wait_s=0.2)) or sum(len(e.bodies) for e in found) >= number)
    return found


def test_a_topic_made_anew_under_a_reader_ends_the_reader(kafka: Settings) -> None:
    # Before the reader joins: the client library itself crashes when this broker forgets a topic it is fetching.
    clock = FixedClock(0)
    reader = KafkaReader(kafka, clock, name="one")
    delete_topic(kafka)
    with pytest.raises(StoreUnavailableError, match="has no topic"):
        _owned_a_second_later(reader, clock)
    KafkaChannel(kafka)
    with pytest.raises(StoreUnavailableError, match=r"made anew while it was read.*\n.*new reader"):
        _owned_a_second_later(reader, clock)
    reader.close()


def _owned_a_second_later(reader: KafkaReader, clock: FixedClock) -> None:
    clock.at_us += SECOND
    reader.owned()


def test_offsets_committed_of_another_incarnation_count_for_nothing(kafka: Settings) -> None:
    reader = opened(kafka)
    mine = reader._topic.incarnation
    kept = [SimpleNamespace(offset=7, metadata=text) for text in (mine, "another", None, "")]
    broker = SimpleNamespace(committed=lambda _asked, timeout: kept)
    assert reader._starts([0, 1, 2, 3], broker) == [7, 0, 7, 7]
    reader.close()


def test_records_of_other_writers_are_passed_on_as_they_are(kafka: Settings) -> None:
    KafkaChannel(kafka)
    producer = Producer({"bootstrap.servers": kafka.kafka_bootstrap})
    topic = kafka.kafka_topic
    producer.produce(topic, partition=0)
    producer.produce(topic, value=b"\xff\x00", partition=0, headers=[("trace", b"1"), ("type", b"\xff")])
    producer.produce(topic, value=b"{}", partition=0, headers=[("type", None)])
    producer.flush()
    reader = opened(kafka)
    found = _all(reader, 3)
    assert [body for each in found for body in each.bodies] == [b"", b"\xff\x00", b"{}"]
    assert [kind for each in found for kind in each.event_types] == ["", "\ufffd", ""]
    reader.close()


class Full:
    """A producer whose queue has room for some."""

    def __init__(self, inner: Producer, room: int) -> None:
        self._inner, self._room = inner, room

    def produce(self, *args: Any, **options: Any) -> None:
        if not self._room:
            raise BufferError
        self._room -= 1
        self._inner.produce(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_a_full_queue_says_how_many_were_taken(kafka: Settings) -> None:
    channel, sent = KafkaChannel(kafka, timeout_s=2.0), messages(range(30))
    channel.send(sent[:1])
    channel._producer = Full(channel._producer, 6)
    with pytest.raises(BufferFullError, match="full") as caught:
        channel.send(sent[1:])
    assert (caught.value.accepted, caught.value.retry_after_s) == (6, 1.0)
    reader = opened(kafka)
    assert collect(reader, counted(7)) == by_partition(sent[:7])
    reader.close()


def test_more_than_the_queue_holds_waits_for_room(kafka: Settings) -> None:
    KafkaChannel(kafka, queue=10, timeout_s=30.0).send(messages(range(300)))
    reader = opened(kafka)
    assert collect(reader, counted(300)) == by_partition(messages(range(300)))
    reader.close()


def test_an_event_larger_than_kafka_takes_is_the_senders_mistake(kafka: Settings) -> None:
    channel = KafkaChannel(kafka)
    with pytest.raises(DataError, match="An event of 2,000,000 bytes is larger"):
        channel.send([*messages(range(3)), Message("view", 0, b"x" * 2_000_000)])
    channel.send(messages(range(3, 6)))
    reader = opened(kafka)
    assert collect(reader, counted(6)) == by_partition(messages(range(6)))
    reader.close()


def test_without_the_library_the_error_names_the_extra(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(SettingsError, match=r"pip install 'user-portrait\[kafka\]'"):
        KafkaChannel(Settings(home=home, kafka_bootstrap="127.0.0.1:1"))


def test_without_a_server_the_error_names_the_setting(home: Path) -> None:
    with pytest.raises(SettingsError, match="PORTRAIT_KAFKA_BOOTSTRAP=host"):
        KafkaChannel(Settings(home=home))


def test_a_topic_with_another_number_of_partitions_is_refused(kafka: Settings) -> None:
    KafkaChannel(kafka)
    with pytest.raises(SettingsError, match=r"PORTRAIT_PARTITIONS is 4, and .* has 3 partitions"):
        KafkaReader(kafka.model_copy(update={"partitions": 4}), FixedClock(0), name="one")
