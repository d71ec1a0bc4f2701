"""A job reads back a sample of what it wrote: a writer that writes something else is noticed, a later one is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from feature_repo.core.clock import DAY, SystemClock
from feature_repo.core.errors import StoreUnavailableError
from feature_repo.engine import folds
from feature_repo.engine.entity_keys import entity_keys
from feature_repo.engine.positions import Positions
from feature_repo.engine.redis_writer import RedisWriter
from feature_repo.engine.spec import windowed_view_of
from feature_repo.events.log import LogTable
from histories import BASE, Event, every_kernel_view, log_of
from redis_keys import keys_in
from test_online_equals_oracle import NOW, PROJECT, builder, commit, connection, online
from test_redis_rows import Facts, row

__all__ = ["connection"]

EVENTS = [Event(f"u{i}", "a", BASE, 0, 3 + i, 1.5) for i in range(9)]
Damage = Callable[[Any, list[bytes], bytes], None]


@pytest.fixture
def history(tmp_path: Path) -> LogTable:
    return log_of(tmp_path / "h", EVENTS)


@pytest.fixture
def facts(tmp_path: Path, redis: Any) -> Facts:
    return Facts(tmp_path / "facts", redis)


def last_byte(redis: Any, keys: list[bytes], field: bytes) -> None:
    for key in keys:
        state = redis.hget(key, field)
        redis.hset(key, field, state[:-1] + bytes([state[-1] ^ 1]))


def neighbour(redis: Any, keys: list[bytes], field: bytes) -> None:
    states = [redis.hget(key, field) for key in keys]
    for key, state in zip(keys, [*states[1:], states[0]], strict=True):
        redis.hset(key, field, state)


def gone(redis: Any, keys: list[bytes], _: bytes) -> None:
    redis.delete(*keys)


@pytest.mark.parametrize("damage", [last_byte, neighbour, gone])
@pytest.mark.parametrize("method", ["build", "merge"])
def test_a_state_that_is_not_what_was_written_stops_the_run(
    tmp_path: Path,
    redis: Any,
    connection: Any,
    history: LogTable,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    damage: Damage,
) -> None:
    spec = windowed_view_of(every_kernel_view(tmp_path / "h"))
    if method == "merge":
        builder(connection, redis).bring_to_head(spec)
        commit(history, len(EVENTS), EVENTS)
    write = getattr(RedisWriter, method)

    def badly(self: RedisWriter, keys: Sequence[bytes], field: bytes, *rest: Any) -> Any:
        taken = write(self, keys, field, *rest)
        damage(redis, list(keys), field)
        return taken

    monkeypatch.setattr(RedisWriter, method, badly)
    before = Positions(redis, PROJECT).serving("history")
    with pytest.raises(StoreUnavailableError, match="'history': Redis does not hold what was written") as caught:
        builder(connection, redis).bring_to_head(spec)
    assert Positions(redis, PROJECT).serving("history") == before
    assert ("--full --views history" in caught.value.hint) is (method == "merge")
    monkeypatch.undo()
    connection.execute("DROP TABLE IF EXISTS folds")
    builder(connection, redis).bring_to_head(spec, full=method == "merge")
    assert online(redis, spec, NOW)["u8"]["sum_units_24h"] == 11 * (2 if method == "merge" else 1)


def test_every_chunk_is_looked_at(
    tmp_path: Path, redis: Any, connection: Any, history: LogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folds, "ENTITIES_PER_CHUNK", 3)
    spec = windowed_view_of(every_kernel_view(tmp_path / "h"))
    [victim] = entity_keys(PROJECT, ["user_id"], [pa.array(["u8"])])
    write = RedisWriter.build

    def badly(self: RedisWriter, keys: Sequence[bytes], field: bytes, *rest: Any) -> Any:
        taken = write(self, keys, field, *rest)
        if victim in keys:
            last_byte(redis, [victim], field)
        return taken

    monkeypatch.setattr(RedisWriter, "build", badly)
    with pytest.raises(StoreUnavailableError, match="does not hold"):
        builder(connection, redis).bring_to_head(spec)


def test_a_state_that_another_run_has_brought_further_is_no_fault(
    tmp_path: Path, redis: Any, connection: Any, history: LogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = windowed_view_of(every_kernel_view(tmp_path / "h"))
    builder(connection, redis).bring_to_head(spec)
    commit(history, len(EVENTS), EVENTS)
    merge = RedisWriter.merge

    def overtaken(self: RedisWriter, *rest: Any) -> Any:
        monkeypatch.undo()
        taken = merge(self, *rest)
        commit(history, 2 * len(EVENTS), EVENTS)
        with connection.cursor() as other:
            builder(other, redis).bring_to_head(spec)
        return taken

    monkeypatch.setattr(RedisWriter, "merge", overtaken)
    builder(connection, redis).bring_to_head(spec)
    assert online(redis, spec, NOW)["u0"]["count_all_24h"] == 3


def damaging(monkeypatch: pytest.MonkeyPatch, redis: Any, damage: Callable[[bytes], None]) -> None:
    write = RedisWriter.rows

    def badly(*arguments: Any, **options: Any) -> Iterator[Any]:
        yield from write(*arguments, **options)
        for key in keys_in(redis, b"*rows"):
            damage(key)

    monkeypatch.setattr(RedisWriter, "rows", badly)


def test_a_row_that_is_not_what_was_written_stops_the_run(
    facts: Facts, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts.commit(*(row(1_000_000, "ann", key=f"u{i}") for i in range(5)))

    def wrong(key: bytes) -> None:
        name = max(field for field in redis.hkeys(key) if not field.startswith(b"_ts"))
        redis.hset(key, name, redis.hget(key, name) + b"\x20\x07")

    def older(key: bytes) -> None:
        redis.hset(key, "_ts:facts", b"")

    for damage in (wrong, older, redis.delete):
        with monkeypatch.context() as patch:
            damaging(patch, redis, damage)
            with pytest.raises(StoreUnavailableError, match="'facts': Redis does not hold") as caught:
                facts.materialize()
        assert "--full --views facts" in caught.value.hint
    assert facts.materialize(full=True) == "built"
    assert facts.stock_read("u4")[0][1]["name"].string_val == "ann"


def test_a_later_row_and_one_that_has_expired_are_no_fault(
    facts: Facts, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts.commit(row(1_000_000, "ann"))
    with monkeypatch.context() as patch:
        damaging(patch, redis, lambda key: redis.hset(key, "_ts:facts", b"\x08\x02"))
        assert facts.materialize() == "built"
    facts.view.ttl = timedelta(days=1)
    facts.commit(row(SystemClock().now_us() - 2 * DAY, "bob", key="u2"))
    assert facts.materialize() == "built"
    assert keys_in(redis, b"*u2rows") == set()
