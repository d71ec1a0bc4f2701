"""Read windowed features online: one pipeline for all views, numpy from the bytes on.

Each pipeline also reads which state is served, so a rebuild that finishes meanwhile is noticed and the read repeated
with the new one; no reader needs to be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from feature_repo.core.errors import NotMaterializedError
from feature_repo.engine.kernels import Monoid, Values, monoid_of
from feature_repo.engine.positions import Layout, Positions
from feature_repo.engine.spec import WindowedFeature, WindowedView
from feature_repo.engine.tile_codec import TileCodec, window_values

MAX_SWITCHES = 5


@dataclass(frozen=True)
class ViewRead:
    """Features of one view for some entities.

    Attributes
    ----------
    view, features
        What to compute.
    keys
        Redis keys of the entities, see ``engine.entity_keys``.
    """

    view: WindowedView
    features: tuple[WindowedFeature, ...]
    keys: Sequence[bytes]

    @property
    def monoids(self) -> tuple[Monoid, ...]:
        """State the features need."""
        return tuple({monoid.key: monoid for feature in self.features for monoid in feature.monoids}.values())


@dataclass(frozen=True)
class _Served:
    """The state readers of a view use, as one object: threads that share a reader see all of it or none."""

    raw: bytes
    layout: Layout
    codec: TileCodec


class WindowReader:
    """Reads states of one project and remembers which of them are served; threads may share one.

    Parameters
    ----------
    project
        Feast project.
    """

    def __init__(self, project: str) -> None:
        self.project = project
        self._known: dict[str, _Served] = {}

    def read(self, client: Any, reads: Sequence[ViewRead], at: int) -> list[list[Values]]:
        """Values of each read's features at instant ``at`` (us), one element per key.

        An entity without state has the values of no events.

        Raises
        ------
        NotMaterializedError
            A view has no state, or one of a definition that cannot answer.
        redis.RedisError
            The server does not answer.
        """
        known = self._known
        if all(read.view.name in known for read in reads):
            served = [known[read.view.name] for read in reads]
        else:
            served = self._learn(reads, client.hmget(self._key(client), self._fields(reads)))
        for _ in range(MAX_SWITCHES):
            pointers, blobs = self._fetch(client, reads, served)
            if pointers == [each.raw for each in served]:
                return [_values(read, each, found, at) for read, each, found in zip(reads, served, blobs, strict=True)]
            served = self._learn(reads, pointers)
        raise NotMaterializedError(
            "The states of the views asked for were replaced during each of several reads.",
            hint="rebuild views one after the other, then ask again.",
        )

    def _fetch(
        self, client: Any, reads: Sequence[ViewRead], served: Sequence[_Served]
    ) -> tuple[list[bytes | None], list[list[bytes | None]]]:
        with client.pipeline(transaction=False) as pipe:
            for read, each in zip(reads, served, strict=True):
                for key in read.keys:
                    pipe.hget(key, each.layout.field)
            # Last: if the pointer is still the one read from, the state it names had not begun to be removed.
            pipe.hmget(self._key(client), self._fields(reads))
            *found, pointers = pipe.execute()
        starts = [sum(len(read.keys) for read in reads[:i]) for i in range(len(reads) + 1)]
        return pointers, [found[start:stop] for start, stop in pairwise(starts)]

    def _learn(self, reads: Sequence[ViewRead], pointers: Sequence[bytes | None]) -> list[_Served]:
        learnt = []
        for read, raw in zip(reads, pointers, strict=True):
            if raw is None:
                self._known = {}
                raise NotMaterializedError(
                    f"View '{read.view.name}' has no state in Redis.",
                    hint="run `portrait jobs materialize` (or `feast materialize`).",
                )
            layout = Layout.load(raw)
            learnt.append(_Served(raw, layout, TileCodec([monoid_of(key) for key in layout.state])))
        # A new dict: one that another thread reads is never changed.
        self._known = self._known | {read.view.name: each for read, each in zip(reads, learnt, strict=True)}
        return learnt

    def _key(self, client: Any) -> bytes:
        return Positions(client, self.project).key

    def _fields(self, reads: Sequence[ViewRead]) -> list[str]:
        return [f"serve:{read.view.name}" for read in reads]


def _values(read: ViewRead, served: _Served, blobs: list[bytes | None], at: int) -> list[Values]:
    if not served.layout.serves(read.view, read.monoids):
        raise NotMaterializedError(
            f"Redis holds view '{read.view.name}' by an earlier definition.",
            hint=f"run `portrait jobs materialize --views {read.view.name}`.",
        )
    tiles, _ = served.codec.decode(blobs)
    return window_values(read.features, served.codec.monoids, tiles, entities=len(read.keys), at=at, hop=read.view.hop)
