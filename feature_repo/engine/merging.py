"""Fold rows into states in Redis, each entity by compare-and-set on the log version its state holds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from feature_repo.core.errors import StoreUnavailableError
from feature_repo.engine.folds import Fold
from feature_repo.engine.hash_reader import HashRead, read_hashes
from feature_repo.engine.redis_writer import Bools, RedisWriter
from feature_repo.engine.tile_codec import TileCodec

MAX_ATTEMPTS = 50


@dataclass(frozen=True)
class Target:
    """Where states of a view are kept.

    Attributes
    ----------
    view
        View name.
    codec
        Of its states.
    field
        Field of an entity's hash.
    oldest
        Tiles before this one are dropped: no window reaches them.
    retired
        Fields of earlier states, removed from what is written.
    """

    view: str
    codec: TileCodec
    field: bytes
    oldest: int
    retired: Sequence[bytes]


@dataclass(frozen=True)
class Written:
    """States that were written.

    Attributes
    ----------
    keys
        Redis keys of the entities.
    states
        ``large_binary[keys]``.
    """

    keys: list[bytes]
    states: pa.Array

    @classmethod
    def of(cls, keys: list[bytes], states: pa.Array, chosen: Bools) -> Written:
        """Choose some of the states by a mask."""
        if chosen.all():
            return cls(keys, states)
        return cls([keys[i] for i in np.flatnonzero(chosen).tolist()], states.filter(pa.array(chosen)))

    @classmethod
    def joined(cls, parts: Sequence[Written]) -> Written:
        """Return what any of the parts wrote."""
        return cls([key for part in parts for key in part.keys], pa.concat_arrays([part.states for part in parts]))

    def to(self, keys: Collection[bytes]) -> dict[bytes, bytes]:
        """Return what was written to some keys; those that were not written to are left out."""
        places = [i for i, key in enumerate(self.keys) if key in keys]
        return dict(
            zip([self.keys[i] for i in places], self.states.take(pa.array(places, pa.int64())).to_pylist(), strict=True)
        )


class Merger:
    """Merges folds into the states they belong to."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._writer = RedisWriter(client)

    def merge(self, target: Target, fold: Fold, head: int) -> Written:
        """Merge a fold; rows a state holds already are left out, by its header.

        Parameters
        ----------
        head
            The fold holds all rows of its entities between what any of their states holds and this log version.

        Returns
        -------
        Written
            What was written to which keys; one that held the head already is not among them.

        Raises
        ------
        StoreUnavailableError
            Other writers changed the same entities again and again.
        """
        codec, written = target.codec, []
        pending = np.arange(len(fold.keys))
        for _ in range(MAX_ATTEMPTS):
            keys = [fold.keys[i] for i in pending.tolist()]
            [[blobs]] = read_hashes(self._client, [HashRead(keys, (target.field,))])
            held = codec.stored(blobs)
            fresh = fold.newer(pending, held.versions).state(codec)
            states = codec.folded(held, fresh, oldest=target.oldest, log_version=head)
            merged = Written.of(keys, states, held.versions < head)
            versions = held.versions[held.versions < head]
            taken = self._writer.merge(merged.keys, target.field, versions, merged.states, target.retired)
            written.append(Written.of(merged.keys, merged.states, taken))
            refused = held.versions < head
            refused[refused] = ~taken
            pending = pending[refused]
            if not len(pending):
                return Written.joined(written)
        raise StoreUnavailableError(
            f"View '{target.view}': other writers changed the same shoppers {MAX_ATTEMPTS} times in a row.",
            hint="run the command again; nothing is lost or doubled.",
        )
