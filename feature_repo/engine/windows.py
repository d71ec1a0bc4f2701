"""Values of windows that end now, from decoded state: numpy over all entities at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from feature_repo.engine.kernels import Values
from feature_repo.engine.monoids import Array, EntityMonoid, Records, TileMonoid
from feature_repo.engine.spec import WindowedFeature
from feature_repo.engine.tile_codec import State, TileCodec
from feature_repo.engine.tiles import floor

Merged = dict[tuple[str, int], Array]


def window_values(
    features: Sequence[WindowedFeature], codec: TileCodec, state: State, *, at: int, hop: int, stored_hop: int
) -> list[Values]:
    """Values of the features at instant ``at`` (us), each of shape ``[entities]``.

    An entity without events in a window has the value of no events, whether or not it was ever seen.

    Parameters
    ----------
    hop
        Of the view's definition: windows begin at a multiple of it.
    stored_hop
        Of the tiles, which divides ``hop``.
    """
    reaches = sorted({feature.reach for feature in features}, reverse=True)
    sinces = {reach: floor(at - reach, hop) for reach in reaches}
    needed = {monoid.key for feature in features for monoid in feature.monoids}
    merged = _tiled(codec, state, needed, {reach: since // stored_hop for reach, since in sinces.items()})
    for monoid, records in zip(codec.entity, state.kept, strict=True):
        for reach in _reaches(features, monoid):
            merged[monoid.key, reach] = monoid.read(
                records, entities=state.entities, since=sinces[reach], hop=stored_hop, at=at
            )
    return [
        feature.kernel.value([merged[monoid.key, feature.reach] for monoid in feature.monoids], at)
        for feature in features
    ]


def _reaches(features: Sequence[WindowedFeature], monoid: EntityMonoid) -> set[int]:
    return {feature.reach for feature in features if monoid.key in {each.key for each in feature.monoids}}


def _tiled(codec: TileCodec, state: State, needed: set[str], firsts: dict[int, int]) -> Merged:
    """Merged tile states of every window, longest window first in ``firsts``.

    Windows that all end now are suffixes of one another: each tile is merged once, into the segment between the
    starts of two windows, and the segments then into windows.
    """
    chosen = [(i, monoid) for i, monoid in enumerate(codec.tiled) if monoid.key in needed]
    if not chosen:
        return {}
    bounds = _bounds(state.tiles, state.entities, np.array(list(firsts.values()), np.int64))
    empty = bounds[:, :-1] == bounds[:, 1:]
    merged: Merged = {}
    for i, monoid in chosen:
        windows = monoid.suffixes(_segments(monoid, state.tiles.data[f"s{i}"], bounds, empty))
        merged.update({(monoid.key, reach): windows[:, w] for w, reach in enumerate(firsts)})
    return merged


def _bounds(tiles: Records, entities: int, firsts: Array) -> Array:
    """Where each entity's windows start among the records, and where its records end: ``[entities, windows + 1]``."""
    place = np.arange(entities + 1, dtype=np.int64) << 32
    starts = np.searchsorted((tiles.owner << 32) + tiles.data["tile"], place[:-1, None] + firsts)
    ends = np.searchsorted(tiles.owner, np.arange(1, entities + 1))
    return np.concatenate([starts, ends[:, None]], axis=1)


def _segments(monoid: TileMonoid, states: Array, bounds: Array, empty: Array) -> Array:
    nothing = np.array([monoid.identity], monoid.working)
    padded = np.concatenate([states.astype(monoid.working), nothing])
    segments = monoid.reduce(padded, bounds.ravel()).reshape(bounds.shape)[:, :-1]
    segments[empty] = nothing
    return segments
