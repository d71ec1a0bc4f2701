"""Values of windows that end now, from decoded state: numpy over all entities at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from feature_repo.engine.kernels import Kernel, Values
from feature_repo.engine.monoids import NARROW, WIDE, Array, EntityMonoid, Ints, StoredField, TileMonoid
from feature_repo.engine.spec import WindowedFeature
from feature_repo.engine.tile_codec import StoredState, StoredTiles, TileCodec
from feature_repo.engine.tiles import floor

Place = tuple[str, int]

_BEHIND = (1 << 31) - 1


@dataclass(frozen=True)
class _Grouped:
    """A tile state: its place among those of a query, its name in the records, and how it is merged and stored."""

    place: int
    name: str
    monoid: TileMonoid
    field: StoredField


_Group: TypeAlias = tuple[_Grouped, ...]


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

    def values(self, state: StoredState, at: int) -> list[Values]:
        """Values of the features at instant ``at`` (us), each of shape ``[entities]``.

        An entity without events in a window has the value of no events, whether or not it was ever seen.
        """
        sinces = {reach: floor(at - reach, self.hop) for reach in self.reaches}
        merged = self._tiles(state, [since // self.stored_hop for since in sinces.values()])
        for i, monoid, reaches in self.entity:
            for reach in reaches:
                merged[monoid.key, reach] = monoid.read(
                    state.kept[i], entities=state.entities, since=sinces[reach], hop=self.stored_hop, at=at
                )
        return [kernel.value([merged[place] for place in places], at) for kernel, places in self.features]

    def _tiles(self, state: StoredState, firsts: list[int]) -> dict[Place, Array]:
        """Merged tile states of every window.

        Windows that all end now are suffixes of one another: each tile is merged once, into the segment between the
        starts of two windows, and the segments then into windows.
        """
        if not self.tiled:
            return {}
        parts = [self._part(part, firsts) for part in state.parts]
        merged: dict[Place, Array] = {}
        for column, (_, monoid) in enumerate(self.tiled):
            windows = _scattered(state, [part[column] for part in parts], monoid.working, len(firsts))
            merged.update({(monoid.key, reach): windows[:, w] for w, reach in enumerate(self.reaches)})
        return merged

    def _part(self, part: StoredTiles, firsts: list[int]) -> list[Array]:
        """Windows of each tile state, of the entities whose states have one layout."""
        bounds = _bounds(part, firsts)
        found: list[Array] = [bounds] * len(self.tiled)
        for group in self._groups[part.layout]:
            windows = _windows(group, part.records, bounds)
            for column, each in enumerate(group):
                found[each.place] = each.field.widened(windows[..., column])
        return found

    @cached_property
    def _groups(self) -> tuple[tuple[_Group, ...], ...]:
        """By layout, the tile states that merge alike: they are merged at once."""
        layouts = []
        for layout in (WIDE, NARROW):
            groups: dict[Any, list[_Grouped]] = {}
            for place, (i, monoid) in enumerate(self.tiled):
                field = monoid.fields[layout]
                alike = (monoid.merges_as, field.domain, repr(field.nothing))
                groups.setdefault(alike, []).append(_Grouped(place, f"s{i}", monoid, field))
            layouts.append(tuple(tuple(group) for group in groups.values()))
        return tuple(layouts)


def _bounds(part: StoredTiles, firsts: list[int]) -> Ints:
    """Where each entity's windows start among the records, and where its records end: ``[entities, windows + 1]``."""
    place = np.arange(len(part.entities) + 1, dtype=np.int64) << 32
    # Behind every tile there can be, and before every tile of the next entity.
    wanted = np.array([*firsts, _BEHIND], np.int64)
    found: Ints = np.searchsorted((part.owner << 32) + part.records["tile"], place[:-1, None] + wanted)
    return found


def _windows(group: _Group, records: Array, bounds: Ints) -> Array:
    """Merge stored states into windows, ``[entities, windows, states]``, in the type they are merged in."""
    monoid, field = group[0].monoid, group[0].field
    states = np.empty((len(records), len(group)), field.domain)
    for column, each in enumerate(group):
        states[:, column] = records[each.name]
    nothing = np.array(field.nothing, field.domain)
    segments = np.full((bounds.size, len(group)), nothing)
    starts = bounds.ravel()
    starts = starts[: np.searchsorted(starts, len(records))]  # what begins behind the last record is empty
    if len(starts):
        segments[: len(starts)] = monoid.reduce(states, starts)
    segments = segments.reshape(*bounds.shape, len(group))[:, :-1]
    empty = bounds[:, :-1] == bounds[:, 1:]
    if empty.any():
        segments[empty] = nothing
    return monoid.suffixes(segments)


def _scattered(state: StoredState, windows: Sequence[Array], working: Any, width: int) -> Array:
    """Put the windows of each part's entities in their places."""
    if len(windows) == 1:
        return windows[0]
    whole = np.empty((state.entities, width), working)
    for part, found in zip(state.parts, windows, strict=True):
        whole[part.entities] = found
    return whole
