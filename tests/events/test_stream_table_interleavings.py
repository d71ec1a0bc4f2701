"""Whatever comes between two commits, the log ends with each event once and says how far the stream was read."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    st.tuples(st.just("delete"), st.integers(0, 19)),
)


class Model:
    """What the table must hold: id -> version; ids a DELETE removed may come again only by what never came before."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.upto = {0: 0, 1: 0}

    def told(self, done: Committed) -> None:
        for row in done.rows.select(["event_id", "log_version"]).to_pylist():
            assert row["event_id"] not in self.versions
            assert row["log_version"] == done.version
            self.versions[row["event_id"]] = done.version


def held(path: Path) -> dict[str, int]:
    snapshot = read_snapshot(path)
    with duckdb.connect(config={"threads": 1}) as connection:
        found = connection.sql(f"SELECT event_id, log_version FROM {snapshot.sql()}").to_arrow_table().to_pylist()
    assert len({row["event_id"] for row in found}) == len(found)
    return {row["event_id"]: row["log_version"] for row in found}


def piece(partition: int, first: int, count: int) -> Arrivals:
    ids = STREAM[partition][first : first + count]
    table = pa.concat_tables([rows([name], TIMES[name]) for name in ids])
    positions = np.arange(first + 1, first + 1 + len(ids))
    return Arrivals(table, np.full(len(ids), partition), positions, {partition: f"stream-{partition}"})


@contextmanager
def failing(when: int) -> Iterator[None]:
    """0: nothing fails; 1: before the version is there; 2: behind it; 3: another writer comes first."""
    with pytest.MonkeyPatch.context() as patch:
        real, left = stream_table.append_entry, [when]

        def append_entry(path: Path, version: int, *others: object, **named: object) -> None:
            how = left.pop() if left else 0
            if how == 1:
                raise OSError("no space")
            if how == 3:
                patch.setattr("feature_repo.events.log.committing", lambda _: failing(0))
                LogTable(path, arrow_schema("follow")).commit(rows([f"other{version}"]))
            real(path, version, *others, **named)  # type: ignore[arg-type]
            if how == 2:
                raise OSError("connection lost")

        patch.setattr(stream_table, "append_entry", append_entry)
        yield


def opened(path: Path) -> StreamTable:
    return StreamTable(path, arrow_schema("follow"), known_days=7)


def committed(table: StreamTable, model: Model, partition: int, first: int, count: int, how: int) -> None:
    first = min(first, model.upto[partition])  # a reader starts at or before what it acknowledged
    try:
        with failing(how):
            done = table.commit(piece(partition, first, count))
    except LogError:
        assert how == 1
        return
    model.told(done)
    model.versions |= {k: v for k, v in held(table.path).items() if k.startswith("other")}
    model.upto[partition] = max(model.upto[partition], min(first + count, 12))
    upto = DeltaTable(str(table.path)).transaction_version(f"stream-{partition}") or 0
    assert upto <= model.upto[partition]


def step(log: LogTable, tables: list[StreamTable], model: Model, action: tuple, number: int) -> None:
    match action:
        case ("commit", partition, first, count, how):
            committed(tables[number % 2], model, partition, first, count, how)
        case ("import", numbers):
            for name in {f"e{n}" for n in numbers}:
                done = log.commit(rows([name], TIMES[name]))
                if done.rows:
                    assert name not in model.versions
                    model.versions[name] = done.version
        case ("crash", which):
            tables[which] = opened(log.path)
        case ("compact",):
            DeltaTable(str(log.path)).optimize.compact()
        case ("delete", number):
            # An erased event comes no more; here it is one the stream does not hold.
            DeltaTable(str(log.path)).delete(f"event_id = 'other{number}'")
            model.versions.pop(f"other{number}", None)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, min_size=3, max_size=14))
def test_each_event_is_in_the_log_once_with_the_version_that_was_told(actions: list[tuple]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = log_table(Path(folder), "follow")
        log.ensure()
        tables, model = [opened(log.path), opened(log.path)], Model()
        for number, action in enumerate(actions):
            step(log, tables, model, action, number)
            assert held(log.path) == model.versions
        for partition in (0, 1):
            committed(tables[0], model, partition, model.upto[partition], 12, 0)
        assert held(log.path) == model.versions
        assert {*STREAM[0], *STREAM[1]} <= model.versions.keys()
