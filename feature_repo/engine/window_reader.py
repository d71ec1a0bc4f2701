"""Read windowed features online: one pipeline for all views, numpy from the bytes on.

Each pipeline also reads which state is served, so a rebuild that finishes meanwhile is noticed and the read repeated
with the new one; no reader needs to be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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


@dataclass
class WindowReader:
    """Reads states of one project and remembers which of them are served.

    Parameters
    ----------
    project
        Feast project.
    """

    project: str
    _raw: dict[str, bytes | None] = field(default_factory=dict)
    _layouts: dict[str, Layout] = field(default_factory=dict)
    _codecs: dict[str, TileCodec] = field(default_factory=dict)

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
        for _ in range(MAX_SWITCHES):
            if any(read.view.name not in self._layouts for read in reads):
                self._learn(reads, self._pointers(client, reads))
            pointers, blobs = self._fetch(client, reads)
            if all(self._raw[read.view.name] == raw for read, raw in zip(reads, pointers, strict=True)):
                return [self._values(read, found, at) for read, found in zip(reads, blobs, strict=True)]
            self._learn(reads, pointers)
        raise NotMaterializedError(
            "The states of the views asked for were replaced during each of several reads.",
            hint="rebuild views one after the other, then ask again.",
        )

    def _values(self, read: ViewRead, blobs: list[bytes | None], at: int) -> list[Values]:
        layout = self._layouts[read.view.name]
        codec = self._codecs[read.view.name]
        if not layout.serves(read.view, read.monoids):
            raise NotMaterializedError(
                f"Redis holds view '{read.view.name}' by an earlier definition.",
                hint=f"run `portrait jobs materialize --views {read.view.name}`.",
            )
        tiles, _ = codec.decode(blobs)
        return window_values(read.features, codec.monoids, tiles, entities=len(read.keys), at=at, hop=read.view.hop)

    def _fetch(self, client: Any, reads: Sequence[ViewRead]) -> tuple[list[bytes | None], list[list[bytes | None]]]:
        with client.pipeline(transaction=False) as pipe:
            pipe.hmget(Positions(client, self.project).key, [f"serve:{read.view.name}" for read in reads])
            for read in reads:
                name = self._layouts[read.view.name].field
                for key in read.keys:
                    pipe.hget(key, name)
            pointers, *found = pipe.execute()
        starts = [sum(len(read.keys) for read in reads[:i]) for i in range(len(reads) + 1)]
        return pointers, [found[start:stop] for start, stop in pairwise(starts)]

    def _pointers(self, client: Any, reads: Sequence[ViewRead]) -> list[bytes | None]:
        found: list[bytes | None] = client.hmget(
            Positions(client, self.project).key, [f"serve:{read.view.name}" for read in reads]
        )
        return found

    def _learn(self, reads: Sequence[ViewRead], pointers: Sequence[bytes | None]) -> None:
        for read, raw in zip(reads, pointers, strict=True):
            name = read.view.name
            if raw is None:
                self._layouts.pop(name, None)
                raise NotMaterializedError(
                    f"View '{name}' has no state in Redis.",
                    hint="run `portrait jobs materialize` (or `feast materialize`).",
                )
            self._raw[name] = raw
            self._layouts[name] = Layout.load(raw)
            self._codecs[name] = TileCodec([monoid_of(key) for key in self._layouts[name].state])
