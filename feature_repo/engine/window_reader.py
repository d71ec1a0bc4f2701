"""Read windowed features online, and fields of ordinary views beside them, in one round trip; numpy from the bytes on.

Each round trip also reads which state is served, so a rebuild that finishes meanwhile is noticed and the read repeated
with the new one; no reader needs to be told.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt

from feature_repo.core.errors import NotMaterializedError
from feature_repo.engine.hash_reader import Field, HashRead, read_hashes
from feature_repo.engine.kernels import Values
from feature_repo.engine.monoids import Ints, monoid_of
from feature_repo.engine.positions import Layout, state_key
from feature_repo.engine.spec import WindowedFeature, WindowedView
from feature_repo.engine.tile_codec import TileCodec
from feature_repo.engine.windows import Windows

MAX_SWITCHES = 5
MAX_KNOWN_QUERIES = 256

_log = logging.getLogger("portrait")


@dataclass(frozen=True)
class ViewRead:
    """Features of one view for some entities.

    Attributes
    ----------
    view, features
        What to compute. Readers remember how by the identity of the tuple: keep one for questions that are repeated.
    keys
        Redis keys of the entities, see ``engine.entity_keys``. Reads that share the list share a command per entity.
    rows
        Position of the key that each element of the answer is about; None for all of them, in order.
    """

    view: WindowedView
    features: tuple[WindowedFeature, ...]
    keys: Sequence[bytes]
    rows: Ints | None = None

    @property
    def length(self) -> int:
        """Elements of the answer."""
        return len(self.keys) if self.rows is None else len(self.rows)


@dataclass(frozen=True)
class Answers:
    """What one round trip found.

    Attributes
    ----------
    windows
        Per read of a windowed view its features' values, one element per row.
    fields
        Per read of plain fields, per field, its value for each key: None where there is none.
    stored
        Per read of a windowed view, whether each key has a state: ``bool[keys]``.
    states
        Per read of a windowed view, what its values were computed from.
    """

    windows: list[list[Values]]
    fields: list[list[Field]]
    stored: list[npt.NDArray[np.bool_]]
    states: Sequence[States] = ()


@dataclass(frozen=True)
class Served:
    """The state readers of a view use, as one object: threads that share a reader see all of it or none."""

    raw: bytes
    layout: Layout
    field: bytes
    codec: TileCodec

    @classmethod
    def of(cls, raw: bytes | None) -> Served | None:
        """Read a pointer; None if the view has no state."""
        return None if raw is None else cls._of(raw, Layout.load(raw))

    @classmethod
    def as_declared(cls, view: WindowedView) -> Served:
        """State a view's definition asks for."""
        return cls._of(b"", Layout.of(view, 0))

    @classmethod
    def _of(cls, raw: bytes, layout: Layout) -> Served:
        return cls(raw, layout, layout.field, TileCodec([monoid_of(key) for key in layout.state]))


@dataclass(frozen=True)
class States:
    """States of one view as they were read: bytes, of which nothing is decoded before it is asked for.

    Attributes
    ----------
    served
        The state that was served; None if there was none.
    blobs
        One per key; None of a key without state.
    """

    served: Served | None
    blobs: Field

    @property
    def layout(self) -> Layout | None:
        """Of the state that was served."""
        return self.served.layout if self.served else None

    def versions(self) -> Ints:
        """Log version each key's state holds; of a key without state -1."""
        if self.served is None:
            return np.full(len(self.blobs), -1, np.int64)
        return self.served.codec.stored(self.blobs).versions


@dataclass(frozen=True, eq=False)
class _Query:
    """How the features of a read are computed from the state that is served; ``windows`` of None: none can be."""

    view: WindowedView
    features: tuple[WindowedFeature, ...]
    served: Served | None
    answered: tuple[bool, ...]
    windows: Windows | None

    @classmethod
    def of(cls, read: ViewRead, served: Served | None) -> _Query:
        if served is None:
            return cls(read.view, read.features, None, (False,) * len(read.features), None)
        layout = served.layout
        answered = tuple(layout.serves(read.view, feature) for feature in read.features)
        features = list(compress(read.features, answered))
        windows = Windows.of(features, served.codec, hop=read.view.hop, stored_hop=layout.hop) if features else None
        return cls(read.view, read.features, served, answered, windows)

    def values(self, read: ViewRead, blobs: Field, at: int) -> list[Values]:
        if self.served is None or self.windows is None:
            return [Values.missing(read.length, feature.kind) for feature in self.features]
        values = self.windows.values(self.served.codec.stored(blobs), at, read.rows)
        if len(values) == len(self.features):
            return values
        found = iter(values)
        return [
            next(found) if answered else Values.missing(read.length, feature.kind)
            for feature, answered in zip(self.features, self.answered, strict=True)
        ]

    def warn(self) -> None:
        silent = [each.name for each, answered in zip(self.features, self.answered, strict=True) if not answered]
        if silent:
            _log.warning(
                "View '%s': NULL until its state is built by the present definition "
                "(`portrait jobs materialize --views %s`): %s",
                self.view.name,
                self.view.name,
                ", ".join(silent),
            )


class WindowReader:
    """Reads states of one project and remembers which of them are served; threads may share one.

    Parameters
    ----------
    project
        Feast project.
    """

    def __init__(self, project: str) -> None:
        self.project = project
        self._state_key = state_key(project)
        self._known: dict[str, Served | None] = {}
        self._declared: dict[str, Served] = {}
        self._queries: dict[int, _Query] = {}

    def read(self, client: Any, reads: Sequence[ViewRead], at: int) -> list[list[Values]]:
        """Values of each read's features at instant ``at`` (us), one element per row; as :meth:`read_with_fields`."""
        return self.read_with_fields(client, reads, (), at).windows

    def read_with_fields(self, client: Any, reads: Sequence[ViewRead], fields: Sequence[HashRead], at: int) -> Answers:
        """Values of features at instant ``at`` (us), and plain fields, of one moment of Redis.

        An entity without state has the values of no events. A feature that the stored state cannot answer, because its
        definition changed or its view is new, is NULL for every key until the state is built, and a warning is logged:
        what did not change goes on being served.

        Raises
        ------
        NotMaterializedError
            None of the windowed views has a state.
        redis.RedisError
            The server does not answer.
        """
        known = self._known
        if all(read.view.name in known for read in reads):
            served = [known[read.view.name] for read in reads]
        else:
            served = self._learn(reads, client.hmget(self._state_key, self._pointers(reads)))
        for _ in range(MAX_SWITCHES):
            found, pointers = self._fetch(client, reads, served, fields)
            if pointers == [each and each.raw for each in served]:
                return self._answers(reads, served, found, at)
            served = self._learn(reads, pointers)
        raise NotMaterializedError(
            "The states of the views asked for were replaced during each of several reads.",
            hint="rebuild views one after the other, then ask again.",
        )

    def again(
        self, reads: Sequence[ViewRead], served: Sequence[Served | None], found: list[list[Field]], at: int
    ) -> Answers:
        """Answer, as of instant ``at`` (us), from what was read before, without asking Redis.

        Parameters
        ----------
        served
            Per read of a windowed view, the state it was answered from.
        found
            Per read, of windowed views and then of plain fields, per field its value for each key.
        """
        return self._answers(reads, served, found, at)

    def served(self, view: WindowedView) -> Served | None:
        """Return the state of a view that is served as far as is known; the one its definition asks for, if nothing is.

        None if it was seen to have none.
        """
        if view.name not in self._known and view.name not in self._declared:
            self._declared = self._declared | {view.name: Served.as_declared(view)}
        return self._known[view.name] if view.name in self._known else self._declared[view.name]

    def _fetch(
        self, client: Any, reads: Sequence[ViewRead], served: Sequence[Served | None], fields: Sequence[HashRead]
    ) -> tuple[list[list[Field]], list[bytes | None]]:
        asked = [
            HashRead(read.keys, () if each is None else (each.field,)) for read, each in zip(reads, served, strict=True)
        ]
        # Last: if the pointer is still the one read from, the state it names had not begun to be removed.
        pointers = [HashRead([self._state_key], self._pointers(reads))] if reads else []
        found = read_hashes(client, [*asked, *fields, *pointers])
        return found, [pointer for [pointer] in found.pop()] if reads else []

    def _answers(
        self, reads: Sequence[ViewRead], served: Sequence[Served | None], found: list[list[Field]], at: int
    ) -> Answers:
        windows, stored, states = [], [], []
        for read, each, columns in zip(reads, served, found, strict=False):
            blobs = columns[0] if columns else [None] * len(read.keys)
            windows.append(self._query(read, each).values(read, blobs, at))
            stored.append(np.array([blob is not None for blob in blobs], bool))
            states.append(States(each, blobs))
        return Answers(windows, found[len(reads) :], stored, states)

    def _query(self, read: ViewRead, served: Served | None) -> _Query:
        found = self._queries.get(id(read.features))
        if found and found.features is read.features and found.view is read.view and found.served is served:
            return found
        query = _Query.of(read, served)
        query.warn()
        if len(self._queries) >= MAX_KNOWN_QUERIES:
            self._queries = {}
        self._queries[id(read.features)] = query  # which it holds, so that the address stays its own
        return query

    def _learn(self, reads: Sequence[ViewRead], pointers: Sequence[bytes | None]) -> list[Served | None]:
        if not any(pointers):
            self._known = {}
            names = ", ".join(sorted({f"'{read.view.name}'" for read in reads}))
            raise NotMaterializedError(
                f"No state in Redis for view {names}.", hint="run `portrait jobs materialize` (or `feast materialize`)."
            )
        learnt = [Served.of(raw) for raw in pointers]
        # A new dict: one that another thread reads is never changed.
        self._known = self._known | {read.view.name: each for read, each in zip(reads, learnt, strict=True)}
        return learnt

    def _pointers(self, reads: Sequence[ViewRead]) -> tuple[bytes, ...]:
        return tuple(f"serve:{read.view.name}".encode() for read in reads)
