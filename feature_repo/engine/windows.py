"""Values of windows that end now, from decoded state: numpy over all entities at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from feature_repo.engine.kernels import Kernel, Values
from feature_repo.engine.monoids import NARROW, WIDE, Array, EntityMonoid, Ints, StoredField, TileMonoid
from feature_repo.engine.spec import WindowedFeature
from feature_repo.engine.state import StoredState, StoredTiles
from feature_repo.engine.tile_codec import TileCodec
from feature_repo.engine.tiles import floor

Place = tuple[str, int]

_BEHIND = (1 << 31) - 1


@dataclass(frozen=True)
class _Field:
    """A tile state as one layout stores it: its place among those of a query, and its name in the records."""

    place: int
    name: str
    field: StoredField


@dataclass(frozen=True)
class _Alike:
    """Tile states that merge alike, which are merged at once, and the state of no events."""

    monoid: TileMonoid
    fields: tuple[_Field, ...]
    nothing: Array


@dataclass(frozen=True)
class _Asked:
    """Features of one kernel over the same tile states: which states, and of each feature its place and its window."""

    kernel: Kernel
    states: tuple[int, ...]
    features: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Windows:
    """How to compute features of one view from its state, worked out once.

    Attributes
    ----------
    hop
        Of the view's definition: windows begin at a multiple of it (us).
    stored_hop
        Of the tiles, which divides ``hop``.
    reaches
        How far back windows look (us), the longest first.
    tiled, entity
        The states that are needed: position among those of their kind, and the monoid.
    features
        Kernel of each feature, and where its merged states are.
    """

    hop: int
    stored_hop: int
    reaches: tuple[int, ...]
    tiled: tuple[tuple[int, TileMonoid], ...]
    entity: tuple[tuple[int, EntityMonoid, tuple[int, ...]], ...]
    features: tuple[tuple[Kernel, tuple[Place, ...]], ...]

    @classmethod
    def of(cls, features: Sequence[WindowedFeature], codec: TileCodec, *, hop: int, stored_hop: int) -> Windows:
        """Work out how to read features of states that a codec decodes."""
        reaches: dict[str, set[int]] = {}
        for feature in features:
            for monoid in feature.monoids:
                reaches.setdefault(monoid.key, set()).add(feature.reach)
        return cls(
            hop=hop,
            stored_hop=stored_hop,
            reaches=tuple(sorted({feature.reach for feature in features}, reverse=True)),
            tiled=tuple((i, each) for i, each in enumerate(codec.tiled) if each.key in reaches),
            entity=tuple(
                (i, each, tuple(reaches[each.key])) for i, each in enumerate(codec.entity) if each.key in reaches
            ),
            features=tuple(
                (feature.kernel, tuple((each.key, feature.reach) for each in feature.monoids)) for feature in features
            ),
        )

    def values(self, state: StoredState, at: int, rows: Ints | None = None) -> list[Values]:
        """Values of the features at instant ``at`` (us), each of shape ``[entities]``.

        An entity without events in a window has the value of no events, whether or not it was ever seen.

        Parameters
        ----------
        rows
            Which entity each element of the answer is about; None for all of them, in order.
        """
        sinces = {reach: floor(at - reach, self.hop) for reach in self.reaches}
        tiled = self._tiles(state, [since // self.stored_hop for since in sinces.values()])
        kept: dict[Place, Array] = {}
        for i, monoid, reaches in self.entity:
            for reach in reaches:
                kept[monoid.key, reach] = monoid.read(
                    state.kept[i], entities=state.entities, since=sinces[reach], hop=self.stored_hop, at=at
                )
        if rows is not None:
            tiled, kept = [each[rows] for each in tiled], {place: each[rows] for place, each in kept.items()}
        return self._values(tiled, kept, at)

    def _values(self, tiled: Sequence[Array], kept: dict[Place, Array], at: int) -> list[Values]:
        asked, others = self._asked
        found: dict[int, Values] = {}
        for each in asked:
            values = each.kernel.value([tiled[i] for i in each.states], at)
            data = list(values.data.T)
            valid = [None] * len(data) if values.valid is None else list(values.valid.T)
            for i, w in each.features:
                found[i] = Values(data[w], valid[w])
        for i in others:
            kernel, places = self.features[i]
            found[i] = kernel.value([self._state(tiled, kept, place) for place in places], at)
        return [found[i] for i in range(len(self.features))]

    def _state(self, tiled: Sequence[Array], kept: dict[Place, Array], place: Place) -> Array:
        key, reach = place
        return kept[place] if place in kept else tiled[self._places[key]][:, self.reaches.index(reach)]

    def _tiles(self, state: StoredState, firsts: list[int]) -> list[Array]:
        """Merged states of every window, ``[entities, windows]`` of each tile state.

        Windows that all end now are suffixes of one another: each tile is merged once, into the segment between the
        starts of two windows, and the segments then into windows.
        """
        if not self.tiled:
            return []
        parts = [self._part(part, firsts) for part in state.parts]
        if len(parts) == 1:
            return parts[0]
        merged = []
        for column, (_, monoid) in enumerate(self.tiled):
            whole = np.empty((state.entities, len(firsts)), monoid.working)
            for part, found in zip(state.parts, parts, strict=True):
                whole[part.entities] = found[column]
            merged.append(whole)
        return merged

    def _part(self, part: StoredTiles, firsts: list[int]) -> list[Array]:
        """Windows of each tile state, of the entities whose states have one layout."""
        bounds = _bounds(part, firsts)
        empty = bounds[:, :-1] == bounds[:, 1:]
        if not empty.any():
            empty = None
        found: list[Array] = [bounds] * len(self.tiled)
        for alike in self._alike[part.layout]:
            windows = _windows(alike, part.records, bounds, empty)
            for column, each in enumerate(alike.fields):
                found[each.place] = each.field.widened(windows[..., column])
        return found

    @cached_property
    def _alike(self) -> tuple[tuple[_Alike, ...], ...]:
        """By layout, the tile states that merge alike."""
        layouts = []
        for layout in (WIDE, NARROW):
            groups: dict[Any, list[tuple[TileMonoid, _Field]]] = {}
            for place, (i, monoid) in enumerate(self.tiled):
                field = monoid.fields[layout]
                alike = (monoid.merges_as, field.domain, repr(field.nothing))
                groups.setdefault(alike, []).append((monoid, _Field(place, f"s{i}", field)))
            layouts.append(
                tuple(
                    _Alike(group[0][0], tuple(each for _, each in group), np.array(group[0][1].field.nothing, alike[1]))
                    for alike, group in groups.items()
                )
            )
        return tuple(layouts)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {monoid.key: place for place, (_, monoid) in enumerate(self.tiled)}

    @cached_property
    def _asked(self) -> tuple[tuple[_Asked, ...], tuple[int, ...]]:
        """Features that read tile states alone, those together that one call can compute; and all others."""
        groups: dict[tuple[Kernel, tuple[int, ...]], list[tuple[int, int]]] = {}
        others = []
        for i, (kernel, places) in enumerate(self.features):
            if all(key in self._places for key, _ in places):
                states = tuple(self._places[key] for key, _ in places)
                groups.setdefault((kernel, states), []).append((i, self.reaches.index(places[0][1])))
            else:
                others.append(i)
        return tuple(_Asked(*of, tuple(features)) for of, features in groups.items()), tuple(others)


def _bounds(part: StoredTiles, firsts: list[int]) -> Ints:
    """Where each entity's windows start among the records, and where its records end: ``[entities, windows + 1]``."""
    place = np.arange(len(part.entities), dtype=np.int64) << 32
    # Behind every tile there can be, and before every tile of the next entity.
    wanted = np.array([*firsts, _BEHIND], np.int64)
    held = np.repeat(place, part.counts)
    held += part.records["tile"]
    found: Ints = held.searchsorted(place[:, None] + wanted)
    return found


def _windows(alike: _Alike, records: Array, bounds: Ints, empty: Array | None) -> Array:
    """Merge stored states into windows, ``[entities, windows, states]``, in the type they are merged in."""
    monoid, nothing = alike.monoid, alike.nothing
    states = np.empty((len(records) + 1, len(alike.fields)), nothing.dtype)
    for column, each in enumerate(alike.fields):
        states[:-1, column] = records[each.name]
    states[-1] = nothing  # a window that begins behind the last record begins here
    segments = monoid.reduce(states, bounds.ravel()).reshape(*bounds.shape, -1)[:, :-1]
    if empty is not None:
        segments[empty] = nothing
    return monoid.suffixes(segments)
