"""Many hashes in one round trip: who asked for what gets it, and a read that fails leaves no reply to the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py

from feature_repo.engine.hash_reader import KEYS_AT_ONCE, HashRead, read_hashes
from feature_repo.engine.redis_wire import Wire

pytestmark = pytest.mark.both_servers


@pytest.fixture(params=[2, 3])
def lonely(redis_server: str, request: pytest.FixtureRequest) -> Iterator[redis_py.Redis]:
    """A client with one connection, of either version of the protocol."""
    client = redis_py.Redis.from_url(redis_server, max_connections=1, protocol=request.param)
    yield client
    client.close()


def test_every_field_of_every_key_is_where_it_was_asked_for(redis: Any, lonely: redis_py.Redis) -> None:
    keys = [b"k%d" % i for i in range(2 * KEYS_AT_ONCE + 7)]
    with redis.pipeline(transaction=False) as pipe:
        for i, key in enumerate(keys[::2]):
            pipe.hset(key, mapping={"a": b"%d" % i, "b": b"b" * (i * 37 % 9_000)})
        pipe.execute()
    others = [b"k0", b"longer name"]
    reads = [HashRead(keys, (b"a",)), HashRead(others, (b"b",)), HashRead(keys, (b"b", b"none")), HashRead(others, ())]
    held = {key: (b"%d" % i, b"b" * (i * 37 % 9_000)) for i, key in enumerate(keys[::2])}
    connection = lonely.client_id()
    first, second, third, nothing = read_hashes(lonely, reads)
    assert lonely.client_id() == connection  # no reply was owed, and so it was not closed
    assert [list(column) for column in first] == [[held.get(key, (None, None))[0] for key in keys]]
    assert [list(column) for column in second] == [[held[b"k0"][1], None]]
    assert [list(column) for column in third] == [[held.get(key, (None, None))[1] for key in keys], [None] * len(keys)]
    assert nothing == []
    assert read_hashes(lonely, [HashRead([], (b"a", b"b")), HashRead([], (b"a",))]) == [[[], []], [[]]]


def test_an_error_among_the_replies_is_raised_and_the_others_are_not_read_by_the_next_caller(
    redis: Any, lonely: redis_py.Redis
) -> None:
    redis.set("text", "no hash")
    redis.set("mine", "my own")
    keys = [b"k%d" % i for i in range(50)]
    with pytest.raises(redis_py.ResponseError, match="WRONGTYPE"):
        read_hashes(lonely, [HashRead([*keys, b"text", *keys], (b"a",))])
    assert lonely.get("mine") == b"my own"


@pytest.mark.parametrize("step", ["_received", "read_all"])
def test_a_read_interrupted_before_its_replies_leaves_none_for_the_next_caller(
    redis: Any, lonely: redis_py.Redis, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    redis.set("mine", "my own")
    redis.hset("k", "a", "another's")

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Wire, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            read_hashes(lonely, [HashRead([b"k"] * 20, (b"a",))])
    assert lonely.get("mine") == b"my own"
    assert read_hashes(lonely, [HashRead([b"k"], (b"a",))]) == [[[b"another's"]]]
