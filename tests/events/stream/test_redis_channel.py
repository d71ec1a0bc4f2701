"""What was sent and not acknowledged is read by somebody, whoever lives; what is over the bound is refused aloud."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import redis as redis_py

from feature_repo.core.clock import SystemClock
from feature_repo.core.errors import BufferFullError, DataError, SettingsError, StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.events.stream.channel import Channel, Entries, Message, Reader
from feature_repo.events.stream.open import open_channel
from feature_repo.events.stream.redis_channel import ACKNOWLEDGED, FACTS, RedisReader
from feature_repo.jobs import services
from feature_repo.jobs.consuming.keeping import keeping

ALL = frozenset(range(4))
SOON_MS = 50  # how long a reader that died is believed to live, where a test waits for it


@pytest.fixture
def channel(settings: Settings) -> Iterator[Channel]:
    found = open_channel(settings)
    yield found
    found.close()


@pytest.fixture
def readers(settings: Settings) -> Iterator[Readers]:
    found = Readers(settings)
    yield found
    found.close()


class Readers:
    """Readers of one stream, closed at the end of the test."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: list[RedisReader] = []

    def join(self, name: str, *, ttl_ms: int = 60_000) -> RedisReader:
        self._made.append(RedisReader(self._settings, name=name, ttl_ms=ttl_ms))
        return self._made[-1]

    def close(self) -> None:
        for reader in self._made:
            reader.close()


def messages(bodies: Iterable[str], partition: int = 0) -> list[Message]:
    return [Message("view", partition, each.encode()) for each in bodies]


def read_all(reader: Reader) -> list[str]:
    found: list[str] = []
    while got := reader.read(100, wait_s=0):
        found += [body.decode() for each in got for body in each.bodies]
    return found


def acknowledge(reader: Reader, got: list[Entries]) -> None:
    reader.acknowledge({each.partition: int(each.positions[-1]) for each in got})


def test_what_is_sent_is_read_in_order_with_its_type_place_and_arrival(
    channel: Channel, readers: Readers, redis: redis_py.Redis
) -> None:
    channel.send([*messages("ab"), Message("购买", 3, "茶".encode()), *messages("c")])
    reader = readers.join("one")
    assert reader.owned() == ALL
    first, second = reader.read(100, wait_s=0)
    assert (first.partition, first.bodies, first.event_types) == (0, [b"a", b"b", b"c"], ["view"] * 3)
    assert (second.partition, second.bodies, second.event_types) == (3, ["茶".encode()], ["购买"])
    assert (np.diff(first.positions) > 0).all()
    assert first.app_id != second.app_id
    now_s, now_us = redis.time()
    assert 0 <= now_s * 1_000_000 + now_us - int(first.arrived[0]) < 60_000_000


def test_the_bound_refuses_what_is_over_it_and_says_how_many_were_taken(settings: Settings, readers: Readers) -> None:
    channel = open_channel(settings.model_copy(update={"stream_limit": 12}))
    with pytest.raises(BufferFullError) as caught:
        channel.send([*messages("abc"), *messages("x", 1), *messages("de"), *messages("y", 2)])
    assert (caught.value.accepted, caught.value.retry_after_s > 0) == (4, True)
    reader = readers.join("one")
    reader.owned()
    got = reader.read(100, wait_s=0)
    assert [each.bodies for each in got] == [[b"a", b"b", b"c"], [b"x"]]
    acknowledge(reader, got)
    channel.send([*messages("de"), *messages("y", 2)])
    assert sorted(read_all(reader)) == ["d", "e", "y"]
    channel.close()


def test_the_bound_counts_over_the_pieces_a_long_list_is_sent_in(settings: Settings) -> None:
    channel = open_channel(settings.model_copy(update={"stream_limit": 10_000}))
    with pytest.raises(BufferFullError) as caught:
        channel.send(messages(map(str, range(3_000))))
    assert caught.value.accepted == 2_500
    channel.close()


def test_large_messages_are_sent_one_by_one(channel: Channel, readers: Readers) -> None:
    large = ["x" * (1 << 20), "y" * (3 << 20), "z"]
    channel.send(messages(large))
    reader = readers.join("one")
    reader.owned()
    assert read_all(reader) == large


def test_what_was_not_acknowledged_comes_again_to_the_next_owner(channel: Channel, readers: Readers) -> None:
    channel.send(messages("abcde"))
    first = readers.join("first")
    first.owned()
    [got] = first.read(100, wait_s=0)
    first.acknowledge({0: int(got.positions[1])})
    assert first.read(100, wait_s=0) == []
    first.close()
    second = readers.join("second")
    assert second.owned() == ALL  # at once: the first gave them up
    assert second.lag() == 3
    assert read_all(second) == ["c", "d", "e"]


def test_a_reader_is_not_drained_while_something_waits_for_another_that_may_be_dead(
    channel: Channel, readers: Readers
) -> None:
    first, second = readers.join("first"), readers.join("second")
    assert first.owned() == ALL
    assert first.drained()
    assert not second.drained()  # it owns nothing, and knows nothing
    second.owned()
    mine, theirs = first.owned(), second.owned()
    assert mine
    channel.send(messages("ab", min(theirs)))
    assert first.lag() == 0
    assert not first.drained()
    acknowledge(second, second.read(100, wait_s=0))
    assert first.drained()


def test_two_readers_share_and_hand_over(channel: Channel, readers: Readers) -> None:
    first, second = readers.join("first"), readers.join("second")
    assert first.owned() == ALL
    assert second.owned() == frozenset()
    shares = [first.owned(), second.owned()]
    assert sorted(map(len, shares)) == [2, 2]
    assert shares[0] | shares[1] == ALL
    third = readers.join("third")
    for _ in range(2):
        shares = [first.owned(), second.owned(), third.owned()]
    assert sorted(map(len, shares)) == [1, 1, 2]
    assert frozenset().union(*shares) == ALL
    first.close()
    second.close()
    assert third.owned() == ALL


def test_more_readers_than_partitions_leave_some_without(readers: Readers) -> None:
    crowd = [readers.join(str(n)) for n in range(6)]
    for _ in range(3):
        shares = [reader.owned() for reader in crowd]
    assert sorted(map(len, shares)) == [0, 0, 1, 1, 1, 1]
    idle = next(reader for reader, share in zip(crowd, shares, strict=True) if not share)
    assert idle.read(10, wait_s=0) == []


def test_who_dies_is_succeeded(channel: Channel, readers: Readers) -> None:
    dead, alive = readers.join("dead", ttl_ms=SOON_MS), readers.join("alive")
    channel.send(messages("abc"))
    dead.owned()
    read_all(dead)
    calls = 0
    while alive.owned() != ALL:
        calls += 1
        assert calls < 100_000
    assert read_all(alive) == ["a", "b", "c"]


def test_who_lost_a_partition_acknowledges_nothing_in_it(
    channel: Channel, readers: Readers, redis: redis_py.Redis
) -> None:
    channel.send(messages("abc"))
    slow = readers.join("slow")
    slow.owned()
    got = slow.read(100, wait_s=0)
    redis.delete("portrait:lease:0")  # as if its time had come
    other = readers.join("other")
    while 0 not in other.owned():
        redis.delete("portrait:lease:0")
    acknowledge(slow, got)
    assert redis.hget(ACKNOWLEDGED, "0") is None
    assert read_all(other) == ["a", "b", "c"]


def test_who_keeps_what_it_owns_is_not_succeeded_however_long_it_works(readers: Readers, redis: redis_py.Redis) -> None:
    busy, other = readers.join("busy", ttl_ms=1_500), readers.join("other")
    assert busy.owned() == ALL
    with keeping(busy, every_s=0.1):
        began = redis.time()[0]
        while redis.time()[0] < began + 5:
            assert other.owned() == frozenset()
    while other.owned() != ALL:
        pass


def test_what_was_lost_is_not_kept(readers: Readers, redis: redis_py.Redis) -> None:
    slow = readers.join("slow")
    slow.owned()
    redis.delete("portrait:lease:0")
    redis.set("portrait:lease:1", "another's", px=60_000)
    slow.keep()
    assert redis.get("portrait:lease:0") is None
    assert redis.get("portrait:lease:1") == b"another's"
    assert slow.owned() == {0, 2, 3}


def test_a_partition_that_was_lost_and_won_again_is_read_from_what_was_acknowledged(
    channel: Channel, readers: Readers, redis: redis_py.Redis
) -> None:
    channel.send(messages("abc"))
    reader = readers.join("one")
    reader.owned()
    assert read_all(reader) == ["a", "b", "c"]
    reader.owned()
    assert read_all(reader) == []
    redis.delete("portrait:lease:0")
    reader.owned()
    assert read_all(reader) == ["a", "b", "c"]


def test_an_older_position_is_without_effect(channel: Channel, readers: Readers, redis: redis_py.Redis) -> None:
    channel.send(messages("abc"))
    reader = readers.join("one")
    reader.owned()
    [got] = reader.read(100, wait_s=0)
    for n in (1, 0, 1):
        reader.acknowledge({0: int(got.positions[n])})
        assert reader.lag() == 1
    assert redis.xlen(f"{FACTS}:0") == 1


def test_an_offset_that_came_back_older_reads_what_is_still_there(
    channel: Channel, readers: Readers, redis: redis_py.Redis
) -> None:
    channel.send(messages("abc"))
    first = readers.join("first")
    first.owned()
    [got] = first.read(100, wait_s=0)
    first.acknowledge({0: int(got.positions[0])})
    older = redis.hget(ACKNOWLEDGED, "0")
    first.acknowledge({0: int(got.positions[1])})
    first.close()
    redis.hset(ACKNOWLEDGED, "0", older)
    second = readers.join("second")
    second.owned()
    [again] = second.read(100, wait_s=0)
    assert again.bodies == [b"c"]
    assert again.positions.tolist() == got.positions[2:].tolist()
    assert again.app_id == got.app_id


def test_a_server_that_was_started_again_gives_again_what_was_not_acknowledged(home: Path) -> None:
    settings = Settings(home=home, redis_url="")
    services.up(settings, SystemClock())
    try:
        channel, reader = open_channel(settings), RedisReader(settings, name="one", ttl_ms=SOON_MS)
        channel.send(messages("abc"))
        reader.owned()
        [before] = reader.read(100, wait_s=0)
        reader.acknowledge({0: int(before.positions[0])})
        services.down(settings)
        with pytest.raises(StoreUnavailableError):
            reader.read(100, wait_s=0)
        reader.close()
        channel.close()
        services.up(settings, SystemClock())
        again = RedisReader(settings, name="two")
        while again.owned() != ALL:
            pass  # the leases of the first end by themselves
        [after] = again.read(100, wait_s=0)
        again.close()
    finally:
        services.down(settings)
    assert (after.bodies, after.app_id) == ([b"b", b"c"], before.app_id)
    assert after.positions.tolist() == before.positions[1:].tolist()


def test_another_number_of_partitions_is_refused(settings: Settings, channel: Channel) -> None:
    other = settings.model_copy(update={"partitions": 8})
    with pytest.raises(SettingsError, match="was made with 4 partitions") as caught:
        open_channel(other)
    assert "PORTRAIT_PARTITIONS=4" in caught.value.hint
    with pytest.raises(SettingsError):
        RedisReader(other, name="one")


def test_a_redis_that_was_emptied_begins_a_new_incarnation(
    channel: Channel, readers: Readers, redis: redis_py.Redis
) -> None:
    channel.send(messages("a"))
    first = readers.join("first")
    first.owned()
    [before] = first.read(10, wait_s=0)
    redis.flushall()
    channel.send(messages("b"))
    second = readers.join("second")
    second.owned()
    [after] = second.read(10, wait_s=0)
    assert after.bodies == [b"b"]
    assert after.app_id != before.app_id


def test_entries_others_wrote_in_other_forms_are_read(
    channel: Channel, readers: Readers, redis: redis_py.Redis
) -> None:
    for fields in ({"e": "1", "t": "view"}, {"e": "2"}, {"t": "view"}, {"x": "y"}, {"t": b"\xff", "e": b"\xff"}):
        redis.xadd(f"{FACTS}:0", fields)
    reader = readers.join("one")
    reader.owned()
    [got] = reader.read(100, wait_s=0)
    assert got.bodies == [b"1", b"2", b"", b"", b"\xff"]
    assert got.event_types == ["view", "", "view", "", "\ufffd"]


@pytest.mark.parametrize("given", ["99999999999999999-0", "5-1048576"])
def test_an_id_redis_did_not_give_stops_the_reader(
    readers: Readers, channel: Channel, redis: redis_py.Redis, given: str
) -> None:
    redis.xadd(f"{FACTS}:2", {"t": "view", "e": "{}"}, id=given)
    reader = readers.join("one")
    reader.owned()
    with pytest.raises(DataError, match=f"Partition 2 .* entry {given}"):
        reader.read(100, wait_s=0)


def test_a_reader_whose_connection_led_to_another_server_process_says_so(
    settings: Settings, readers: Readers, channel: Channel
) -> None:
    reader = readers.join("one")
    reader.owned()
    reader._client.connection_pool.connection_kwargs["redis_connect_func"]._run_id = b"another"
    reader._client.connection_pool.disconnect()
    with pytest.raises(StoreUnavailableError, match="restarted"):
        reader.read(1, wait_s=0)
    reader.close()  # no error: Redis ends the leases


def test_a_channel_whose_server_is_gone_says_so(channel: Channel) -> None:
    channel._client.connection_pool.connection_kwargs["port"] = 1
    channel._client.connection_pool.reset()
    with pytest.raises(StoreUnavailableError, match="stopped answering"):
        channel.send(messages("a"))
