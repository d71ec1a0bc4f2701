"""Whoever compacts, removes or erases rows while others write and read: no row is lost, doubled, or brought back."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from cursors import duckdb_cursor
from example_counts import examples
from feature_repo.events import removal, table_files, upkeep
from feature_repo.events.log import LogTable, Snapshot, read_snapshot
from feature_repo.events.removal import remove_rows
from feature_repo.events.schema import arrow_schema, log_table
from feature_repo.events.stream_table import StreamTable
from feature_repo.events.table_files import merge, merge_if_free
from feature_repo.events.table_head import load_table
from feature_repo.events.upkeep import tend
from stream_rows import DAY, NOW, arrivals, rows

KEPT_DAYS = 30
AGES = st.sampled_from([0, KEPT_DAYS, KEPT_DAYS + 1])
WRITE = st.one_of(
    st.tuples(st.just("commit"), st.integers(0, 1), AGES),
    st.tuples(st.just("import"), AGES),
    st.tuples(st.just("merge")),
)
STEP = st.one_of(
    WRITE,
    st.tuples(st.just("read")),
    st.tuples(st.just("again"), st.integers(0, 1)),
    # What comes between an upkeep's reading of the table and its commit.
    st.tuples(st.just("merge while"), WRITE | st.tuples(st.just("erase"), st.integers(0, 9))),
    st.tuples(st.just("retain while"), WRITE),
    st.tuples(st.just("erase while"), WRITE, st.integers(0, 9)),
)


def held(snapshot: Snapshot, above: int = -1) -> list[tuple[str, int]]:
    with duckdb_cursor() as connection:
        query = f"SELECT event_id, log_version FROM {snapshot.sql()} WHERE log_version > {above} ORDER BY ALL"
        return connection.sql(query).fetchall()


class Table:
    """A table with two consumers, who read a partition each, and what it has to hold: id -> (version, age)."""

    def __init__(self, home: Path) -> None:
        self.log: LogTable = log_table(home, "follow")
        self.log.ensure()
        self.path = self.log.path
        self.consumers = [StreamTable(self.path, arrow_schema("follow"), known_days=7) for _ in range(2)]
        self.rows: dict[str, tuple[int, int]] = {}
        self.sent: tuple[list, list] = ([], [])
        self.readers: list[tuple[Snapshot, list[tuple[str, int]]]] = []

    def do(self, step: tuple) -> None:
        match step:
            case ("commit", which, age):
                self.commit(which, age)
            case ("import", age):
                name = f"i{len(self.rows)}-{read_snapshot(self.path).version}."
                done = self.log.commit(rows([name], NOW - age * DAY))
                self.rows[name] = (done.version, age)
            case ("merge",):
                merge_if_free(self.path, 2**20)  # two at once would double every row
            case ("read",):
                self.readers.append((snapshot := read_snapshot(self.path), held(snapshot)))
            case ("again", which):
                self.again(which)
            case ("merge while", write):
                self.meanwhile(table_files, "load_table", write, lambda: merge(self.path, 2**20))
            case ("retain while", write):
                self.retain(write)
            case ("erase while", write, n):
                self.meanwhile(removal, "_commit", write, lambda: self.erase(n))
            case ("erase", n):
                self.erase(n)

    def commit(self, which: int, age: int) -> None:
        sent = self.sent[which]
        name, position = f"c{which}-{len(sent)}.", len(sent) + 1
        batch = arrivals([name], first=position, at=NOW - age * DAY, partition=which)
        done = self.consumers[which].commit(batch)
        assert (done.rows.num_rows, done.replayed, done.duplicates) == (1, 0, 0)
        self.rows[name] = (done.version, age)
        sent.append(batch)

    def again(self, which: int) -> None:
        """A consumer starts anew, and reads what was not acknowledged."""
        self.consumers[which] = StreamTable(self.path, arrow_schema("follow"), known_days=7)
        for batch in self.sent[which]:
            done = self.consumers[which].commit(batch)
            assert (done.rows.num_rows, done.replayed) == (0, 1)

    def meanwhile(self, module: object, name: str, write: tuple, work: Callable[[], object]) -> None:
        left = [write]
        with pytest.MonkeyPatch.context() as patch:
            real = getattr(module, name)

            def interrupted(*given: object) -> object:
                # Loading is followed by others' commit, and committing is preceded by it.
                loaded = real(*given) if name == "load_table" else None
                if left:
                    self.do(left.pop())
                return loaded if name == "load_table" else real(*given)

            patch.setattr(module, name, interrupted)
            work()

    def retain(self, write: tuple) -> None:
        before = NOW - KEPT_DAYS * DAY
        old = {name for name, (_, age) in self.rows.items() if age > KEPT_DAYS}
        self.meanwhile(upkeep, "load_table", write, lambda: tend(self.path, before_us=before))
        came = {name for name, (_, age) in self.rows.items() if age > KEPT_DAYS} - old
        left = {name for name, _ in held(read_snapshot(self.path))}
        self.rows = {name: row for name, row in self.rows.items() if name not in old | (came - left)}

    def erase(self, n: int) -> None:
        name = sorted(self.rows)[n % len(self.rows)] if self.rows else "nobody."
        remove_rows(self.path, name)
        self.rows.pop(name, None)

    def check(self) -> None:
        head = read_snapshot(self.path)
        assert held(head) == sorted((name, version) for name, (version, _) in self.rows.items())
        for snapshot, found in self.readers:
            assert held(snapshot) == found
        for above in {0, head.version // 2, head.version - 1}:
            for each in self.consumers:
                assert held(each.newer(above), above) == held(head, above)


@examples(15, seconds=28, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, min_size=3, max_size=10))
def test_upkeep_is_no_ones_concern_who_writes_or_reads(steps: list[tuple]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = Table(Path(folder))
        for step in steps:
            table.do(step)
            table.check()
        for which in (0, 1):
            table.again(which)
        tend(table.path, before_us=NOW - KEPT_DAYS * DAY)
        assert not [name for name, _ in held(read_snapshot(table.path)) if table.rows[name][1] > KEPT_DAYS]
        assert load_table(table.path).version() == read_snapshot(table.path).version
