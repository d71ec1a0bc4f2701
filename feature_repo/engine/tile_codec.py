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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.core.errors import StoreUnavailableError
from feature_repo.engine.byte_columns import Column, fixed, joined, strings
from feature_repo.engine.monoids import NARROW, WIDE, Array, EntityMonoid, Ints, Monoid, Records, TileMonoid, runs
from feature_repo.engine.spec import CODEC_VERSION
from feature_repo.engine.splicing import Places, taken
from feature_repo.engine.state import NO_VERSION, Bools, State, StoredState, StoredTiles, Tiles


@dataclass(frozen=True)
class _Heads:
    """What the headers of states say, and where in each its records and then its entity states end."""

    layouts: Ints
    counts: Ints
    versions: Ints
    edges: tuple[Ints, ...]


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
        numbers = [("codec", "u1"), ("states", "u1"), ("layout", "u1"), ("zero", "u1"), ("tiles", "<u4")]
        self.header = np.dtype([*numbers, ("version", "<i8"), ("sizes", "<u4", (len(self.entity),))])
        self._widths = np.array([layout.itemsize for layout in self.layouts])
        self._nothing = self._header_of(1, NO_VERSION).tobytes()

    def of_arrow(self, entities: int, owner: Ints, tile: Ints, columns: dict[str, pa.Array]) -> State:
        """Return the state of lifted rows, any number per entity and tile, in any order.

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

    def encode(self, state: State, log_version: int | Ints) -> pa.Array:
        """Return the bytes of each entity's state (``large_binary``), all with one log version or each with its own."""
        tiles, narrow = state.tiles, self._narrow(state.entities, state.tiles)
        chosen = {NARROW: narrow[tiles.owner], WIDE: ~narrow[tiles.owner]}
        parts = {
            layout: (tiles.owner[mine], self._records(tiles[mine], layout))
            for layout, mine in chosen.items()
            if mine.any()
        }
        return self._joined(state.entities, log_version, parts, state.kept)

    def folded(self, held: StoredState, fresh: State, *, oldest: int, log_version: int) -> pa.Array:
        """Return the bytes of stored states with others folded in: of ``encode(live(merge(decoded, fresh)))``.

        A stored tile that nothing is added to is copied as it is.
        """
        spliced, narrow = self._spliced(held, fresh, oldest, log_version)
        if narrow.all():
            return spliced
        odd = held.only(~narrow)
        merged = self.live(self.merge(self.widened(odd), fresh.only(~narrow)), oldest)
        return pc.replace_with_mask(spliced, pa.array(~narrow), self.encode(merged, log_version))

    def stored(self, blobs: Sequence[bytes | None]) -> StoredState:
        """Return what the bytes of states hold, where there are any.

        Raises
        ------
        StoreUnavailableError
            A state was written by another codec, or is cut short.
        """
        whole = [self._nothing if blob is None else blob for blob in blobs]
        heads = self._heads(whole)
        edges = [edge.tolist() for edge in heads.edges]
        return StoredState(len(whole), self._parts(whole, heads, edges[0]), self._kept(whole, edges), heads.versions)

    def decode(self, blobs: Sequence[bytes | None]) -> tuple[State, Ints]:
        """Return the state of all entities, ready to be merged, and the log version of each.

        Raises
        ------
        StoreUnavailableError
            As :meth:`stored`.
        """
        stored = self.stored(blobs)
        return self.widened(stored), stored.versions

    def widened(self, stored: StoredState) -> State:
        """Return stored states ready to be merged."""
        nothing = tuple(np.zeros(0, each.working) for each in self.tiled)
        empty = Tiles(np.zeros(0, np.int64), np.zeros(0, np.int64), nothing)
        tiles = Tiles.joined([empty, *(self._widened(part) for part in stored.parts)])
        if len(stored.parts) > 1:
            tiles = tiles[np.argsort(tiles.owner, kind="stable")]
        return State(stored.entities, tiles, stored.kept)

    def _widened(self, part: StoredTiles) -> Tiles:
        states = tuple(each.fields[part.layout].widened(part.records[f"s{i}"]) for i, each in enumerate(self.tiled))
        return Tiles(np.repeat(part.entities, part.counts), part.records["tile"].astype(np.int64), states)

    def _spliced(self, held: StoredState, fresh: State, oldest: int, log_version: int) -> tuple[pa.Array, Bools]:
        """Fold into the states whose layout is and stays narrow; say which they are. The others mean nothing."""
        counts, narrow = np.zeros(held.entities, np.int64), np.ones(held.entities, bool)
        records = np.zeros(0, self.layouts[NARROW])
        for part in held.parts:
            if part.layout == NARROW:
                counts[part.entities], records = part.counts, part.records
            else:
                narrow[part.entities] = False
        tiles, stops = fresh.tiles, np.cumsum(counts)
        places = Places.among(records["tile"], (stops - counts)[tiles.owner], stops[tiles.owner], tiles.tile)
        tiles = self._added(tiles, records, places)
        narrow &= self._narrow(held.entities, tiles)
        owner = places.inserted(np.repeat(np.arange(held.entities), counts), tiles.owner)
        records = places.spliced(records, self._records(tiles, NARROW))
        seen = narrow[owner] & (records["tile"] >= oldest)
        kept = tuple(
            each.live(each.folded(*pair), oldest)
            for each, *pair in zip(self.entity, held.kept, fresh.kept, strict=True)
        )
        return self._joined(held.entities, log_version, {NARROW: (owner[seen], taken(records, seen))}, kept), narrow

    def _added(self, fresh: Tiles, records: Array, places: Places) -> Tiles:
        """Return fresh tiles, to each of which the stored one in its place was added."""
        if not places.same.any():
            return fresh
        same, at = places.same, places.at[places.same]
        pairs = np.arange(0, 2 * len(at), 2)
        states = []
        for i, (monoid, column) in enumerate(zip(self.tiled, fresh.states, strict=True)):
            found = column.copy()
            both = np.stack([monoid.fields[NARROW].widened(records[f"s{i}"][at]), column[same]], axis=1)
            found[same] = monoid.reduce(both.ravel(), pairs)
            states.append(found)
        return Tiles(fresh.owner, fresh.tile, tuple(states))

    def _narrow(self, entities: int, tiles: Tiles) -> Bools:
        """Whether each entity can have the narrow layout: every field of every tile fits."""
        fits = np.ones(len(tiles.owner), bool)
        for monoid, column in zip(self.tiled, tiles.states, strict=True):
            fits &= monoid.fields[NARROW].fits(column)
        narrow = np.ones(entities, bool)
        narrow[tiles.owner[~fits]] = False
        return narrow

    def _records(self, tiles: Tiles, layout: int) -> Array:
        records = np.empty(len(tiles.tile), self.layouts[layout])
        records["tile"] = tiles.tile
        for i, (monoid, column) in enumerate(zip(self.tiled, tiles.states, strict=True)):
            records[f"s{i}"] = monoid.fields[layout].narrowed(column)
        return records

    def _joined(
        self,
        entities: int,
        log_version: int | Ints,
        parts: Mapping[int, tuple[Ints, Array]],
        kept: Sequence[Records],
    ) -> pa.Array:
        """Join headers, records (with their owners) of each layout, and entity states."""
        heads, columns = self._header_of(entities, log_version), []
        for layout, (owner, records) in parts.items():
            counts = np.bincount(owner, minlength=entities)
            heads["tiles"] += counts.astype(np.uint32)
            heads["layout"][counts > 0] = layout
            columns.append(Column.of(strings(records.view(np.uint8), counts * self._widths[layout])))
        for i, (monoid, mine) in enumerate(zip(self.entity, kept, strict=True)):
            content, lengths = monoid.pack(mine)
            ends = np.append(0, np.cumsum(lengths))[np.searchsorted(mine.owner, np.arange(entities + 1))]
            heads["sizes"][:, i] = np.diff(ends)
            columns.append(Column.of(strings(np.frombuffer(content, np.uint8), np.diff(ends))))
        return joined(Column.concat(fixed(heads), *columns).pieces, entities)

    def _header_of(self, entities: int, log_version: int | Ints) -> Array:
        heads = np.zeros(entities, self.header)
        heads["codec"], heads["states"], heads["layout"] = CODEC_VERSION, len(self.entity), NARROW
        heads["version"] = log_version
        return heads

    def _parts(self, blobs: Sequence[bytes], heads: _Heads, ends: Sequence[int]) -> tuple[StoredTiles, ...]:
        start, parts = self.header.itemsize, []
        for layout in np.unique(heads.layouts).tolist():
            mine = np.flatnonzero(heads.layouts == layout)
            raw = b"".join([blobs[i][start : ends[i]] for i in mine.tolist()])
            parts.append(StoredTiles(layout, mine, heads.counts[mine], np.frombuffer(raw, self.layouts[layout])))
        return tuple(parts)

    def _kept(self, blobs: Sequence[bytes], edges: Sequence[Sequence[int]]) -> tuple[Records, ...]:
        return tuple(
            monoid.unpack([blob[start:end] for blob, start, end in zip(blobs, starts, ends, strict=True)])
            for monoid, (starts, ends) in zip(self.entity, pairwise(edges), strict=True)
        )

    def _heads(self, blobs: Sequence[bytes]) -> _Heads:
        size = self.header.itemsize
        lengths = np.fromiter(map(len, blobs), np.int64, len(blobs))
        if lengths.min(initial=size) < size:
            raise _unreadable(min(blobs, key=len))
        found = np.frombuffer(b"".join([blob[:size] for blob in blobs]), self.header)
        layouts, counts = found["layout"].astype(np.int64), found["tiles"].astype(np.int64)
        known = (found["codec"] == CODEC_VERSION) & (found["states"] == len(self.entity)) & (layouts <= NARROW)
        ends = size + counts * self._widths[np.minimum(layouts, NARROW)]
        edges = np.cumsum(np.column_stack([ends, found["sizes"]]), axis=1, dtype=np.int64)
        known &= edges[:, -1] == lengths
        if not known.all():
            raise _unreadable(blobs[int(np.argmin(known))])
        return _Heads(layouts, counts, found["version"].astype(np.int64), tuple(edges.T))

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
