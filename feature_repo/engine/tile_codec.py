"""Tile state in memory and as bytes.

An entity's state of one view is a header of 16 bytes and one record per tile that has events, oldest first::

    u8 codec version | 3 bytes zero | u32 number of tiles | i64 log version applied
    { i64 tile | 8 bytes per state column, in the order of their keys } * number of tiles

All little-endian. Records of many entities decode at once, as one numpy structured array, without Python objects per
value.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from feature_repo.core.errors import StoreUnavailableError
from feature_repo.engine.kernels import Array, Monoid, Values
from feature_repo.engine.spec import CODEC_VERSION, WindowedFeature
from feature_repo.engine.tiles import first_tile

HEADER = struct.Struct("<B3xIq")
NO_VERSION = -1

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tiles:
    """Tile states of several entities.

    Attributes
    ----------
    owner
        Position of the entity, ascending; shape ``[m]``.
    tile
        Tile index, ascending within an owner; shape ``[m]``.
    states
        One array of shape ``[m]`` per monoid.
    """

    owner: Ints
    tile: Ints
    states: tuple[Array, ...]

    def where(self, keep: npt.NDArray[np.bool_]) -> Tiles:
        """Return the rows for which ``keep`` is True."""
        return Tiles(self.owner[keep], self.tile[keep], tuple(state[keep] for state in self.states))


def merge(monoids: Sequence[Monoid], *parts: Tiles) -> Tiles:
    """Fold tiles of several sources into one tile per owner and index; the order of the sources does not matter.

    Source: aggregations as commutative monoids, as in Chronon and in stream-processing textbooks.
    """
    owner = np.concatenate([part.owner for part in parts])
    tile = np.concatenate([part.tile for part in parts])
    order = np.lexsort((tile, owner))
    owner, tile = owner[order], tile[order]
    first = np.ones(len(owner), bool)
    first[1:] = (owner[1:] != owner[:-1]) | (tile[1:] != tile[:-1])
    starts = np.flatnonzero(first)
    columns = [np.concatenate([part.states[i] for part in parts])[order] for i in range(len(monoids))]
    reduced = tuple(
        monoid.reduce(column, starts) if len(starts) else column
        for monoid, column in zip(monoids, columns, strict=True)
    )
    return Tiles(owner[starts], tile[starts], reduced)


class TileCodec:
    """Encode and decode the states of one view.

    Parameters
    ----------
    monoids
        State columns, in the order of their keys.
    """

    def __init__(self, monoids: Sequence[Monoid]) -> None:
        self.monoids = tuple(monoids)
        columns = [("tile", "<i8"), *((f"s{i}", f"<{monoid.kind}") for i, monoid in enumerate(self.monoids))]
        self.record = np.dtype(columns)

    def encode(self, tiles: Tiles, entities: int, log_version: int) -> list[bytes]:
        """Return the bytes of each of ``entities`` states, all with the same log version."""
        records = np.empty(len(tiles.tile), self.record)
        records["tile"] = tiles.tile
        for i, state in enumerate(tiles.states):
            records[f"s{i}"] = state
        raw, size = records.tobytes(), self.record.itemsize
        bounds = np.searchsorted(tiles.owner, np.arange(entities + 1)).tolist()
        return [
            HEADER.pack(CODEC_VERSION, stop - start, log_version) + raw[start * size : stop * size]
            for start, stop in pairwise(bounds)
        ]

    def decode(self, blobs: Sequence[bytes | None]) -> tuple[Tiles, Ints]:
        """Return the tiles of all states, and the log version of each (``NO_VERSION`` where there is no state).

        Raises
        ------
        StoreUnavailableError
            A state was written by another codec, or is cut short.
        """
        headers = [(0, 0, NO_VERSION) if blob is None else self._header(blob) for blob in blobs]
        counts = [count for _, count, _ in headers]
        records = np.frombuffer(b"".join([blob[HEADER.size :] for blob in blobs if blob is not None]), self.record)
        owner = np.repeat(np.arange(len(blobs), dtype=np.int64), counts)
        states = tuple(records[f"s{i}"] for i in range(len(self.monoids)))
        versions = np.array([version for _, _, version in headers], np.int64)
        return Tiles(owner, records["tile"], states), versions

    def _header(self, blob: bytes) -> tuple[int, int, int]:
        codec, count, version = HEADER.unpack_from(blob) if len(blob) >= HEADER.size else (-1, 0, 0)
        if codec != CODEC_VERSION or len(blob) != HEADER.size + count * self.record.itemsize:
            raise StoreUnavailableError(
                f"A state in Redis has codec {codec} and {len(blob)} bytes, which this version does not read.",
                hint="rebuild it: `portrait jobs materialize --full`.",
            )
        return codec, count, version


def window_values(
    features: Sequence[WindowedFeature], monoids: Sequence[Monoid], tiles: Tiles, *, entities: int, at: int, hop: int
) -> list[Values]:
    """Values of the features at instant ``at`` (us), each of shape ``[entities]``.

    An entity without tiles in a window has the value of no events, whether or not it was ever seen.
    """
    position = {monoid.key: i for i, monoid in enumerate(monoids)}
    merged: dict[tuple[str, int], Array] = {}
    for window in {feature.window for feature in features}:
        live = tiles.where(tiles.tile >= first_tile(at, window, hop))
        first = np.ones(len(live.owner), bool)
        first[1:] = live.owner[1:] != live.owner[:-1]
        starts = np.flatnonzero(first)
        needed = {monoid.key: monoid for feature in features if feature.window == window for monoid in feature.monoids}
        for key, monoid in needed.items():
            column = np.full(entities, monoid.identity, monoid.kind)
            if len(starts):
                column[live.owner[starts]] = monoid.reduce(live.states[position[key]], starts)
            merged[key, window] = column
    return [
        feature.kernel.value([merged[monoid.key, feature.window] for monoid in feature.monoids], at)
        for feature in features
    ]
