"""Values of windows that end now, from decoded state: numpy over all entities at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from feature_repo.engine.kernels import Kernel, Values
from feature_repo.engine.monoids import Array, EntityMonoid, Ints, StoredField, TileMonoid
from feature_repo.engine.spec import WindowedFeature
from feature_repo.engine.tile_codec import StoredState, StoredTiles, TileCodec
from feature_repo.engine.tiles import floor

Place = tuple[str, int]

_BEHIND = (1 << 31) - 1


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
        bounds = _bounds(part, firsts)
        none = bounds[:, :-1] == bounds[:, 1:]
        empty = none if none.any() else None
        return [
            _windows(monoid, monoid.fields[part.layout], part.records[f"s{i}"], bounds, empty)
            for i, monoid in self.tiled
        ]


def _bounds(part: StoredTiles, firsts: list[int]) -> Ints:
    """Where each entity's windows start among the records, and where its records end: ``[entities, windows + 1]``."""
    place = np.arange(len(part.entities) + 1, dtype=np.int64) << 32
    # Behind every tile there can be, and before every tile of the next entity.
    wanted = np.array([*firsts, _BEHIND], np.int64)
    found: Ints = np.searchsorted((part.owner << 32) + part.records["tile"], place[:-1, None] + wanted)
    return found


def _windows(monoid: TileMonoid, field: StoredField, states: Array, bounds: Ints, empty: Array | None) -> Array:
    """Merge stored states into windows, ``[entities, windows]``, and only then into the type they stand for."""
    starts = bounds.ravel()
    starts = starts[: np.searchsorted(starts, len(states))]  # what begins behind the last record is empty
    nothing = np.array(field.nothing, field.domain)
    segments = np.full(bounds.size, nothing)
    if len(starts):
        segments[: len(starts)] = monoid.reduce(states, starts, field.domain)
    segments = segments.reshape(bounds.shape)[:, :-1]
    if empty is not None:
        segments[empty] = nothing
    return field.widened(monoid.suffixes(segments))


def _scattered(state: StoredState, windows: Sequence[Array], working: Any, width: int) -> Array:
    """Put the windows of each part's entities in their places."""
    if len(windows) == 1:
        return windows[0]
    whole = np.empty((state.entities, width), working)
    for part, found in zip(state.parts, windows, strict=True):
        whole[part.entities] = found
    return whole
