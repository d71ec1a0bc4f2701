"""State in memory and as bytes.

An entity's state of one view, all little-endian::

    u8 codec version | u8 entity states | 2 bytes zero | u32 tiles | i64 log version applied | u32 size * entity states
    { i32 tile | u32 or 8 bytes per field of a tile state } * tiles, oldest first
    bytes of each entity state

Fields and entity states stand in the order of their keys, four-byte fields first. Tile records of many entities decode
at once, as one numpy structured array, without Python objects per value.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from feature_repo.core.errors import DataError, StoreUnavailableError
from feature_repo.engine.monoids import EntityMonoid, Ints, Monoid, Records, TileMonoid, runs
from feature_repo.engine.spec import CODEC_VERSION

NO_VERSION = -1
_FOUR_BYTES = np.dtype("<u4")


@dataclass(frozen=True)
class State:
    """States of several entities of one view.

    Attributes
    ----------
    entities
        How many.
    tiles
        Records ``tile, s0, s1, ...``, ascending by owner and tile.
    kept
        Records of each entity monoid, ascending by owner.
    """

    entities: int
    tiles: Records
    kept: tuple[Records, ...]


class TileCodec:
    """Make, merge, encode and decode the states of one view.

    Parameters
    ----------
    monoids
        What the view keeps, in the order of their keys.
    """

    def __init__(self, monoids: Sequence[Monoid]) -> None:
        by_size = sorted(
            (each for each in monoids if isinstance(each, TileMonoid)), key=lambda each: each.stored != _FOUR_BYTES
        )
        self.monoids = tuple(monoids)
        self.tiled: tuple[TileMonoid, ...] = tuple(by_size)
        self.entity: tuple[EntityMonoid, ...] = tuple(each for each in monoids if isinstance(each, EntityMonoid))
        self.record = np.dtype([("tile", "<i4"), *((f"s{i}", each.stored) for i, each in enumerate(self.tiled))])
        self.header = struct.Struct(f"<BB2xIq{len(self.entity)}I")

    def of_arrow(self, entities: int, owner: Ints, tile: Ints, columns: dict[str, pa.Array]) -> State:
        """Return the state of lifted rows, one per entity, tile and commit, in any order.

        Parameters
        ----------
        columns
            Lifted states by the monoid's key, see ``engine.state_sql``.
        """
        data = np.empty(len(tile), self.record)
        data["tile"] = tile
        for i, monoid in enumerate(self.tiled):
            data[f"s{i}"] = _stored(monoid, monoid.of_arrow(columns[monoid.key]))
        kept = tuple(each.merge(each.of_arrow(columns[each.key], owner, tile)) for each in self.entity)
        return State(entities, self._merged(Records(owner, data)), kept)

    def merge(self, *states: State) -> State:
        """Fold states of the same entities into one; their order does not matter.

        Source: aggregations as commutative monoids, as in Chronon and in stream-processing textbooks.
        """
        kept = tuple(
            each.merge(Records.joined([state.kept[i] for state in states])) for i, each in enumerate(self.entity)
        )
        return State(states[0].entities, self._merged(Records.joined([state.tiles for state in states])), kept)

    def live(self, state: State, oldest: int) -> State:
        """Return what windows starting at tile ``oldest`` or later can still see."""
        kept = tuple(each.live(records, oldest) for each, records in zip(self.entity, state.kept, strict=True))
        return State(state.entities, state.tiles[state.tiles.data["tile"] >= oldest], kept)

    def encode(self, state: State, log_version: int) -> list[bytes]:
        """Return the bytes of each entity's state, all with the same log version."""
        edges = np.arange(state.entities + 1)
        tiles = np.searchsorted(state.tiles.owner, edges)
        bounds, contents = [(tiles * self.record.itemsize).tolist()], [state.tiles.data.tobytes()]
        for monoid, records in zip(self.entity, state.kept, strict=True):
            content, sizes = monoid.pack(records)
            ends = np.append(0, np.cumsum(sizes))
            bounds.append(ends[np.searchsorted(records.owner, edges)].tolist())
            contents.append(content)
        heads = zip(np.diff(tiles).tolist(), *(np.diff(each).tolist() for each in bounds[1:]), strict=True)
        pieces = [[raw[start:stop] for start, stop in pairwise(at)] for raw, at in zip(contents, bounds, strict=True)]
        return [
            self.header.pack(CODEC_VERSION, len(self.entity), count, log_version, *sizes) + b"".join(parts)
            for (count, *sizes), parts in zip(heads, zip(*pieces, strict=True), strict=True)
        ]

    def decode(self, blobs: Sequence[bytes | None]) -> tuple[State, Ints]:
        """Return the state of all entities, and the log version of each (``NO_VERSION`` where there is none).

        Raises
        ------
        StoreUnavailableError
            A state was written by another codec, or is cut short.
        """
        nothing = self.header.pack(CODEC_VERSION, len(self.entity), 0, NO_VERSION, *([0] * len(self.entity)))
        whole = [nothing if blob is None else blob for blob in blobs]
        heads = self._heads(whole)
        start, size = self.header.size, self.record.itemsize
        ends = start + heads[:, 2] * size
        raw = b"".join([blob[start:end] for blob, end in zip(whole, ends.tolist(), strict=True)])
        tiles = Records(np.repeat(np.arange(len(whole)), heads[:, 2]), np.frombuffer(raw, self.record))
        return State(len(whole), tiles, self._kept(whole, heads, ends)), heads[:, 3]

    def _kept(self, blobs: Sequence[bytes], heads: Ints, starts: Ints) -> tuple[Records, ...]:
        found = []
        for i, monoid in enumerate(self.entity):
            ends = starts + heads[:, 4 + i]
            places = zip(blobs, starts.tolist(), ends.tolist(), strict=True)
            found.append(monoid.unpack([blob[start:end] for blob, start, end in places]))
            starts = ends
        return tuple(found)

    def _heads(self, blobs: Sequence[bytes]) -> Ints:
        """Return codec, entity states, tiles, version and sizes of each state, all checked."""
        try:
            heads = np.array([self.header.unpack_from(blob) for blob in blobs], np.int64)
        except struct.error:
            raise _unreadable(next(blob for blob in blobs if len(blob) < self.header.size)) from None
        heads = heads.reshape(len(blobs), 4 + len(self.entity))
        sizes = self.header.size + heads[:, 2] * self.record.itemsize + heads[:, 4:].sum(axis=1)
        right = (heads[:, 0] == CODEC_VERSION) & (heads[:, 1] == len(self.entity))
        right &= sizes == np.fromiter(map(len, blobs), np.int64, len(blobs))
        if not right.all():
            raise _unreadable(blobs[int(np.argmin(right))])
        return heads

    def _merged(self, records: Records) -> Records:
        order = np.lexsort((records.data["tile"], records.owner))
        records = records[order]
        starts = runs(records.owner, records.data["tile"])
        if len(starts) == len(order):
            return records
        merged = records[starts]
        for i, monoid in enumerate(self.tiled):
            states = monoid.reduce(records.data[f"s{i}"].astype(monoid.working), starts)
            merged.data[f"s{i}"] = _stored(monoid, states)
        return merged


def _unreadable(blob: bytes) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"A state in Redis has codec {blob[0] if blob else 'none'} and {len(blob)} bytes, which this version does not "
        "read.",
        hint="rebuild it: `portrait jobs materialize --full`.",
    )


def _stored(monoid: TileMonoid, states: Any) -> Any:
    if monoid.stored == _FOUR_BYTES and len(states) and int(states.max()) > np.iinfo(np.uint32).max:
        raise DataError(
            f"State '{monoid.key}' counts {int(states.max()):,} events in one tile of one entity.",
            hint="key the view by more than this entity, or shorten its hop.",
        )
    return states
