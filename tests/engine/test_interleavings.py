"""Commits, builds, applies, deaths, definition changes, two runs at once and runs that wake up late, in any order.

Among them consumers: appliers that feed what is served from the log, or a commit from memory, each for some shards.

After every step each shopper's values are the oracle's over some prefix of the log, all of one prefix, or missing where
the served state cannot answer; after a last undisturbed run they are the oracle's over the whole log.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from cursors import duckdb_cursor
from example_counts import examples
from feature_repo.core.clock import FixedClock
from feature_repo.core.errors import NotMaterializedError, StoreUnavailableError
from feature_repo.engine.applier import Applier, Head
from feature_repo.engine.landing import Landed
from feature_repo.engine.oracle import oracle_value
from feature_repo.engine.positions import Position, Positions
from feature_repo.engine.spec import WindowedView, windowed_view_of
from feature_repo.events.log import read_snapshot
from histories import BASE, Event, agrees, events, every_kernel_view, log_of, oracle_rows
from test_online_equals_oracle import NOW, PROJECT, KilledError, builder, commit, online

USERS = ["u0", "u1", "u2"]
COMMANDS = {"hset", "hget", "hdel", "hgetall", "scan", "eval", "pipeline", "connection_pool"}


class MeddledClient:
    """A real client on which something happens right before one of its commands."""

    def __init__(self, client: Any, command: int, happens: Callable[[], None]) -> None:
        self._client, self._left, self._happens = client, command, happens

    def __getattr__(self, name: str) -> Any:
        if name in COMMANDS:
            self._left -= 1
            if self._left == -1:
                self._happens()
        return getattr(self._client, name)


@dataclass(frozen=True)
class Run:
    """A run of the builder by one of three definitions, and what disturbs it before its ``command``-th command."""

    definition: int
    full: bool = False
    command: int = 0
    other: Run | None = None
    dies: bool = False


@dataclass(frozen=True)
class Feed:
    """A consumer that knows one of three definitions and owns some of three shards, and what disturbs it."""

    definition: int
    owned: frozenset[int]
    from_memory: bool
    command: int = 0
    other: Run | Feed | None = None
    dies: bool = False


Plain = st.builds(Run, definition=st.integers(0, 2), full=st.booleans())
Owned = st.frozensets(st.integers(0, 2), min_size=1)
PlainFeed = st.builds(Feed, definition=st.integers(0, 2), owned=Owned, from_memory=st.booleans())
Feeds = st.one_of(
    PlainFeed,
    st.builds(
        Feed,
        definition=st.integers(0, 2),
        owned=Owned,
        from_memory=st.booleans(),
        command=st.integers(0, 6),
        other=st.one_of(st.none(), Plain, PlainFeed),
        dies=st.booleans(),
    ),
)
Runs = st.one_of(
    Plain,
    st.builds(Run, definition=st.integers(0, 2), full=st.booleans(), command=st.integers(0, 14), dies=st.just(True)),
    st.builds(Run, definition=st.integers(0, 2), full=st.booleans(), command=st.integers(0, 14), other=Plain),
)
Fed = st.lists(st.one_of(events(users=3), Runs, Feeds, Feeds), min_size=3, max_size=9)
Steps = st.lists(st.one_of(events(users=3), Runs, Runs), min_size=2, max_size=7)


@cache
def definitions() -> list[WindowedView]:
    """All functions over one column each; a shorter hop; half of the functions in longer windows."""
    found = []
    for minutes in (60, 30):
        view = windowed_view_of(every_kernel_view(Path("history"), hop=timedelta(minutes=minutes)))
        chosen = {
            (each.function, each.window): each for each in view.features if each.column in {"", "amount", "place"}
        }
        found.append(replace(view, features=tuple(chosen.values())))
    return [*found, replace(found[0], features=found[0].features[::2])]


class History:
    """A log under construction, its prefixes, and the Redis that follows it."""

    def __init__(self, path: Path, redis: Any) -> None:
        self.table = log_of(path)
        self.redis = redis
        self.specs = [replace(spec, source_path=str(path)) for spec in definitions()]
        self.prefixes: list[list[Event]] = [[]]

    def commit(self, batch: list[Event]) -> None:
        commit(self.table, len(self.prefixes[-1]), batch)
        self.prefixes.append([*self.prefixes[-1], *batch])

    def run(self, run: Run | Feed) -> None:
        def happens() -> None:
            if run.dies:
                raise KilledError
            if run.other is not None:
                self.run(run.other)

        client = MeddledClient(self.redis, run.command, happens)
        if isinstance(run, Feed):
            self._feed(run, client)
            return
        with duckdb_cursor() as connection, contextlib.suppress(KilledError, StoreUnavailableError):
            builder(connection, client).bring_to_head(self.specs[run.definition], full=run.full)

    def _feed(self, feed: Feed, client: Any) -> None:
        snapshot = read_snapshot(self.table.path)
        newer, position = lambda _: read_snapshot(self.table.path), Position(snapshot.table_id, snapshot.version)
        with duckdb_cursor() as connection, contextlib.suppress(KilledError):
            landed = connection.sql(f"FROM {snapshot.sql()} WHERE log_version = {snapshot.version}").to_arrow_table()
            in_memory = Landed(landed, snapshot.version, PROJECT) if feed.from_memory else None
            head = Head(position, newer, in_memory)
            applier = Applier(connection, client, PROJECT, FixedClock(NOW), shards=3)
            recorded = applier.positions.recorded()
            applier.apply(self.specs[feed.definition], head, feed.owned, recorded)

    def assert_never_wrong(self, spec: WindowedView) -> None:
        try:
            found = online(self.redis, spec, NOW, USERS)
        except NotMaterializedError:
            return
        layout = Positions(self.redis, PROJECT).serving(spec.name)
        answered = [feature for feature in spec.features if layout and layout.serves(spec, feature)]
        assert all(found[user][each.name] is None for user in USERS for each in set(spec.features) - set(answered))
        for user in USERS:
            assert any(self._is_of(prefix, spec, answered, user, found[user]) for prefix in reversed(self.prefixes))

    def assert_at_head(self, spec: WindowedView) -> None:
        found = online(self.redis, spec, NOW, USERS)
        assert all(self._is_of(self.prefixes[-1], spec, spec.features, user, found[user]) for user in USERS)

    def _is_of(self, prefix: list[Event], spec: WindowedView, features: Any, user: str, found: dict[str, Any]) -> bool:
        mine = [row for row in oracle_rows(prefix) if row["user_id"] == user]
        return all(
            agrees(found[each.name], oracle_value(spec, each, mine, NOW), mine, each, NOW, spec.hop)
            for each in features
        )


@pytest.mark.parametrize("command", range(14))
def test_a_build_that_ran_within_another_of_the_view_keeps_its_state(tmp_path: Path, redis: Any, command: int) -> None:
    history = History(tmp_path / "history", redis)
    history.commit([Event("u0", "a", BASE, 0, 3, 1.5)])
    history.run(Run(1, command=command, other=Run(0)))
    history.assert_never_wrong(history.specs[0])
    history.run(Run(0))
    history.assert_at_head(history.specs[0])


@pytest.mark.slow(15)
@pytest.mark.parametrize("command", range(6))
def test_a_job_that_a_consumer_overtakes_does_not_miss_commits(tmp_path: Path, redis: Any, command: int) -> None:
    history = History(tmp_path / "history", redis)
    history.commit([Event("u0", "a", BASE, 0, 3, 1.5)])
    history.run(Run(0))

    def overtakes() -> None:
        history.commit([Event("u1", "b", BASE, 0, 3, 1.5)])
        history.run(Feed(0, frozenset({0, 1, 2}), from_memory=True))

    client = MeddledClient(redis, command, overtakes)
    with duckdb_cursor() as connection:
        builder(connection, client).bring_to_head(history.specs[0])
    history.assert_never_wrong(history.specs[0])
    history.run(Run(0))
    history.assert_at_head(history.specs[0])


@examples(160, seconds=33, suppress_health_check=list(HealthCheck))
@given(steps=Steps, last=st.integers(0, 2))
def test_no_interleaving_shows_a_wrong_number_and_the_last_run_shows_the_right_ones(
    redis: Any, steps: list[Any], last: int
) -> None:
    redis.flushall()
    with tempfile.TemporaryDirectory() as directory:
        history = History(Path(directory) / "history", redis)
        for step in steps:
            if isinstance(step, Run):
                history.run(step)
            else:
                history.commit(step)
            history.assert_never_wrong(history.specs[last])
        history.run(Run(last))
        history.assert_at_head(history.specs[last])


@examples(160, seconds=23, suppress_health_check=list(HealthCheck))
@given(steps=Fed, last=st.integers(0, 2))
def test_consumers_of_some_shards_among_all_others_show_no_wrong_number(
    redis: Any, steps: list[Any], last: int
) -> None:
    redis.flushall()
    with tempfile.TemporaryDirectory() as directory:
        history = History(Path(directory) / "history", redis)
        history.run(Run(last))
        for step in steps:
            if isinstance(step, list):
                history.commit(step)
            else:
                history.run(step)
            history.assert_never_wrong(history.specs[last])
        history.run(Run(last))
        history.assert_at_head(history.specs[last])


@examples(60, seconds=16, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(events(users=3), min_size=1, max_size=5), memory=st.booleans(), several=st.booleans())
def test_consumers_alone_keep_a_built_state_at_the_head(
    redis: Any, batches: list[list[Event]], memory: bool, several: bool
) -> None:
    redis.flushall()
    with tempfile.TemporaryDirectory() as directory:
        history = History(Path(directory) / "history", redis)
        history.run(Run(0))
        owners = [frozenset({0, 2}), frozenset({1})] if several else [frozenset({0, 1, 2})]
        for batch in batches:
            history.commit(batch)
            for owned in owners:
                history.run(Feed(0, owned, memory))
            history.assert_at_head(history.specs[0])
