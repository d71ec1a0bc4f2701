"""Consumers read, sleep, wake up, die and come back among imports, builds, compactions and other definitions.

Whatever the order: once one of them has done what was left, the log holds every event once, and Redis what it says.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from example_counts import examples
from feature_repo.core.clock import SECOND, SystemClock
from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb, connect_redis
from feature_repo.definitions.browsing import user_views_live
from feature_repo.definitions.purchases import item_purchases, user_purchases
from feature_repo.engine.builder import StateBuilder
from feature_repo.engine.entity_keys import entity_keys
from feature_repo.engine.oracle import oracle_value
from feature_repo.engine.positions import Positions
from feature_repo.engine.spec import WindowedView, windowed_view_of
from feature_repo.engine.window_reader import ViewRead, WindowReader
from feature_repo.events.schema import arrow_schema, log_table, table_path
from feature_repo.events.stream.channel import Channel, Reader
from feature_repo.events.stream.open import open_channel
from feature_repo.events.stream.redis_channel import RedisReader
from feature_repo.events.stream_table import StreamTable
from feature_repo.events.table_files import merge
from feature_repo.events.upkeep import WHOLE_BYTES
from feature_repo.jobs.consuming.meter import Meter
from feature_repo.jobs.consuming.pipeline import Intake, Pipeline
from feature_repo.jobs.consuming.views import Fed
from own_shops import end_leases, import_rows
from shop_checks import assert_logged, assert_quarantined, close
from shop_stream import ITEMS, USERS, Traffic, pseudonym, rows_about
from test_interleavings import MeddledClient
from test_online_equals_oracle import KilledError

PROJECT = "interleaved"
VIEWS = (user_purchases, item_purchases, user_views_live)
KINDS = ("view", "purchase", "cart")
KEYS = {"user_id": [pseudonym(n) for n in range(USERS)], "item_id": [f"i{n}" for n in range(ITEMS)]}


def definitions() -> list[list[WindowedView]]:
    """All views by three definitions each: half of the features, and shorter tiles."""
    whole = [windowed_view_of(view) for view in VIEWS]
    half = [replace(view, features=view.features[::2]) for view in whole]
    return [whole, half, [replace(view, hop=view.hop // 5) for view in whole]]


@dataclass(frozen=True)
class Send:
    size: int


@dataclass(frozen=True)
class Read:
    """A consumer reads a batch, and then sleeps on it until it takes it."""

    who: int


@dataclass(frozen=True)
class Take:
    """A consumer takes the batch it has read, or what others committed; it may die before a command, or at its end."""

    who: int
    dies_before: int | None
    acknowledges: bool = True


@dataclass(frozen=True)
class Consume:
    """Something is sent, and a consumer reads it and takes it at once."""

    size: int
    take: Take


@dataclass(frozen=True)
class Lapse:
    """All leases come to their end: others may claim what somebody still believes to own."""


@dataclass(frozen=True)
class Import:
    size: int


@dataclass(frozen=True)
class Build:
    definition: int
    full: bool


@dataclass(frozen=True)
class Define:
    """A consumer sees another definition in the registry; the other does not yet."""

    who: int
    definition: int


@dataclass(frozen=True)
class Compact:
    pass


Who = st.integers(0, 1)
Definition = st.integers(0, 2)
Deaths = st.none() | st.integers(0, 14)
Takes = st.builds(Take, who=Who, dies_before=Deaths)
Consumes = st.builds(Consume, size=st.integers(1, 40), take=Takes)
Steps = st.lists(
    st.one_of(
        st.builds(Send, size=st.integers(1, 40)),
        st.builds(Read, who=Who),
        st.builds(Take, who=Who, dies_before=Deaths, acknowledges=st.booleans()),
        Takes,
        Consumes,
        Consumes,
        Consumes,
        st.builds(Lapse),
        st.builds(Lapse),
        st.builds(Import, size=st.integers(4, 20)),
        st.builds(Build, definition=Definition, full=st.booleans()),
        st.builds(Define, who=Who, definition=Definition),
        st.builds(Compact),
    ),
    min_size=6,
    max_size=24,
)


@dataclass
class Registry:
    """What a consumer knows of the views."""

    project: str = PROJECT
    fed: Fed = field(default_factory=Fed)

    def refresh(self) -> bool:
        """Nothing changes by itself."""
        return False

    def define(self, views: list[WindowedView]) -> None:
        """See other definitions."""
        windowed: dict[str, list[WindowedView]] = {}
        for view in views:
            windowed.setdefault(Path(view.source_path).name, []).append(view)
        self.fed = Fed(windowed)


class Actor:
    """A consumer that does one step when told to."""

    def __init__(self, settings: Settings, client: Any, name: str) -> None:
        self._settings, self._client, self._name = settings, client, name
        self._connection = connect_duckdb(settings)
        self.registry = Registry()
        self._reader: Reader | None = None
        self._waiting: Intake | None = None
        self._tables: dict[str, StreamTable] = {}
        self._dead: list[Reader] = []

    def close(self) -> None:
        """Give connections back."""
        self.forget()
        for reader in self._dead:
            reader.close()
        self._connection.close()

    def read(self) -> int:
        """Read a batch behind the last; one that waits is forgotten, as if the process had begun anew."""
        if self._waiting is not None or self._reader is None:
            self.forget()
            self._reader = RedisReader(self._settings, name=self._name, ttl_ms=60_000)
        self._waiting = Intake.of(self._reader, most=60, wait_s=0)
        return self._waiting.count

    def take(self, step: Take) -> None:
        """Take what was read."""
        batch, self._waiting = self._waiting, None
        if batch is None or self._reader is None:
            return

        def dies() -> None:
            raise KilledError

        command = 10**9 if step.dies_before is None else step.dies_before
        try:
            with self._pipeline(MeddledClient(self._client, command, dies)) as pipeline:
                if not batch.count:
                    pipeline.follow(batch.owned)
                    return
                upto = pipeline.take(batch)
            if step.acknowledges:
                self._reader.acknowledge(upto)
            else:
                self._die()
        except KilledError:
            self._die()

    def forget(self) -> None:
        """Give up what it owns."""
        if self._reader is not None:
            self._reader.close()
        self._reader = self._waiting = None

    def _die(self) -> None:
        # Its leases stay until they lapse.
        self._dead += [self._reader] if self._reader is not None else []
        self._reader, self._tables = None, {}

    @contextmanager
    def _pipeline(self, client: Any) -> Iterator[Pipeline]:
        pipeline = Pipeline(
            self._settings,
            SystemClock(),
            connection=self._connection,
            client=client,
            views=self.registry,  # type: ignore[arg-type]
            tables=self._tables,
            partitions=self._settings.partitions,
            meter=Meter(SystemClock().now_us()),
        )
        try:
            yield pipeline
        finally:
            pipeline.close()


class Story:
    """A shop, two consumers of it, and what is done to them."""

    def __init__(self, settings: Settings, client: Any, seed: int) -> None:
        self.settings, self.client = settings, client
        for kind in KINDS:
            log_table(settings.log_root, kind).ensure()
        self.traffic = Traffic(seed, settings.partitions)
        self.definitions = definitions()
        self.channel: Channel = open_channel(settings)
        self.actors = [Actor(settings, client, name) for name in ("a", "b")]
        for actor in self.actors:
            actor.registry.define(self.definitions[0])
        self.build(Build(0, full=False))

    def do(self, step: Any) -> None:
        now = SystemClock().now_us()
        match step:
            case Send(size):
                self.channel.send(self.traffic.batch(size, now))
            case Lapse():
                end_leases(self.settings)
            case Import(size):
                import_rows(self.settings.log_root, *self.traffic.rows(size, now))
            case Build():
                self.build(step)
            case Compact():
                for kind in KINDS:
                    merge(table_path(self.settings.log_root, kind), WHOLE_BYTES)
            case _:
                self._act(step)

    def _act(self, step: Any) -> None:
        match step:
            case Read(who):
                self.actors[who].read()
            case Take(who):
                self.actors[who].take(step)
            case Define(who, definition):
                self.actors[who].registry.define(self.definitions[definition])
            case Consume(size, take):
                self.do(Send(size))
                self.do(Read(take.who))
                self.do(take)

    def build(self, step: Build) -> None:
        with connect_duckdb(self.settings) as connection, suppress(StoreUnavailableError):
            for view in self.definitions[step.definition]:
                StateBuilder(connection, self.client, PROJECT, SystemClock()).bring_to_head(view, full=step.full)

    def end(self) -> None:
        """One consumer does what is left."""
        self.channel.send(self.traffic.rest())
        for actor in self.actors:
            actor.forget()
        end_leases(self.settings)
        last = self.actors[0]
        while last.read():
            last.take(Take(0, None))
        last.take(Take(0, None))
        last.forget()

    def close(self) -> None:
        """Give connections back."""
        self.channel.close()
        for actor in self.actors:
            actor.close()

    def assert_served_is_right(self) -> None:
        at = SystemClock().now_us() + SECOND
        for views in zip(*self.definitions, strict=True):
            layout = Positions(self.client, PROJECT).serving(views[0].name)
            assert layout is not None
            self._assert_is_oracle(next(each for each in views if each.state_hash == layout.state_hash), at)

    def _assert_is_oracle(self, view: WindowedView, at: int) -> None:
        [key] = view.join_keys
        entities = KEYS[key]
        read = ViewRead(view, view.features, entity_keys(PROJECT, view.join_keys, [pa.array(entities)]))
        [columns] = WindowReader(PROJECT).read(self.client, [read], at)
        kind = Path(view.source_path).name
        unsaid = dict.fromkeys(arrow_schema(kind).names)
        meant = [unsaid | row for row in self.traffic.good[kind].values()]
        for feature, values in zip(view.features, columns, strict=True):
            known = [True] * len(entities) if values.valid is None else values.valid.tolist()
            for entity, value, there in zip(entities, values.data.tolist(), known, strict=True):
                expected = oracle_value(view, feature, rows_about(meant, {key: entity}), at)
                assert close(value if there else None, expected), (view.name, feature.name, entity)


@examples(40, seconds=33, suppress_health_check=list(HealthCheck))
@given(steps=Steps, seed=st.integers(0, 10**6))
def test_no_order_of_what_happens_loses_or_doubles_an_event(
    settings: Settings, redis: Any, steps: list[Any], seed: int
) -> None:
    redis.flushall()
    shutil.rmtree(settings.home, ignore_errors=True)
    with connect_redis(settings) as client:
        story = Story(settings, client, seed)
        for step in steps:
            story.do(step)
        story.end()
        assert_logged(settings, story.traffic)
        if story.traffic.broken:
            assert_quarantined(settings, story.traffic)
        story.assert_served_is_right()
        story.build(Build(1, full=False))
        story.assert_served_is_right()
        story.close()
