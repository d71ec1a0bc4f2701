"""Whatever comes between two commits, the log ends with each event once and says how far the stream was read."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from cursors import duckdb_cursor
from example_counts import examples
from feature_repo.core.errors import LogError
from feature_repo.events import stream_table
from feature_repo.events.log import LogTable, read_snapshot
from feature_repo.events.schema import arrow_schema, log_table
from feature_repo.events.stream.arrivals import Arrivals
from feature_repo.events.stream_table import Committed, StreamTable
from stream_rows import DAY, NOW, rows

# Two partitions; an event may stand in them more than once, and in an import too.
STREAM = [[f"e{n * 7 % 9}" for n in range(12)], [f"e{n * 5 % 8 + 6}" for n in range(12)]]
TIMES = {f"e{n}": NOW - (n % 3) * 20 * DAY for n in range(20)}

STEP = st.one_of(
    st.tuples(st.just("commit"), st.integers(0, 1), st.integers(0, 11), st.integers(1, 6), st.integers(0, 3)),
    st.tuples(st.just("import"), st.lists(st.integers(0, 19), max_size=4)),
    st.tuples(st.just("crash"), st.integers(0, 1)),
    st.tuples(st.just("compact")),
    st.tuples(st.just("checkpoint")),
    st.tuples(st.just("delete"), st.sampled_from([*TIMES, *(f"other{n}" for n in range(1, 15))])),
)


class Model:
    """What the table must hold: id -> version, and how far it says each partition was read.

    An id that a DELETE removed may come again, but only by an entry of the stream that was never committed.
    """

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.removed: set[str] = set()
        self.upto = {0: 0, 1: 0}
        self.recorded = {0: 0, 1: 0}

    def told(self, done: Committed, arrived: Arrivals, partition: int) -> None:
        ids = arrived.rows["event_id"].to_pylist()
        ahead = [n for n, at in zip(ids, arrived.position, strict=True) if at > self.recorded[partition]]
        assert done.replayed == len(ids) - len(ahead)
        assert done.duplicates == len(ahead) - done.rows.num_rows
        new = set(done.rows["event_id"].to_pylist())
        assert {*ahead} - self.versions.keys() - self.removed <= new <= {*ahead} - self.versions.keys()
        for row in done.rows.select(["event_id", "log_version"]).to_pylist():
            assert row["event_id"] not in self.versions
            assert row["log_version"] == done.version
            self.versions[row["event_id"]] = done.version
        if new:
            self.recorded[partition] = int(arrived.position.max())


def held(path: Path) -> dict[str, int]:
    snapshot = read_snapshot(path)
    with duckdb_cursor() as connection:
        found = connection.sql(f"SELECT event_id, log_version FROM {snapshot.sql()}").to_arrow_table().to_pylist()
    assert len({row["event_id"] for row in found}) == len(found)
    return {row["event_id"]: row["log_version"] for row in found}


def piece(partition: int, first: int, count: int) -> Arrivals:
    ids = STREAM[partition][first : first + count]
    table = pa.concat_tables([rows([name], TIMES[name]) for name in ids])
    positions = np.arange(first + 1, first + 1 + len(ids))
    return Arrivals(table, np.full(len(ids), partition), positions, {partition: f"stream-{partition}"})


@contextmanager
def failing(log: LogTable, when: int) -> Iterator[list[str]]:
    """0: nothing fails; 1: before the version is there; 2: behind it; 3: another writer comes first, and is named."""
    others = list[str]()
    with pytest.MonkeyPatch.context() as patch:
        left = [when]

        def broken(real: Callable[..., object]) -> Callable[..., object]:
            def write(*given: object, **named: object) -> object:
                how = left.pop() if left else 0
                if how == 1:
                    raise OSError("no space")
                if how == 3:
                    others.append(f"other{read_snapshot(log.path).version + 1}")
                    with pytest.MonkeyPatch.context() as unlocked:
                        unlocked.setattr("feature_repo.events.log.committing", lambda _: nullcontext())
                        log.commit(rows(others))
                written = real(*given, **named)
                if how == 2:
                    raise OSError("connection lost")
                return written

            return write

        for name in ("append_entry", "append"):
            patch.setattr(stream_table, name, broken(getattr(stream_table, name)))
        yield others


def opened(path: Path, own_entries: bool) -> StreamTable:
    return StreamTable(path, arrow_schema("follow"), known_days=7, own_entries=own_entries)


def committed(log: LogTable, table: StreamTable, model: Model, step: tuple[int, int, int, int]) -> None:
    partition, first, count, how = step
    first = min(first, model.upto[partition], 11)  # a reader starts at or before what it acknowledged
    arrived = piece(partition, first, count)
    try:
        with failing(log, how) as others:
            done = table.commit(arrived)
    except LogError:
        assert how == 1
        return
    model.told(done, arrived, partition)
    model.versions |= {name: int(name.removeprefix("other")) for name in others}
    model.upto[partition] = max(model.upto[partition], min(first + count, 12))
    told = DeltaTable(str(table.path)).transaction_version(f"stream-{partition}") or 0
    assert told == model.recorded[partition]


def step(log: LogTable, tables: list[StreamTable], model: Model, action: tuple, own: list[bool], number: int) -> None:
    match action:
        case ("commit", *rest):
            committed(log, tables[number % 2], model, tuple(rest))
        case ("import", numbers):
            for name in {f"e{n}" for n in numbers}:
                done = log.commit(rows([name], TIMES[name]))
                if done.rows:
                    assert name not in model.versions
                    model.versions[name] = done.version
        case ("crash", which):
            tables[which] = opened(log.path, own[which])
        case ("compact",):
            DeltaTable(str(log.path)).optimize.compact()
        case ("checkpoint",):
            forget_entries(log.path)
        case ("delete", name):
            DeltaTable(str(log.path)).delete(f"event_id = '{name}'")
            if model.versions.pop(name, None) is not None:
                model.removed.add(name)


def forget_entries(path: Path) -> None:
    """What an hour does to a table that has a checkpoint: entries before it are gone."""
    table = DeltaTable(str(path))
    table.create_checkpoint()
    for entry in (path / "_delta_log").glob("0*.json"):
        if int(entry.stem) < table.version():
            entry.unlink()


@examples(25, seconds=10, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, min_size=3, max_size=14), st.lists(st.booleans(), min_size=2, max_size=2))
def test_each_event_is_in_the_log_once_with_the_version_that_was_told(actions: list[tuple], own: list[bool]) -> None:
    """Whether a consumer writes its own entries or has `deltalake` write them is no difference to anybody."""
    with tempfile.TemporaryDirectory() as folder:
        log = log_table(Path(folder), "follow")
        log.ensure()
        tables, model = [opened(log.path, each) for each in own], Model()
        for number, action in enumerate(actions):
            step(log, tables, model, action, own, number)
            assert held(log.path) == model.versions
        for partition in (0, 1):
            committed(log, tables[0], model, (partition, model.upto[partition], 12, 0))
        assert held(log.path) == model.versions
        assert {*STREAM[0], *STREAM[1]} <= model.versions.keys() | model.removed


@pytest.mark.parametrize("own_entries", [True, False])
def test_an_entry_of_the_stream_whose_event_was_removed_does_not_bring_it_back(tmp_path: Path, own_entries: bool):
    log = log_table(tmp_path, "follow")
    log.ensure()
    first, arrived = opened(log.path, own_entries), piece(0, 0, 4)
    first.commit(arrived)
    DeltaTable(str(log.path)).delete("event_id = 'e0'")
    for again in (first, opened(log.path, own_entries)):
        done = again.commit(arrived)
        assert (done.rows.num_rows, done.replayed) == (0, 4)
    assert "e0" not in held(log.path)
