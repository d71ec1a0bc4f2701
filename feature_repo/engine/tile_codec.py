"""State in memory and as bytes.

An entity's state of one view, all little-endian::

    u8 codec version | u8 entity states | u8 layout | zero | u32 tiles | i64 log version applied | u32 size * states
    { i32 tile | a field per tile state } * tiles, oldest first
    bytes of each entity state

Fields and entity states stand in the order of their keys. Layout 0 has fields of four bytes (counts) and eight; layout
1, which is taken where every field fits, has counts of one byte, and numbers of four: integers, and floats that are
whole hundredths, as prices and their sums are. Tile records of many entities decode at once, as numpy arrays, without
Python objects per value.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import add
from typing import Any

import numpy as np
import pyarrow as pa

from feature_repo.core.errors import StoreUnavailableError
from feature_repo.engine.monoids import NARROW, WIDE, Array, EntityMonoid, Ints, Monoid, Records, TileMonoid, runs
from feature_repo.engine.spec import CODEC_VERSION

NO_VERSION = -1


@dataclass(frozen=True)
class Tiles:
    """Tile states of several entities, ascending by owner and tile.

    Attributes
    ----------
    owner, tile
        Position of the entity, and index of the tile, of each record; shape ``[m]``.
    states
        One array of shape ``[m]`` per tile monoid.
    """

    owner: Ints
    tile: Ints
    states: tuple[Array, ...]

    def __getitem__(self, chosen: Any) -> Tiles:
        """Return records by mask or by position."""
        return Tiles(self.owner[chosen], self.tile[chosen], tuple(state[chosen] for state in self.states))

    @classmethod
    def joined(cls, parts: Sequence[Tiles]) -> Tiles:
        """Return the records of all parts, in their order."""
        columns = zip(*(part.states for part in parts), strict=True)
        return cls(
            np.concatenate([part.owner for part in parts]),
            np.concatenate([part.tile for part in parts]),
            tuple(np.concatenate(column) for column in columns),
        )


@dataclass(frozen=True)
class State:
    """States of several entities of one view.

    Attributes
    ----------
    entities
        How many.
    tiles
        Their tiles.
    kept
        Records of each entity monoid, ascending by owner.
    """

    entities: int
    tiles: Tiles
    kept: tuple[Records, ...]


@dataclass(frozen=True)
class StoredTiles:
    """Tile records of the entities whose states have one layout, as they are stored.

    Attributes
    ----------
    entities
        Position of each entity, ascending.
    counts
        How many records each of them has.
    records
        Structured array ``tile, s0, s1, ...`` of the layout, entity by entity.
    """

    layout: int
    entities: Ints
    counts: Ints
    records: Array


@dataclass(frozen=True)
class StoredState:
    """States of several entities as they are stored: what is read, but not merged, needs no widening.

    Attributes
    ----------
    versions
        Log version of each state, ``NO_VERSION`` where there is none.
    """

    entities: int
    parts: tuple[StoredTiles, ...]
    kept: tuple[Records, ...]
    versions: Ints


class TileCodec:
    """Make, merge, encode and decode the states of one view.

    Parameters
    ----------
    monoids
        What the view keeps, in the order of their keys.
    """

    def __init__(self, monoids: Sequence[Monoid]) -> None:
        self.monoids = tuple(monoids)
        self.tiled: tuple[TileMonoid, ...] = tuple(each for each in monoids if isinstance(each, TileMonoid))
        self.entity: tuple[EntityMonoid, ...] = tuple(each for each in monoids if isinstance(each, EntityMonoid))
        self.layouts = tuple(
            np.dtype([("tile", "<i4"), *((f"s{i}", each.fields[layout].stored) for i, each in enumerate(self.tiled))])
            for layout in (WIDE, NARROW)
        )
        self.header = struct.Struct(f"<BBBxIq{len(self.entity)}I")
        self._known = (CODEC_VERSION, len(self.entity))
        self._sizes = tuple(layout.itemsize for layout in self.layouts)
        self._no_heads: list[tuple[int, ...]] = [()] * (5 + len(self.entity))
        self._nothing = self.header.pack(*self._known, NARROW, 0, NO_VERSION, *([0] * len(self.entity)))

    def of_arrow(self, entities: int, owner: Ints, tile: Ints, columns: dict[str, pa.Array]) -> State:
        """Return the state of lifted rows, one per entity, tile and commit, in any order.

        Parameters
        ----------
        columns
            Lifted states by the monoid's key, see ``engine.state_sql``.
        """
        lifted = Tiles(owner, tile, tuple(each.of_arrow(columns[each.key]) for each in self.tiled))
        kept = tuple(each.merge(each.of_arrow(columns[each.key], owner, tile)) for each in self.entity)
        return State(entities, self._merged(lifted), kept)

    def merge(self, *states: State) -> State:
        """Fold states of the same entities into one; their order does not matter.

        Source: aggregations as commutative monoids, as in Chronon and in stream-processing textbooks.
        """
        kept = tuple(
            each.merge(Records.joined([state.kept[i] for state in states])) for i, each in enumerate(self.entity)
        )
        return State(states[0].entities, self._merged(Tiles.joined([state.tiles for state in states])), kept)

    def live(self, state: State, oldest: int) -> State:
        """Return what windows starting at tile ``oldest`` or later can still see."""
        kept = tuple(each.live(records, oldest) for each, records in zip(self.entity, state.kept, strict=True))
        return State(state.entities, state.tiles[state.tiles.tile >= oldest], kept)

    def encode(self, state: State, log_version: int | Ints) -> list[bytes]:
        """Return the bytes of each entity's state, all with one log version or each with its own."""
        edges = np.arange(state.entities + 1)
        tiles = np.searchsorted(state.tiles.owner, edges)
        layout = self._fitting(state, tiles)
        raw = [self._records(state.tiles, each).tobytes() for each in (WIDE, NARROW)]
        widths = np.array(self._sizes)[layout]
        starts, stops = tiles[:-1] * widths, tiles[1:] * widths
        records = zip(layout.tolist(), starts.tolist(), stops.tolist(), strict=True)
        pieces, sizes = [[raw[which][start:stop] for which, start, stop in records]], []
        for monoid, kept in zip(self.entity, state.kept, strict=True):
            content, lengths = monoid.pack(kept)
            ends = np.append(0, np.cumsum(lengths))[np.searchsorted(kept.owner, edges)]
            pieces.append([content[start:stop] for start, stop in pairwise(ends.tolist())])
            sizes.append(np.diff(ends).tolist())
        versions = np.broadcast_to(log_version, state.entities).tolist()
        heads = zip(layout.tolist(), np.diff(tiles).tolist(), versions, *sizes, strict=True)
        return [
            self.header.pack(*self._known, which, count, version, *lengths) + b"".join(parts)
            for (which, count, version, *lengths), parts in zip(heads, zip(*pieces, strict=True), strict=True)
        ]

    def stored(self, blobs: Sequence[bytes | None]) -> StoredState:
        """Return what the bytes of states hold, where there are any.

        Raises
        ------
        StoreUnavailableError
            A state was written by another codec, or is cut short.
        """
        whole = [self._nothing if blob is None else blob for blob in blobs]
        layouts, counts, versions, edges = self._heads(whole)
        parts = self._parts(whole, layouts, counts, edges[0])
        return StoredState(len(whole), parts, self._kept(whole, edges), np.array(versions, np.int64))

    def decode(self, blobs: Sequence[bytes | None]) -> tuple[State, Ints]:
        """Return the state of all entities, ready to be merged, and the log version of each.

        Raises
        ------
        StoreUnavailableError
            As :meth:`stored`.
        """
        stored = self.stored(blobs)
        nothing = tuple(np.zeros(0, each.working) for each in self.tiled)
        empty = Tiles(np.zeros(0, np.int64), np.zeros(0, np.int64), nothing)
        tiles = Tiles.joined([empty, *(self._widened(part) for part in stored.parts)])
        if len(stored.parts) > 1:
            tiles = tiles[np.argsort(tiles.owner, kind="stable")]
        return State(stored.entities, tiles, stored.kept), stored.versions

    def _widened(self, part: StoredTiles) -> Tiles:
        states = tuple(each.fields[part.layout].widened(part.records[f"s{i}"]) for i, each in enumerate(self.tiled))
        return Tiles(np.repeat(part.entities, part.counts), part.records["tile"].astype(np.int64), states)

    def _fitting(self, state: State, edges: Ints) -> Ints:
        """Return the layout of each entity: the narrow one where every field of every tile fits."""
        fits = np.ones(len(state.tiles.owner), bool)
        for monoid, column in zip(self.tiled, state.tiles.states, strict=True):
            fits &= monoid.fields[NARROW].fits(column)
        misfits = np.append(0, np.cumsum(~fits))[edges]
        return np.where(np.diff(misfits) == 0, NARROW, WIDE)

    def _records(self, tiles: Tiles, layout: int) -> Array:
        records = np.empty(len(tiles.tile), self.layouts[layout])
        records["tile"] = tiles.tile
        for i, (monoid, column) in enumerate(zip(self.tiled, tiles.states, strict=True)):
            records[f"s{i}"] = monoid.fields[layout].narrowed(column)
        return records

    def _parts(
        self, blobs: Sequence[bytes], layouts: Sequence[int], counts: Sequence[int], ends: Sequence[int]
    ) -> tuple[StoredTiles, ...]:
        start, parts = self.header.size, []
        for layout in sorted(set(layouts)):
            mine = [i for i, each in enumerate(layouts) if each == layout]
            raw = b"".join([blobs[i][start : ends[i]] for i in mine])
            tiles = np.array([counts[i] for i in mine], np.int64)
            parts.append(StoredTiles(layout, np.array(mine), tiles, np.frombuffer(raw, self.layouts[layout])))
        return tuple(parts)

    def _kept(self, blobs: Sequence[bytes], edges: Sequence[Sequence[int]]) -> tuple[Records, ...]:
        return tuple(
            monoid.unpack([blob[start:end] for blob, start, end in zip(blobs, starts, ends, strict=True)])
            for monoid, (starts, ends) in zip(self.entity, pairwise(edges), strict=True)
        )

    def _heads(self, blobs: Sequence[bytes]) -> tuple[Sequence[int], Sequence[int], Sequence[int], list[Sequence[int]]]:
        """Return layout, tiles and version of each state, and where its records and then each entity state end."""
        try:
            heads = [*map(self.header.unpack_from, blobs)]
        except struct.error:
            raise _unreadable(min(blobs, key=len)) from None
        codecs, states, layouts, tiles, versions, *sizes = zip(*heads, strict=True) if heads else self._no_heads
        if set(zip(codecs, states, strict=True)) <= {self._known} and set(layouts) <= {WIDE, NARROW}:
            widths = map(self._sizes.__getitem__, layouts)
            edges: list[Sequence[int]] = [
                [self.header.size + n * width for n, width in zip(tiles, widths, strict=True)]
            ]
            for size in sizes:
                edges.append([*map(add, edges[-1], size)])
            if edges[-1] == [*map(len, blobs)]:
                return layouts, tiles, versions, edges
        raise _unreadable(next(blob for blob in blobs if not self._is_whole(blob)))

    def _is_whole(self, blob: bytes) -> bool:
        codec, states, layout, tiles, _, *sizes = self.header.unpack_from(blob)
        known = (codec, states) == self._known and layout in {WIDE, NARROW}
        return known and len(blob) == self.header.size + tiles * self._sizes[layout] + sum(sizes)

    def _merged(self, tiles: Tiles) -> Tiles:
        tiles = tiles[np.lexsort((tiles.tile, tiles.owner))]
        starts = runs(tiles.owner, tiles.tile)
        if len(starts) == len(tiles.owner):
            return tiles
        states = tuple(monoid.reduce(state, starts) for monoid, state in zip(self.tiled, tiles.states, strict=True))
        return Tiles(tiles.owner[starts], tiles.tile[starts], states)


def _unreadable(blob: bytes) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"A state in Redis has codec {blob[0] if blob else 'none'} and {len(blob)} bytes, which this version does not "
        "read.",
        hint="rebuild it: `portrait jobs materialize --full`.",
    )
