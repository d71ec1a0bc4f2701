"""Events through Kafka's protocol, against a real broker."""

from __future__ import annotations

import time
from collections import defaultdict

import numpy as np
import pytest

from feature_repo.core.clock import SECOND
from feature_repo.core.settings import Settings
from feature_repo.events.stream.channel import Message
from feature_repo.events.stream.kafka_channel import KafkaChannel
from kafka_streams import PATIENCE_S, by_partition, collect, counted, messages, opened, until

pytestmark = pytest.mark.slow(42)


def test_what_is_sent_is_read_in_order_and_once(kafka: Settings) -> None:
    channel, sent = KafkaChannel(kafka), messages(range(300))
    before = time.time_ns() // 1000
    assert channel.partitions == 3
    channel.send(sent)
    reader = opened(kafka)
    entries = []
    until(lambda: entries.extend(reader.read(1000, wait_s=0.2)) or sum(len(e.bodies) for e in entries) >= 300)
    assert reader.owned() == {0, 1, 2}
    for partition, expected in by_partition(sent).items():
        mine = [each for each in entries if each.partition == partition]
        assert [body for each in mine for body in each.bodies] == expected
        positions = np.concatenate([each.positions for each in mine])
        assert positions.tolist() == list(range(1, 101))
        assert {each.app_id for each in mine} == {mine[0].app_id}
        arrived = np.concatenate([each.arrived for each in mine])
        assert ((arrived > before - SECOND) & (arrived < time.time_ns() // 1000 + SECOND)).all()
        assert [kind for each in mine for kind in each.event_types] == [
            message.event_type for message in sent if message.partition == partition
        ]
    assert len({each.app_id for each in entries}) == 3
    reader.close()


def test_a_new_reader_goes_on_behind_what_was_acknowledged(kafka: Settings) -> None:
    channel, sent = KafkaChannel(kafka), messages(range(30))
    channel.send(sent)
    first = opened(kafka)
    collect(first, counted(30))
    assert first.lag() == 30
    first.acknowledge({0: 4, 1: 10})
    assert first.lag() == 16
    first.acknowledge({0: 2})  # one that comes late takes nothing back
    assert first.lag() == 16
    first.close()
    second = opened(kafka, "two")
    again = collect(second, counted(16))
    expected = by_partition(sent)
    assert again == {0: expected[0][4:], 2: expected[2]}
    second.acknowledge({0: 10, 2: 10})
    assert second.lag() == 0
    channel.send(messages(range(30, 33)))
    assert collect(second, counted(3)) == by_partition(messages(range(30, 33)))
    second.close()


def test_a_reader_returns_no_more_than_asked_and_loses_nothing(kafka: Settings) -> None:
    KafkaChannel(kafka).send(messages(range(30)))
    reader, sizes = opened(kafka), []
    found: defaultdict[int, list[bytes]] = defaultdict(list)
    deadline = time.monotonic() + PATIENCE_S
    while sum(sizes) < 30:
        assert time.monotonic() < deadline
        entries = reader.read(7, wait_s=0.2)
        reader.owned()  # may take an entry from the broker; the next read returns it
        sizes.append(sum(len(each.bodies) for each in entries))
        for each in entries:
            found[each.partition] += each.bodies
    assert max(sizes) <= 7
    assert found == by_partition(messages(range(30)))
    reader.close()


def test_two_readers_share_and_one_takes_over_what_the_other_left_unacknowledged(kafka: Settings) -> None:
    KafkaChannel(kafka).send(messages(range(30)))
    first = opened(kafka)
    collect(first, counted(30))
    first.acknowledge({0: 10, 1: 10, 2: 10})
    second = opened(kafka, "two")
    until(lambda: first.read(10, wait_s=0.05) or second.read(10, wait_s=0.05) or (first.owned() and second.owned()))
    assert first.owned() | second.owned() == {0, 1, 2}
    assert not first.owned() & second.owned()
    later = messages(range(30, 60))
    KafkaChannel(kafka).send(later)
    expected = by_partition(later)
    mine = collect(second, counted(10 * len(second.owned())))
    assert mine == {partition: expected[partition] for partition in second.owned()}
    lost = second.owned()
    second.close()
    until(lambda: first.read(0, wait_s=0) or first.owned() == {0, 1, 2})
    again = collect(first, lambda found: lost <= {p for p, bodies in found.items() if len(bodies) == 10})
    assert {partition: again[partition] for partition in lost} == mine
    first.close()


def test_what_waits_is_told_while_a_reader_still_joins(kafka: Settings) -> None:
    KafkaChannel(kafka).send(messages(range(30)))
    reader = opened(kafka)
    assert reader.read(100, wait_s=0.5) == []  # the broker thinks for three seconds, and answers nothing meanwhile
    assert reader.owned() == frozenset()
    began = time.monotonic()
    assert reader.lag() > 0
    assert time.monotonic() - began < 2
    reader.close()


def test_a_reader_is_drained_when_a_fetch_has_found_the_end_and_all_is_acknowledged(kafka: Settings) -> None:
    KafkaChannel(kafka).send([Message("view", 0, b"{}")] * 10)  # as one batch, of which the broker tells the beginning
    first = opened(kafka)
    assert not first.drained()
    collect(first, counted(10))
    until(lambda: not first.read(10, wait_s=0.05) and first.drained() is False and set(first._ended) == {0, 1, 2})
    first.acknowledge({0: 1})
    first.close()
    second = opened(kafka, "two")
    until(second.owned)
    assert not second.drained()  # nothing was fetched yet
    collect(second, counted(9))
    assert not second.drained()
    second.acknowledge({0: 10})
    until(lambda: not second.read(10, wait_s=0.05) and second.drained())
    KafkaChannel(kafka).send([Message("view", 1, b"{}")])
    collect(second, counted(1))
    assert not second.drained()
    second.acknowledge({1: 1})
    until(lambda: not second.read(10, wait_s=0.05) and second.drained())
    second.close()


def test_a_reader_is_not_drained_while_something_waits_for_another_that_may_be_dead(kafka: Settings) -> None:
    channel, first, second = KafkaChannel(kafka), opened(kafka), opened(kafka, "two")
    until(lambda: first.read(10, wait_s=0.05) or second.read(10, wait_s=0.05) or (first.owned() and second.owned()))
    theirs = min(second.owned())
    channel.send([Message("view", theirs, b"{}")] * 10)  # one batch, of which the broker tells the beginning
    until(lambda: not first.read(10, wait_s=0.05) and set(first._ended) == first.owned())
    assert not first.drained()
    collect(second, counted(10))
    second.acknowledge({theirs: 9})
    assert not first.drained()
    second.acknowledge({theirs: 10})
    assert first.drained()
    first.close()
    second.close()
