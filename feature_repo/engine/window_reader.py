"""Read windowed features online: one pipeline for all views, numpy from the bytes on.

Each pipeline also reads which state is served, so a rebuild that finishes meanwhile is noticed and the read repeated
with the new one; no reader needs to be told.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from feature_repo.core.errors import NotMaterializedError
from feature_repo.engine.kernels import Values
from feature_repo.engine.monoids import monoid_of
from feature_repo.engine.positions import Layout, Positions
from feature_repo.engine.spec import WindowedFeature, WindowedView
from feature_repo.engine.tile_codec import TileCodec
from feature_repo.engine.windows import window_values

MAX_SWITCHES = 5

_log = logging.getLogger("portrait")


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


@dataclass(frozen=True)
class _Served:
    """The state readers of a view use, as one object: threads that share a reader see all of it or none."""

    raw: bytes
    layout: Layout
    codec: TileCodec

    @classmethod
    def of(cls, raw: bytes | None) -> _Served | None:
        """Read a pointer; None if the view has no state."""
        if raw is None:
            return None
        layout = Layout.load(raw)
        return cls(raw, layout, TileCodec([monoid_of(key) for key in layout.state]))


class WindowReader:
    """Reads states of one project and remembers which of them are served; threads may share one.

    Parameters
    ----------
    project
        Feast project.
    """

    def __init__(self, project: str) -> None:
        self.project = project
        self._known: dict[str, _Served | None] = {}

    def read(self, client: Any, reads: Sequence[ViewRead], at: int) -> list[list[Values]]:
        """Values of each read's features at instant ``at`` (us), one element per key.

        An entity without state has the values of no events. A feature that the stored state cannot answer, because its
        definition changed or its view is new, is NULL for every key until the state is built, and a warning is logged:
        what did not change goes on being served.

        Raises
        ------
        NotMaterializedError
            None of the views has a state.
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
            if pointers == [each and each.raw for each in served]:
                return [_values(read, each, found, at) for read, each, found in zip(reads, served, blobs, strict=True)]
            served = self._learn(reads, pointers)
        raise NotMaterializedError(
            "The states of the views asked for were replaced during each of several reads.",
            hint="rebuild views one after the other, then ask again.",
        )

    def _fetch(
        self, client: Any, reads: Sequence[ViewRead], served: Sequence[_Served | None]
    ) -> tuple[list[bytes | None], list[list[bytes | None]]]:
        with client.pipeline(transaction=False) as pipe:
            for read, each in zip(reads, served, strict=True):
                if each is not None:
                    for key in read.keys:
                        pipe.hget(key, each.layout.field)
            # Last: if the pointer is still the one read from, the state it names had not begun to be removed.
            pipe.hmget(self._key(client), self._fields(reads))
            *found, pointers = pipe.execute()
        answers = iter(found)
        return pointers, [
            [next(answers) for _ in read.keys] if each else [] for read, each in zip(reads, served, strict=True)
        ]

    def _learn(self, reads: Sequence[ViewRead], pointers: Sequence[bytes | None]) -> list[_Served | None]:
        if not any(pointers):
            self._known = {}
            names = ", ".join(sorted({f"'{read.view.name}'" for read in reads}))
            raise NotMaterializedError(
                f"No state in Redis for view {names}.", hint="run `portrait jobs materialize` (or `feast materialize`)."
            )
        learnt = [_Served.of(raw) for raw in pointers]
        for read, each in zip(reads, learnt, strict=True):
            if silent := [feature.name for feature in read.features if not _answers(each, read.view, feature)]:
                _log.warning(
                    "View '%s': %s NULL until its state is built by the present definition: "
                    "`portrait jobs materialize --views %s`.",
                    read.view.name,
                    ", ".join(silent) + (" is" if len(silent) == 1 else " are"),
                    read.view.name,
                )
        # A new dict: one that another thread reads is never changed.
        self._known = self._known | {read.view.name: each for read, each in zip(reads, learnt, strict=True)}
        return learnt

    def _key(self, client: Any) -> bytes:
        return Positions(client, self.project).key

    def _fields(self, reads: Sequence[ViewRead]) -> list[str]:
        return [f"serve:{read.view.name}" for read in reads]


def _answers(served: _Served | None, view: WindowedView, feature: WindowedFeature) -> bool:
    return served is not None and served.layout.serves(view, feature)


def _values(read: ViewRead, served: _Served | None, blobs: list[bytes | None], at: int) -> list[Values]:
    answered = [feature for feature in read.features if _answers(served, read.view, feature)]
    found: dict[str, Values] = {}
    if served is not None and answered:
        state, _ = served.codec.decode(blobs)
        values = window_values(answered, served.codec, state, at=at, hop=read.view.hop, stored_hop=served.layout.hop)
        found = {feature.name: each for feature, each in zip(answered, values, strict=True)}
    return [found.get(feature.name) or Values.missing(len(read.keys), feature.kind) for feature in read.features]
