"""Rows of a spine and what happened to their entities, side by side: some whole entities at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa

from feature_repo.engine.past import Ints

ROWS_PER_CHUNK = 250_000
ROWS_PER_BATCH = 122_880

T = TypeVar("T")
R = TypeVar("R")

_ALL = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Chunk:
    """Some whole entities.

    Attributes
    ----------
    rows
        ``entity, instant, __row``, sorted by the first two.
    facts
        ``entity, ts`` and what else the query has, in its order.
    """

    rows: pa.Table
    facts: pa.Table

    @property
    def row_entity(self) -> Ints:
        """Entity of each row, counted from the first of the chunk."""
        return ints(self.rows, "entity") - self._first

    @property
    def entity(self) -> Ints:
        """Entity of each fact, counted alike."""
        return ints(self.facts, "entity") - self._first

    @property
    def _first(self) -> int:
        return int(self.rows["entity"][0].as_py()) if self.rows.num_rows else 0


def chunks(rows: pa.RecordBatchReader, facts: pa.RecordBatchReader, *, entities: int) -> Iterator[Chunk]:
    """Cut two streams, both sorted by ``entity``, into chunks of at most so many entities; the first may be empty.

    An entity is held as a whole: memory is bounded by a chunk, or by the largest entity.
    """
    sides = _Side(rows), _Side(facts)
    yield Chunk(rows.schema.empty_table(), facts.schema.empty_table())
    while not all(side.ended for side in sides):
        min(sides, key=lambda side: side.complete).read()
        if sum(side.held for side in sides) >= ROWS_PER_CHUNK:
            yield from _cut(*sides, min(side.complete for side in sides), entities)
    yield from _cut(*sides, _ALL, entities)


def in_threads(work: Callable[[T], R], items: Iterable[T], *, threads: int) -> Iterator[R]:
    """Yield the results of items in their order, some worked on at once; only as many are taken as that needs."""
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[R]] = deque()
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _cut(rows: _Side, facts: _Side, complete: int, entities: int) -> Iterator[Chunk]:
    while rows.held and rows.first <= complete:
        upto = min(complete, rows.first + entities - 1)
        yield Chunk(rows.taken(upto), facts.taken(upto))


class _Side:
    """What was read of one stream and not yet given out."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._reader = reader
        self._batches: list[pa.RecordBatch] = []
        self.ended = False

    @property
    def held(self) -> int:
        return sum(batch.num_rows for batch in self._batches)

    @property
    def first(self) -> int:
        return int(self._batches[0]["entity"][0].as_py())

    @property
    def complete(self) -> int:
        """The last entity of which nothing more can come."""
        if self.ended:
            return _ALL
        return int(self._batches[-1]["entity"][-1].as_py()) - 1 if self._batches else -_ALL

    def read(self) -> None:
        try:
            batch = self._reader.read_next_batch()
        except StopIteration:
            self.ended = True
        else:
            self._batches += [batch] if batch.num_rows else []

    def taken(self, upto: int) -> pa.Table:
        table = pa.Table.from_batches(self._batches, self._reader.schema)
        stop = int(np.searchsorted(ints(table, "entity"), upto, side="right")) if table.num_rows else 0
        self._batches = table.slice(stop).to_batches()
        return table.slice(0, stop).combine_chunks()


def ints(table: pa.Table, name: str) -> Ints:
    """Return a column without NULLs in numpy."""
    found: Ints = table[name].to_numpy().astype(np.int64, copy=False)
    return found


def unit(table: pa.Table, name: str) -> pa.Array:
    """Return a column as one array."""
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.nulls(0, column.type)])
