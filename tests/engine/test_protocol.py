"""Builders, appliers and readers that meet: each test is one interleaving that showed zeros or lost events once."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from feature_repo.core.clock import HOUR, SystemClock
from feature_repo.core.errors import LogError, NotMaterializedError, StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_redis, read_embedded, redis_answers
from feature_repo.engine import folds
from feature_repo.engine.entity_keys import entity_keys
from feature_repo.engine.positions import Layout, Position, Positions
from feature_repo.engine.spec import WindowedView, windowed_view_of
from feature_repo.engine.window_reader import ViewRead, WindowReader
from feature_repo.events.log import LogTable, read_snapshot
from feature_repo.jobs import services
from histories import BASE, Event, every_kernel_view, log_of
from test_online_equals_oracle import NOW, PROJECT, builder, commit, connection, online

pytestmark = pytest.mark.both_servers
__all__ = ["connection"]
EVENT = Event("u0", "a", BASE, 0, 3, 1.5)


@pytest.fixture
def history(tmp_path: Path) -> LogTable:
    return log_of(tmp_path / "h", [EVENT])


@pytest.fixture
def spec(tmp_path: Path, history: LogTable) -> WindowedView:
    return windowed_view_of(every_kernel_view(tmp_path / "h"))


def counted(client: Any, spec: WindowedView) -> Any:
    return online(client, spec, NOW)["u0"]["count_all_24h"]


def test_a_builder_that_slept_cannot_point_readers_back_at_a_retired_state(
    redis: Any, connection: Any, spec: WindowedView
) -> None:
    positions, head = Positions(redis, PROJECT), read_snapshot(spec.source_path)
    asleep = positions.intend(spec, head.table_id)
    builder(connection, redis).bring_to_head(spec)
    builder(connection, redis).bring_to_head(spec, full=True)
    with pytest.raises(StoreUnavailableError, match="Another run finished building"):
        positions.switch(asleep, Position(head.table_id, head.version))
    assert counted(redis, spec) == 1


def test_two_builders_of_one_state_both_end_well(redis: Any, connection: Any, spec: WindowedView) -> None:
    positions, head = Positions(redis, PROJECT), read_snapshot(spec.source_path)
    slower = positions.intend(spec, head.table_id)
    builder(connection, redis).bring_to_head(spec)
    positions.switch(slower, Position(head.table_id, head.version))
    assert counted(redis, spec) == 1


def test_an_applier_of_a_state_that_was_replaced_says_so(redis: Any, connection: Any, spec: WindowedView) -> None:
    builder(connection, redis).bring_to_head(spec)
    positions = Positions(redis, PROJECT)
    old = positions.serving(spec.name)
    builder(connection, redis).bring_to_head(spec, full=True)
    with pytest.raises(StoreUnavailableError, match="run the command again"):
        positions.advance(old, Position("t", 9))
    assert positions.position(spec.name, old.state_hash, old.generation) is None


class Interrupting:
    """A real client on which something happens right before its connection is borrowed."""

    def __init__(self, client: Any, happens: Any) -> None:
        self._client, self.happens = client, happens

    def __getattr__(self, name: str) -> Any:
        if name == "connection_pool" and self.happens:
            happens, self.happens = self.happens, None
            happens()
        return getattr(self._client, name)


def test_a_read_that_meets_a_finished_rebuild_is_repeated(redis: Any, connection: Any, spec: WindowedView) -> None:
    builder(connection, redis).bring_to_head(spec)
    reader = WindowReader(PROJECT)
    read = ViewRead(spec, spec.features, entity_keys(PROJECT, spec.join_keys, [pa.array(["u0"])]))
    expected = [values.data.tolist() for values in reader.read(redis, [read], NOW)[0]]
    client = Interrupting(redis, lambda: builder(connection, redis).bring_to_head(spec, full=True))
    assert [values.data.tolist() for values in reader.read(client, [read], NOW)[0]] == expected
    assert client.happens is None


def test_threads_share_a_reader_while_the_state_is_rebuilt_again_and_again(
    redis: Any, connection: Any, spec: WindowedView
) -> None:
    keeper = builder(connection, redis)
    keeper.bring_to_head(spec)
    reader, found, stop = WindowReader(PROJECT), [], threading.Event()
    read = ViewRead(spec, (spec.feature("count_all_24h"),), entity_keys(PROJECT, spec.join_keys, [pa.array(["u0"])]))

    def ask() -> None:
        while not stop.is_set():
            try:
                found.append(int(reader.read(redis, [read], NOW)[0][0].data[0]))
            except NotMaterializedError:  # replaced during each of several reads: told, not zero
                continue

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        keeper.bring_to_head(spec, full=True)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(found) == {1}


def test_a_state_of_other_keys_or_another_source_does_not_answer(
    tmp_path: Path, redis: Any, connection: Any, spec: WindowedView
) -> None:
    builder(connection, redis).bring_to_head(spec)
    by_place = windowed_view_of(every_kernel_view(tmp_path / "h", keys=("place", "user_id")))
    keys = entity_keys(PROJECT, by_place.join_keys, [pa.array(["a"]), pa.array(["u0"])])
    [found] = WindowReader(PROJECT).read(redis, [ViewRead(by_place, by_place.features, keys)], NOW)
    assert not any(values.valid.any() for values in found)


def restarted(settings: Settings) -> None:
    """Kill the embedded server and start it again, where it was."""
    server = read_embedded(settings)
    os.kill(server.pid, signal.SIGKILL)
    services.up(settings, SystemClock())
    assert read_embedded(settings).port == server.port


def without_last_bits(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Values to compare with: what fades may differ in its last bits, added in another order; else nothing."""
    return {
        user: {
            name: pytest.approx(value, rel=1e-15, abs=0) if name.startswith("decayed_") and value is not None else value
            for name, value in row.items()
        }
        for user, row in found.items()
    }


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("within", [False, True])
def test_a_run_whose_redis_is_killed_stops_and_the_next_ends_as_one_that_was_not_disturbed(
    tmp_path: Path,
    redis: Any,
    connection: Any,
    history: LogTable,
    spec: WindowedView,
    monkeypatch: pytest.MonkeyPatch,
    within: bool,
    full: bool,
) -> None:
    monkeypatch.setattr(folds, "ENTITIES_PER_CHUNK", 2)
    later = [Event(f"u{i % 9}", "ab"[i % 2], BASE + i * HOUR // 2, 0, i, i / 2) for i in range(12)]
    settings = Settings(home=tmp_path / "own", redis_url="")
    services.up(settings, SystemClock())

    def killed_midway(share: float) -> None:
        if 0.3 < share < 0.7 and within and not killed:
            killed.append(share)
            restarted(settings)

    try:
        with connect_redis(settings, same_server=True) as client:
            killed: list[float] = []
            builder(connection, client).bring_to_head(spec)
            commit(history, 1, later)
            if not within:
                restarted(settings)
            with pytest.raises(StoreUnavailableError, match="restarted while a job wrote"), redis_answers():
                builder(connection, client).bring_to_head(spec, full=full, progress=killed_midway)
            assert bool(killed) is within
        with connect_redis(settings, same_server=True) as client:
            builder(connection, client).bring_to_head(spec, full=full)
            builder(connection, redis).bring_to_head(spec)
            undisturbed = online(redis, spec, NOW)
            assert online(client, spec, NOW) == (undisturbed if full else without_last_bits(undisturbed))
            assert builder(connection, client).bring_to_head(spec).action == "at head"
    finally:
        services.down(settings)


def test_a_table_that_lost_commits_is_refused_rather_than_folded(
    tmp_path: Path, redis: Any, connection: Any, history: LogTable, spec: WindowedView
) -> None:
    commit(history, 1, [EVENT])
    builder(connection, redis).bring_to_head(spec)
    newest = max((tmp_path / "h" / "_delta_log").glob("*.json"))
    newest.rename(tmp_path / "kept.json")
    with pytest.raises(LogError, match="it has lost commits") as caught:
        builder(connection, redis).bring_to_head(spec)
    assert "materialize --full" in caught.value.hint
    assert counted(redis, spec) == 2
    assert builder(connection, redis).bring_to_head(spec, full=True).action == "built"
    assert counted(redis, spec) == 1


def test_a_layout_survives_its_text(spec: WindowedView) -> None:
    layout = Layout.of(spec, 3)
    assert Layout.load(layout.dump()) == layout


def test_a_plan_says_what_a_run_would_do_and_writes_nothing(
    redis: Any, connection: Any, history: LogTable, spec: WindowedView
) -> None:
    keeper = builder(connection, redis)
    plans = [keeper.plan(spec)]
    assert redis.dbsize() == 0
    keeper.bring_to_head(spec)
    plans.append(keeper.plan(spec))
    commit(history, 1, [EVENT, Event("u1", "a", BASE, 0, 3, 1.5)])
    plans += [keeper.plan(spec), keeper.plan(spec, full=True)]
    assert [(plan.action, plan.entities) for plan in plans] == [
        ("build", 1),
        ("at head", 0),
        ("apply", 2),
        ("build", 2),
    ]
    assert counted(redis, spec) == 1
