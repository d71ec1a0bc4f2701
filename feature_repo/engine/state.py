"""States of several entities of one view: as they are merged, and as they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from feature_repo.engine.monoids import Array, Ints, Records
from feature_repo.engine.splicing import taken

NO_VERSION = -1

Bools = npt.NDArray[np.bool_]


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

    def only(self, chosen: Bools) -> State:
        """Return the states of some entities, numbered anew."""
        kept = tuple(_only(records, chosen) for records in self.kept)
        return State(int(chosen.sum()), _only(self.tiles, chosen), kept)


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

    def only(self, chosen: Bools) -> StoredTiles:
        """Return the records of some entities, numbered anew."""
        mine = chosen[self.entities]
        numbers = (np.cumsum(chosen) - 1)[self.entities[mine]]
        records = taken(self.records, np.repeat(mine, self.counts))
        return StoredTiles(self.layout, numbers, self.counts[mine], records)


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

    def only(self, chosen: Bools) -> StoredState:
        """Return the states of some entities, numbered anew."""
        parts = tuple(part.only(chosen) for part in self.parts)
        kept = tuple(_only(records, chosen) for records in self.kept)
        return StoredState(int(chosen.sum()), parts, kept, self.versions[chosen])


_Owned = TypeVar("_Owned", Tiles, Records)


def _only(records: _Owned, chosen: Bools) -> _Owned:
    mine = records[chosen[records.owner]]
    return replace(mine, owner=(np.cumsum(chosen) - 1)[mine.owner])
