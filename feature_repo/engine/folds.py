"""The log as chunks of entities to fold into state: sorted by DuckDB, which spills, and cut as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.engine.entity_keys import entity_keys
from feature_repo.engine.monoids import Ints
from feature_repo.engine.spec import WindowedView
from feature_repo.engine.state import NO_VERSION, State
from feature_repo.engine.state_sql import tiles_sql
from feature_repo.engine.tile_codec import TileCodec

ENTITIES_PER_CHUNK = 2_000
ROWS_PER_BATCH = 50_000

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Fold:
    """Rows of some entities: one per entity, tile and log version.

    Attributes
    ----------
    keys
        Redis keys of the entities.
    owner, tile, version
        Of each row; ``owner`` is a position in ``keys``, ascending.
    columns
        Lifted states by the monoid's key.
    """

    keys: list[bytes]
    owner: Ints
    tile: Ints
    version: Ints
    columns: dict[str, pa.Array]

    def state(self, codec: TileCodec) -> State:
        """Return the state of all rows."""
        return codec.of_arrow(len(self.keys), self.owner, self.tile, self.columns)

    def newer(self, pending: Ints, versions: Ints) -> Fold:
        """Return the rows of the pending entities (positions) that states of these log versions do not hold."""
        place = np.full(len(self.keys), NO_VERSION, np.int64)
        place[pending] = np.arange(len(pending))
        owner = place[self.owner]
        keep = (owner >= 0) & (self.version > versions[owner])
        chosen = pa.array(keep)
        columns = {key: column.filter(chosen) for key, column in self.columns.items()}
        keys = [self.keys[i] for i in pending.tolist()]
        return Fold(keys, owner[keep], self.tile[keep], self.version[keep], columns)


def folds(
    connection: duckdb.DuckDBPyConnection,
    view: WindowedView,
    source: str,
    *,
    project: str,
    since: int,
    versions: tuple[int, int],
    progress: Progress,
) -> Iterator[Fold]:
    """Yield the entities that have rows of a DuckDB relation, in chunks.

    Rows with ``versions[0] < log_version <= versions[1]`` and ``since <= event_timestamp`` (us) are folded. Memory is
    DuckDB's bound and one chunk, however many entities there are.
    """
    query = tiles_sql(view, source=source, since=since, versions=versions)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE folds AS {query}")
    [(total,)] = connection.execute("SELECT count(*) FROM folds").fetchall()
    keys = [f"k{i}" for i in range(len(view.join_keys))]
    done = 0
    for rows in _whole_entities(connection.sql(f"FROM folds ORDER BY {', '.join(keys)}"), keys):
        for fold in _chunks(view, rows, keys, project, most=ENTITIES_PER_CHUNK):
            yield fold
            done += len(fold.owner)
            progress(done / total)
    connection.execute("DROP TABLE folds")


def fold_of(
    connection: duckdb.DuckDBPyConnection,
    view: WindowedView,
    source: str,
    *,
    project: str,
    since: int,
    versions: tuple[int, int],
) -> Fold | None:
    """Return what :func:`folds` yields, of a DuckDB relation and at once; None where there are no rows."""
    keys = [f"k{i}" for i in range(len(view.join_keys))]
    query = tiles_sql(view, source=source, since=since, versions=versions)
    rows = connection.sql(f"FROM ({query}) ORDER BY {', '.join(keys)}").to_arrow_table()
    if not rows.num_rows:
        return None
    [fold] = _chunks(view, rows.combine_chunks(), keys, project, most=rows.num_rows)
    return fold


def _whole_entities(relation: Any, keys: list[str]) -> Iterator[pa.Table]:
    """Yield batches that end where an entity ends."""
    held: pa.Table | None = None
    for batch in relation.to_arrow_reader(ROWS_PER_BATCH):
        rows = pa.Table.from_batches([batch])
        rows = (rows if held is None else pa.concat_tables([held, rows])).combine_chunks()
        last = int(_starts(rows, keys)[-1])
        if last:
            yield rows.slice(0, last)
        held = rows.slice(last)
    if held is not None:
        yield held.combine_chunks()


def _chunks(view: WindowedView, rows: pa.Table, keys: list[str], project: str, *, most: int) -> Iterator[Fold]:
    starts = _starts(rows, keys)
    edges = np.append(starts, rows.num_rows)
    for first in range(0, len(starts), most):
        chosen = starts[first : first + most]
        end = int(edges[first + len(chosen)])
        chunk = rows.slice(int(chosen[0]), end - int(chosen[0])).combine_chunks()
        firsts = chunk.take(pa.array(chosen - chosen[0]))
        lengths = np.diff(np.append(chosen, end))
        yield Fold(
            keys=entity_keys(project, view.join_keys, [firsts[key] for key in keys]),
            owner=np.repeat(np.arange(len(chosen), dtype=np.int64), lengths),
            tile=_ints(chunk, "tile"),
            version=_ints(chunk, "version"),
            columns={monoid.key: _array(chunk, f"s{i}") for i, monoid in enumerate(view.monoids)},
        )


def _starts(rows: pa.Table, keys: list[str]) -> Ints:
    first = np.ones(rows.num_rows, bool)
    first[1:] = False
    for key in keys:
        column = _array(rows, key)
        first[1:] |= pc.not_equal(column.slice(1), column.slice(0, len(column) - 1)).to_numpy(zero_copy_only=False)
    return np.flatnonzero(first)


def _array(rows: pa.Table, name: str) -> pa.Array:
    column = rows[name]
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _ints(rows: pa.Table, name: str) -> Ints:
    found: Ints = _array(rows, name).to_numpy(zero_copy_only=False).astype(np.int64)
    return found
