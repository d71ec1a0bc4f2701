"""Fold rows into states in Redis, each entity by compare-and-set on the log version its state holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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


class Merger:
    """Merges folds into the states they belong to."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._writer = RedisWriter(client)

    def merge(self, target: Target, fold: Fold, head: int) -> dict[bytes, bytes]:
        """Merge a fold; rows a state holds already are left out, by its header.

        Parameters
        ----------
        head
            The fold holds all rows of its entities between what any of their states holds and this log version.

        Returns
        -------
        dict
            What was written to each key; one that held the head already is not among them.

        Raises
        ------
        StoreUnavailableError
            Other writers changed the same entities again and again.
        """
        codec, written = target.codec, dict[bytes, bytes]()
        pending = np.arange(len(fold.keys))
        for _ in range(MAX_ATTEMPTS):
            keys = [fold.keys[i] for i in pending.tolist()]
            [[blobs]] = read_hashes(self._client, [HashRead(keys, (target.field,))])
            held, versions = codec.decode(blobs)
            merged = codec.merge(held, fold.newer(pending, versions).state(codec))
            states = codec.encode(codec.live(merged, target.oldest), head)
            stale = np.flatnonzero(versions < head)
            taken = np.ones(len(keys), bool)
            taken[stale] = self._writer.merge(
                [keys[i] for i in stale.tolist()],
                target.field,
                versions[stale],
                [states[i] for i in stale.tolist()],
                target.retired,
            )
            written |= chosen(keys, states, (versions < head) & taken)
            pending = pending[~taken]
            if not len(pending):
                return written
        raise StoreUnavailableError(
            f"View '{target.view}': other writers changed the same shoppers {MAX_ATTEMPTS} times in a row.",
            hint="run the command again; nothing is lost or doubled.",
        )


def chosen(keys: Sequence[bytes], states: Sequence[bytes], taken: Bools) -> dict[bytes, bytes]:
    """Return the states of the keys that a mask chooses."""
    return {keys[i]: states[i] for i in np.flatnonzero(taken).tolist()}
