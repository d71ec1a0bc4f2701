"""Bring the state of a windowed view in Redis to the log's head: build it, or fold in what was committed since."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from feature_repo.core.clock import Clock
from feature_repo.core.errors import LogError, StoreUnavailableError
from feature_repo.engine.entity_keys import entity_keys, entity_pattern
from feature_repo.engine.positions import Layout, Position, Positions
from feature_repo.engine.redis_writer import RedisWriter, remove_fields
from feature_repo.engine.sources import located
from feature_repo.engine.spec import WindowedView
from feature_repo.engine.state_sql import tiles_sql
from feature_repo.engine.tile_codec import NO_VERSION, Ints, TileCodec, Tiles, merge
from feature_repo.engine.tiles import first_tile
from feature_repo.events.log import Snapshot, read_snapshot

ENTITIES_PER_CHUNK = 2_000
MAX_MERGE_ATTEMPTS = 50
EVERYTHING = -1

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Materialized:
    """What bringing a view to the head did.

    Attributes
    ----------
    view
        View name.
    action
        ``"built"``, ``"applied"`` or ``"at head"``.
    version
        Log version the state holds now.
    entities
        Entities written.
    """

    view: str
    action: str
    version: int
    entities: int


@dataclass(frozen=True)
class _Fold:
    """A chunk of entities with their tiles, and the log version of each tile's rows."""

    keys: list[bytes]
    tiles: Tiles
    versions: Ints


class StateBuilder:
    """Keeps states of windowed views.

    Parameters
    ----------
    connection
        DuckDB, bounded by the settings.
    client
        Redis, replies as bytes.
    project
        Feast project: part of every key.
    clock
        Decides which tiles are too old to keep.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, client: Any, project: str, clock: Clock) -> None:
        self._connection = connection
        self._client = client
        self._project = project
        self._clock = clock
        self._positions = Positions(client, project)
        self._writer = RedisWriter(client)

    def bring_to_head(
        self, view: WindowedView, *, full: bool = False, progress: Progress = lambda _: None
    ) -> Materialized:
        """Fold every committed row into the view's state, once.

        A view without a state of its definition, or whose table was recreated, is built; so is any view if ``full``.
        Readers see the old state until the new one is whole. Running it again, or after a kill, changes nothing that
        it should not.
        """
        snapshot = read_snapshot(located(view.source_path))
        layout = self._positions.serving(view.name)
        held = self._held(view, layout)
        if full or layout is None or held is None or held.table_id != snapshot.table_id:
            return self._build(view, snapshot, progress)
        refuse_backwards(held, Position(snapshot.table_id, snapshot.version), view.source_path)
        if held.version == snapshot.version:
            return Materialized(view.name, "at head", held.version, 0)
        return self._apply(view, layout, held, snapshot, progress)

    def _held(self, view: WindowedView, layout: Layout | None) -> Position | None:
        if layout is None or layout.state_hash != view.state_hash:
            return None
        return self._positions.position(view.name, layout.state_hash, layout.generation)

    def _build(self, view: WindowedView, snapshot: Snapshot, progress: Progress) -> Materialized:
        build = self._positions.intend(view, snapshot.table_id)
        codec = TileCodec(view.monoids)
        retired = self._positions.retired(view.name)
        written = 0
        for fold in self._folds(view, snapshot, EVERYTHING, progress):
            states = codec.encode(fold.tiles, len(fold.keys), snapshot.version)
            self._writer.build(fold.keys, build.layout.field, snapshot.version, states, retired)
            written += len(fold.keys)
        self._positions.switch(build, Position(snapshot.table_id, snapshot.version))
        self.retire(view)
        return Materialized(view.name, "built", snapshot.version, written)

    def _apply(
        self, view: WindowedView, layout: Layout, held: Position, snapshot: Snapshot, progress: Progress
    ) -> Materialized:
        retired = self._positions.retired(view.name)
        written = 0
        for fold in self._folds(view, snapshot, held.version, progress):
            self._merge(view, layout, fold, snapshot.version, retired)
            written += len(fold.keys)
        self._positions.advance(layout, Position(snapshot.table_id, snapshot.version))
        return Materialized(view.name, "applied", snapshot.version, written)

    def _merge(self, view: WindowedView, layout: Layout, fold: _Fold, head: int, retired: list[bytes]) -> None:
        """Merge a fold into the states it belongs to; rows a state holds already are left out, by its header."""
        codec = TileCodec(view.monoids)
        oldest = self._oldest_tile(view)
        pending = np.arange(len(fold.keys))
        for _ in range(MAX_MERGE_ATTEMPTS):
            keys = [fold.keys[i] for i in pending.tolist()]
            held, versions = codec.decode(self._read(keys, layout.field))
            fresh = _chosen(fold, pending, versions)
            merged = merge(view.monoids, held, fresh)
            states = codec.encode(merged.where(merged.tile >= oldest), len(keys), head)
            stale = versions < head
            taken = np.ones(len(keys), bool)
            chosen = np.flatnonzero(stale).tolist()
            taken[stale] = self._writer.merge(
                [keys[i] for i in chosen],
                layout.field,
                [int(versions[i]) for i in chosen],
                [states[i] for i in chosen],
                retired,
            )
            pending = pending[~taken]
            if not len(pending):
                return
        raise StoreUnavailableError(
            f"View '{view.name}': other writers changed the same shoppers {MAX_MERGE_ATTEMPTS} times in a row.",
            hint="run the command again; nothing is lost or doubled.",
        )

    def retire(self, view: WindowedView) -> None:
        """Remove states of earlier definitions and generations, from entities that were not written since."""
        retired = self._positions.retired(view.name)
        if retired:
            remove_fields(self._client, entity_pattern(self._project, view.join_keys), retired)
        for field in retired:
            self._positions.forget(field)

    def _read(self, keys: list[bytes], field: bytes) -> list[bytes | None]:
        with self._client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hget(key, field)
            found: list[bytes | None] = pipe.execute()
        return found

    def _folds(self, view: WindowedView, snapshot: Snapshot, above: int, progress: Progress) -> Iterator[_Fold]:
        query = tiles_sql(
            view,
            source=snapshot.sql(),
            since_tile=self._oldest_tile(view),
            versions=(above, snapshot.version),
        )
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE folds AS {query}")
        [(total,)] = self._connection.execute("SELECT count(*) FROM folds").fetchall()
        done = 0
        for batch in self._connection.sql("FROM folds").to_arrow_reader(ENTITIES_PER_CHUNK):
            yield _fold_of(view, batch, self._project)
            done += batch.num_rows
            progress(done / total)
        self._connection.execute("DROP TABLE folds")

    def _oldest_tile(self, view: WindowedView) -> int:
        return first_tile(self._clock.now_us(), view.retention, view.hop)


def refuse_backwards(held: Position, head: Position, path: str) -> None:
    """Refuse to go on from a table that has lost commits Redis holds.

    Raises
    ------
    LogError
        The head is behind.
    """
    if head.version < held.version:
        raise LogError(
            f"Table '{PurePath(path).name}' is at version {head.version}, but Redis holds it up to {held.version}: "
            "it has lost commits.",
            hint="restore the table from a backup; if what is there is all there is, run "
            "`portrait jobs materialize --full`.",
        )


def _fold_of(view: WindowedView, batch: pa.RecordBatch, project: str) -> _Fold:
    keys = entity_keys(project, view.join_keys, [batch.column(i) for i in range(len(view.join_keys))])
    counts = batch.column("tile").value_lengths().to_numpy(zero_copy_only=False)
    owner = np.repeat(np.arange(batch.num_rows, dtype=np.int64), counts)
    states = tuple(_flat(batch, f"s{i}").astype(monoid.kind) for i, monoid in enumerate(view.monoids))
    return _Fold(keys, Tiles(owner, _flat(batch, "tile"), states), _flat(batch, "version").astype(np.int64))


def _flat(batch: pa.RecordBatch, name: str) -> Any:
    return batch.column(name).flatten().to_numpy(zero_copy_only=False)


def _chosen(fold: _Fold, pending: Any, versions: Ints) -> Tiles:
    """Tiles of the pending entities, renumbered, without rows their states hold already."""
    place = np.full(len(fold.keys), NO_VERSION, np.int64)
    place[pending] = np.arange(len(pending))
    owner = place[fold.tiles.owner]
    known = np.where(owner >= 0, versions[owner], np.iinfo(np.int64).max)
    keep = fold.versions > known
    return Tiles(owner, fold.tiles.tile, fold.tiles.states).where(keep)
