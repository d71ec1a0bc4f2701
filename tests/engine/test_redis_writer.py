"""What reaches Redis, and what a failure on the way leaves behind: on one connection, so that a mix-up would show."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import redis as redis_py
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.core.clock import DAY, SECOND, SystemClock
from feature_repo.engine import redis_writer
from feature_repo.engine.byte_columns import Column, decimals
from feature_repo.engine.redis_wire import Wire, bulk
from feature_repo.engine.redis_writer import BYTES_PER_REQUEST, IN_FLIGHT, ROWS_PER_REQUEST, Batch, RedisWriter
from feature_repo.engine.value_columns import stamp_column

pytestmark = pytest.mark.both_servers

NAMES = [b"_ts:v", b"f"]
YEAR_2100 = 4_102_444_800 * SECOND


@pytest.fixture
def lonely(redis: redis_py.Redis, redis_server: str) -> Iterator[redis_py.Redis]:
    """A client with one connection, beside the ``redis`` fixture's."""
    client = redis_py.Redis.from_url(redis_server, max_connections=1, socket_timeout=0.2)
    yield client
    client.close()


def batch(keys: list[bytes], times: list[int], values: list[bytes], ttl: int = 0) -> Batch:
    at = np.array(times)
    expiry = decimals(-(-(at + ttl) // 1_000)) if ttl else decimals(at * 0)
    return Batch(keys, [bulk(expiry), bulk(stamp_column(at)), bulk(Column.of(values))])


def wrote(writer: RedisWriter, keys: list[bytes], times: list[int], values: list[bytes]) -> list[bool]:
    return [bool(taken) for part in writer.rows(NAMES, [batch(keys, times, values)]) for taken in part]


def state(version: int, text: bytes = b"") -> bytes:
    return struct.pack("<BBBxIq", 2, 0, 0, 0, version) + text


def reply_to_the_next_caller(client: redis_py.Redis, other: Any) -> Any:
    """What a caller reads who took the connection before the server went on."""
    connection = client.connection_pool.get_connection()
    other.client_unpause()
    connection.send_command("GET", "mine")
    try:
        return connection.read_response()
    finally:
        client.connection_pool.release(connection)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
def test_a_send_interrupted_before_its_replies_leaves_none_for_the_next_caller(
    lonely: redis_py.Redis, redis: Any, monkeypatch: pytest.MonkeyPatch, interruption: type[BaseException]
) -> None:
    writer = RedisWriter(lonely)
    redis.set("mine", "my own")
    assert wrote(writer, [b"a"], [1], [b"x"]) == [True]
    redis.client_pause(60_000, all=False)  # writes wait, so their replies come late

    def interrupted(_: Wire) -> Any:
        raise interruption

    monkeypatch.setattr(Wire, "read", interrupted)
    with pytest.raises(interruption):
        wrote(writer, [b"a"], [2], [b"y"])
    monkeypatch.undo()
    assert reply_to_the_next_caller(lonely, redis) == b"my own"
    assert wrote(writer, [b"a"], [3], [b"z"]) == [True]


def test_a_reply_that_does_not_come_in_time_is_not_read_by_the_next_caller(lonely: redis_py.Redis, redis: Any) -> None:
    writer = RedisWriter(lonely)
    redis.set("mine", "my own")
    assert wrote(writer, [b"a"], [1], [b"x"]) == [True]
    redis.client_pause(60_000, all=False)
    with pytest.raises(redis_py.TimeoutError):
        wrote(writer, [b"a"], [2], [b"y"])
    assert reply_to_the_next_caller(lonely, redis) == b"my own"


def test_rows_that_fail_to_come_leave_no_reply_behind(lonely: redis_py.Redis, redis: Any) -> None:
    writer = RedisWriter(lonely)
    redis.set("mine", "my own")
    wrote(writer, [b"a"], [1], [b"x"])
    redis.client_pause(60_000, all=False)

    def batches() -> Iterator[Batch]:
        yield batch([b"a"], [2], [b"y"])
        raise OSError("the file is damaged")

    with pytest.raises(OSError, match="damaged"):
        list(writer.rows(NAMES, batches()))
    assert reply_to_the_next_caller(lonely, redis) == b"my own"


def test_a_server_that_forgot_the_scripts_is_told_them_again(lonely: redis_py.Redis, redis: Any) -> None:
    keys = [b"%d" % i for i in range(3 * ROWS_PER_REQUEST)]
    writer = RedisWriter(lonely)

    def batches() -> Iterator[Batch]:
        for start in range(0, len(keys), ROWS_PER_REQUEST):
            redis.script_flush()
            part = keys[start : start + ROWS_PER_REQUEST]
            yield batch(part, [7] * len(part), part)

    assert np.concatenate([*writer.rows(NAMES, batches())]).tolist() == [True] * len(keys)
    assert {redis.hget(key, "f") == key for key in keys} == {True}
    redis.script_flush()
    assert writer.build([b"0", b"1"], b"_t", 5, [state(5), state(5)], []).tolist() == [True, True]


def test_a_write_that_took_effect_before_the_scripts_were_lost_is_not_told_to_be_refused(
    lonely: redis_py.Redis, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [b"%d" % i for i in range(2 * redis_writer.ROWS_PER_CALL)]
    writer = RedisWriter(lonely)
    writer.build([b"other"], b"_t", 1, [state(1)], [])
    send = Wire.send

    def cut(wire: Wire, data: bytes, *, commands: int) -> None:
        monkeypatch.undo()
        second = data.index(b"\r\n*") + 2
        send(wire, data[:second], commands=1)
        while not redis.exists(keys[0]):
            pass
        redis.script_flush()
        send(wire, data[second:], commands=commands - 1)

    monkeypatch.setattr(Wire, "send", cut)
    assert writer.build(keys, b"_t", 5, [state(5)] * len(keys), []).all()
    assert redis.dbsize() == len(keys) + 1


@pytest.mark.parametrize("error", [redis_py.exceptions.OutOfMemoryError, redis_py.ReadOnlyError])
def test_a_server_that_refuses_writes_is_an_error_and_running_again_completes(
    lonely: redis_py.Redis, redis: Any, error: type[Exception]
) -> None:
    keys = [b"%d" % i for i in range(2 * ROWS_PER_REQUEST)]
    writer, full = RedisWriter(lonely), error is redis_py.exceptions.OutOfMemoryError

    def batches() -> Iterator[Batch]:
        yield batch(keys[:10], [1] * 10, keys[:10])
        _ = redis.config_set("maxmemory", 1) if full else redis.replicaof("127.0.0.1", "1")
        yield batch(keys[10:], [1] * len(keys[10:]), keys[10:])

    try:
        with pytest.raises(error):
            list(writer.rows(NAMES, batches()))
    finally:
        _ = redis.config_set("maxmemory", 0) if full else redis.replicaof("NO", "ONE")
    assert lonely.ping()
    assert redis.dbsize() <= 10
    assert wrote(writer, keys, [1] * len(keys), keys) == [True] * len(keys)
    assert {redis.hget(key, "f") == key for key in keys} == {True}


def test_requests_are_bounded_and_a_single_huge_row_goes_alone(
    lonely: redis_py.Redis, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    send = Wire.send

    def measured(wire: Wire, data: bytes, *, commands: int) -> None:
        sizes.append(len(data))
        send(wire, data, commands=commands)

    monkeypatch.setattr(Wire, "send", measured)
    values = [b"x"] * 1_200 + [b"y" * 3_000_000] + [b"z" * 10_000] * 100
    keys = [b"%d" % i for i in range(len(values))]
    parts = list(RedisWriter(lonely).rows(NAMES, [batch(keys, [1] * len(keys), values)]))
    assert max(len(part) for part in parts) == ROWS_PER_REQUEST
    assert sum(size > 1.1 * BYTES_PER_REQUEST for size in sizes) == 1
    assert IN_FLIGHT * BYTES_PER_REQUEST <= 1 << 20
    assert [redis.hget(key, "f") for key in keys] == values


def test_a_build_replaces_older_states_only_and_removes_retired_fields(redis: Any) -> None:
    writer = RedisWriter(redis)
    assert writer.build([b"a", b"b"], b"_t", 5, [state(5, b"1"), state(5, b"2")], []).tolist() == [True, True]
    redis.hset("c", mapping={"old": 1, "older": 1, "kept": 1})
    assert writer.build([b"c", b"a"], b"_t", 5, [state(5), state(5, b"new")], [b"old", b"older"]).tolist() == [
        True,
        False,
    ]
    assert redis.hget("a", "_t") == state(5, b"1")
    assert sorted(redis.hkeys("c")) == [b"_t", b"kept"]


def test_a_merge_takes_effect_on_the_state_it_read_only(redis: Any) -> None:
    writer = RedisWriter(redis)
    writer.build([b"a", b"b"], b"_t", 5, [state(5), state(5)], [])
    taken = writer.merge([b"a", b"b", b"c", b"d"], b"_t", [5, 4, -1, 0], [state(6)] * 4, [])
    assert taken.tolist() == [True, False, True, False]
    assert [redis.hget(key, "_t") for key in "abcd"] == [state(6), state(5), state(6), None]


def test_nothing_to_write_is_no_request(redis: Any) -> None:
    writer = RedisWriter(redis)
    assert writer.build([], b"_t", 1, [], []).tolist() == []
    assert list(writer.rows(NAMES, [])) == []


Writes = st.lists(
    st.tuples(st.sampled_from(["none", "day", "week", "state"]), st.integers(0, 20), st.booleans()),
    min_size=1,
    max_size=8,
)


@settings(max_examples=80, suppress_health_check=list(HealthCheck))
@given(Writes)
def test_a_key_expires_with_the_last_of_its_rows_and_never_if_one_does_not(
    redis: Any, writes: list[tuple[str, int, bool]]
) -> None:
    redis.flushall()
    writer = RedisWriter(redis)
    held: dict[str, int] = {}
    deadlines: list[int] = []
    for kind, later, anew in writes:
        ttl = {"none": 0, "day": DAY, "week": 7 * DAY}.get(kind)
        if ttl is None:
            writer.build([b"a"], b"_t", later, [state(later)], [])
        else:
            at = YEAR_2100 + later * SECOND
            list(writer.rows([b"_ts:" + kind.encode(), b"f"], [batch([b"a"], [at], [b""], ttl)], anew=anew))
            if not anew and at < held.get(kind, 0):
                continue
            held[kind] = at
            deadlines += [(at + ttl) // 1_000] if ttl else []
    never = any(kind in {"none", "state"} for kind, _, _ in writes)
    assert redis.pexpiretime("a") == (-1 if never else max(deadlines))


def test_a_row_that_has_expired_is_not_kept_and_one_about_to_is(redis: Any) -> None:
    now = SystemClock().now_us()
    writer = RedisWriter(redis)
    list(writer.rows(NAMES, [batch([b"dead", b"alive"], [now - 2 * DAY, now - DAY // 2], [b"x", b"x"], DAY)]))
    assert (redis.exists("dead"), redis.exists("alive")) == (0, 1)


def test_a_row_that_expired_before_the_epoch_is_not_kept_and_puts_no_other_off(redis: Any) -> None:
    writer = RedisWriter(redis)
    at = -2 * DAY
    list(writer.rows(NAMES, [batch([b"dead"], [at], [b"x"], DAY)]))
    list(writer.rows([b"_ts:w", b"g"], [batch([b"alive"], [YEAR_2100], [b"x"], DAY)]))
    list(writer.rows(NAMES, [batch([b"alive"], [at], [b"x"], DAY)]))
    assert (redis.exists("dead"), redis.pexpiretime("alive")) == (0, (YEAR_2100 + DAY) // 1_000)


def test_a_row_whose_key_is_due_late_enough_is_one_write(redis: Any) -> None:
    writer = RedisWriter(redis)
    keys = [b"%d" % i for i in range(10)]
    for name, ttl in ((b"week", 7 * DAY), (b"day", DAY), (b"week", 7 * DAY)):
        rows = batch(keys, [YEAR_2100] * 10, keys, ttl)
        redis.config_resetstat()
        list(writer.rows([b"_ts:" + name, name], [rows]))
    stats = redis.info("commandstats")
    assert stats["cmdstat_hset"]["calls"] == 10
    assert not {"cmdstat_pexpireat", "cmdstat_persist"} & set(stats)


def test_keys_of_one_batch_that_come_twice_are_decided_in_order(redis: Any) -> None:
    times, values = [1, 3, 2, 3], [b"a", b"b", b"c", b"d"]
    assert wrote(RedisWriter(redis), [b"k"] * 4, times, values) == [True, True, False, True]
    assert redis.hget("k", "f") == b"d"
