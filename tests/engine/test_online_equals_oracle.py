from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from example_counts import examples
from feature_repo.core.clock import DAY, HOUR, FixedClock
from feature_repo.core.errors import NotMaterializedError, StoreUnavailableError
from feature_repo.engine.builder import Materialized, StateBuilder
from feature_repo.engine.entity_keys import entity_keys
from feature_repo.engine.oracle import oracle_value
from feature_repo.engine.positions import Positions
from feature_repo.engine.spec import WindowedView, windowed_view_of
from feature_repo.engine.window_reader import ViewRead, WindowReader
from feature_repo.events.log import LogTable
from histories import BASE, Event, agrees, events, every_kernel_view, log_of, oracle_rows, table_of

PROJECT = "online"
NOW = BASE + 7 * HOUR
USERS = [f"u{i}" for i in range(9)]


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as opened:
        opened.execute("SET TimeZone='UTC'")
        yield opened


def builder(connection: Any, client: Any, at: int = NOW) -> StateBuilder:
    return StateBuilder(connection, client, PROJECT, FixedClock(at))


def online(client: Any, spec: WindowedView, at: int, users: list[str] = USERS) -> dict[str, dict[str, Any]]:
    read = ViewRead(spec, spec.features, entity_keys(PROJECT, spec.join_keys, [pa.array(users)]))
    [columns] = WindowReader(PROJECT).read(client, [read], at)
    rows: dict[str, dict[str, Any]] = {user: {} for user in users}
    for feature, values in zip(spec.features, columns, strict=True):
        valid = [True] * len(users) if values.valid is None else values.valid.tolist()
        for user, value, known in zip(users, values.data.tolist(), valid, strict=True):
            rows[user][feature.name] = value if known else None
    return rows


def assert_online_is_oracle(client: Any, spec: WindowedView, history: list[Event], at: int) -> None:
    rows = oracle_rows(history)
    found = online(client, spec, at)
    for user in USERS:
        mine = [row for row in rows if row["user_id"] == user]
        for feature in spec.features:
            expected = oracle_value(spec, feature, mine, at)
            value = found[user][feature.name]
            assert agrees(value, expected, mine, feature, at, spec.hop), (user, feature, expected, value)


def commit(table: LogTable, start: int, batch: list[Event]) -> None:
    rows = table_of(batch)
    ids = pa.array([str(start + i) for i in range(len(batch))])
    table.commit(rows.set_column(0, "event_id", ids))


Batches = st.lists(events(), min_size=1, max_size=4)


@examples(60, seconds=10, suppress_health_check=list(HealthCheck))
@given(batches=Batches, repeat=st.lists(st.booleans(), min_size=4, max_size=4), later=st.integers(0, 30))
def test_a_state_built_and_applied_in_any_steps_equals_the_oracle(
    redis: Any, connection: Any, batches: list[list[Event]], repeat: list[bool], later: int
) -> None:
    redis.flushall()
    at = NOW + later * HOUR // 2
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "history"
        table = log_of(path, batches[0])
        spec = windowed_view_of(every_kernel_view(path))
        keeper = builder(connection, redis, at)
        history: list[Event] = list(batches[0])
        keeper.bring_to_head(spec)
        assert_online_is_oracle(redis, spec, history, at)
        for batch, again in zip(batches[1:], repeat, strict=False):
            commit(table, len(history), batch)
            history += batch
            if again:
                keeper.bring_to_head(spec)
        keeper.bring_to_head(spec)
        assert keeper.bring_to_head(spec).action == "at head"
        assert_online_is_oracle(redis, spec, history, at)


class KilledError(Exception):
    pass


class DyingClient:
    """A real client whose process ends after so many commands: what was sent before has happened."""

    def __init__(self, client: Any, commands: int) -> None:
        self._client = client
        self._left = commands

    def __getattr__(self, name: str) -> Any:
        if name in {"hset", "pipeline", "hdel", "hget", "hgetall", "scan", "eval", "connection_pool"}:
            self._left -= 1
            if self._left < 0:
                raise KilledError
        return getattr(self._client, name)


Rounds = st.lists(
    st.tuples(events(users=3), st.lists(st.integers(0, 12), max_size=3), st.booleans()), min_size=1, max_size=5
)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("commands", range(12))
def test_rows_merged_by_a_run_that_died_are_not_merged_again_with_later_ones(
    tmp_path: Path, redis: Any, connection: Any, commands: int, full: bool
) -> None:
    event = Event("u0", "a", BASE, 0, 3, 1.5)
    table = log_of(tmp_path / "h", [event])
    spec = windowed_view_of(every_kernel_view(tmp_path / "h"))
    builder(connection, redis).bring_to_head(spec)
    commit(table, 1, [event])
    with contextlib.suppress(KilledError):
        builder(connection, DyingClient(redis, commands)).bring_to_head(spec, full=full)
    connection.execute("DROP TABLE IF EXISTS folds")
    commit(table, 2, [event])
    builder(connection, redis).bring_to_head(spec)
    assert online(redis, spec, NOW)["u0"]["count_all_24h"] == 3


@examples(60, seconds=23, suppress_health_check=list(HealthCheck))
@given(first=events(users=3), built=st.booleans(), rounds=Rounds)
def test_a_run_killed_between_any_two_commands_is_finished_by_the_next(
    redis: Any, connection: Any, first: list[Event], built: bool, rounds: list[tuple[list[Event], list[int], bool]]
) -> None:
    redis.flushall()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "history"
        table = log_of(path, first)
        spec = windowed_view_of(every_kernel_view(path))
        history: list[Event] = list(first)
        if built:
            builder(connection, redis).bring_to_head(spec)
        for batch, deaths, full in rounds:
            commit(table, len(history), batch)
            history += batch
            for commands in deaths:
                try:
                    builder(connection, DyingClient(redis, commands)).bring_to_head(spec, full=full)
                except KilledError:
                    connection.execute("DROP TABLE IF EXISTS folds")
        builder(connection, redis).bring_to_head(spec)
        assert_online_is_oracle(redis, spec, history, NOW)


def test_windows_decay_without_writes(tmp_path: Path, redis: Any, connection: Any) -> None:
    log_of(tmp_path / "h", [Event("u0", "a", BASE, 0, 3, 1.5)])
    spec = windowed_view_of(every_kernel_view(tmp_path / "h"))
    builder(connection, redis).bring_to_head(spec)
    assert online(redis, spec, BASE + 1)["u0"]["sum_units_2h"] == 3
    assert online(redis, spec, BASE + 3 * HOUR - 1)["u0"]["sum_units_2h"] == 3
    assert online(redis, spec, BASE + 3 * HOUR)["u0"]["sum_units_2h"] == 0
    assert online(redis, spec, BASE + 3 * HOUR)["u0"]["days_since_all_24h"] == pytest.approx(3 / 24)


def test_a_shopper_never_seen_has_the_values_of_one_without_events(tmp_path: Path, redis: Any, connection: Any) -> None:
    log_of(tmp_path / "h", [Event("u0", "a", BASE, 0, 3, 1.5)])
    spec = windowed_view_of(every_kernel_view(tmp_path / "h"))
    builder(connection, redis).bring_to_head(spec)
    never, expired = online(redis, spec, BASE + 60 * DAY, ["nobody", "u0"]).values()
    assert never == expired
    assert never["count_all_24h"] == 0
    assert never["mean_amount_24h"] is None


def test_a_view_without_state_is_refused_rather_than_read_as_zero(tmp_path: Path, redis: Any) -> None:
    log_of(tmp_path / "h", [])
    spec = windowed_view_of(every_kernel_view(tmp_path / "h"))
    with pytest.raises(NotMaterializedError, match="portrait jobs materialize"):
        online(redis, spec, NOW)


def test_readers_move_to_a_rebuilt_state_and_the_old_one_is_removed(
    tmp_path: Path, redis: Any, connection: Any
) -> None:
    log_of(tmp_path / "h", [Event("u0", "a", BASE, 0, 3, 1.5)])
    spec = windowed_view_of(every_kernel_view(tmp_path / "h"))
    read = ViewRead(spec, spec.features, entity_keys(PROJECT, spec.join_keys, [pa.array(["u0"])]))
    reader = WindowReader(PROJECT)
    builder(connection, redis).bring_to_head(spec)
    before = reader.read(redis, [read], NOW)
    assert builder(connection, redis).bring_to_head(spec, full=True).action == "built"
    assert [values.data.tolist() for values in reader.read(redis, [read], NOW)[0]] == [
        values.data.tolist() for values in before[0]
    ]
    assert len(redis.hkeys(read.keys[0])) == 1
    assert Positions(redis, PROJECT).serving(spec.name).generation == 1


def test_a_build_given_up_for_another_definition_leaves_nothing_behind(
    tmp_path: Path, redis: Any, connection: Any
) -> None:
    log_of(tmp_path / "h", [Event("u0", "a", BASE, 0, 3, 1.5)])
    first, second = (
        windowed_view_of(every_kernel_view(tmp_path / "h", hop=timedelta(minutes=minutes))) for minutes in (60, 30)
    )
    for commands in range(12):
        with contextlib.suppress(KilledError):
            builder(connection, DyingClient(redis, commands)).bring_to_head(first)
        connection.execute("DROP TABLE IF EXISTS folds")
    builder(connection, redis).bring_to_head(second)
    [key] = entity_keys(PROJECT, second.join_keys, [pa.array(["u0"])])
    assert redis.hkeys(key) == [Positions(redis, PROJECT).serving("history").field]


def test_a_table_recreated_with_fewer_versions_is_built_anew(tmp_path: Path, redis: Any, connection: Any) -> None:
    first = Event("u0", "a", BASE, 0, 3, 1.5)
    log_of(tmp_path / "h", [first], [first], [first])
    spec = windowed_view_of(every_kernel_view(tmp_path / "h"))
    builder(connection, redis).bring_to_head(spec)
    (tmp_path / "h").rename(tmp_path / "old")
    log_of(tmp_path / "h", [first])
    done: Materialized = builder(connection, redis).bring_to_head(spec)
    assert done.action == "built"
    assert online(redis, spec, NOW)["u0"]["count_all_24h"] == 1


def test_a_damaged_state_is_named_with_what_to_do(tmp_path: Path, redis: Any, connection: Any) -> None:
    log_of(tmp_path / "h", [Event("u0", "a", BASE, 0, 3, 1.5)])
    spec = windowed_view_of(every_kernel_view(tmp_path / "h"))
    builder(connection, redis).bring_to_head(spec)
    [key] = entity_keys(PROJECT, spec.join_keys, [pa.array(["u0"])])
    [field] = redis.hkeys(key)
    redis.hset(key, field, redis.hget(key, field)[:-3])
    with pytest.raises(StoreUnavailableError, match="materialize --full"):
        online(redis, spec, NOW)
