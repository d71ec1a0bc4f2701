"""States of some entities folded anew, because rows left the log that they were made of.

A state says up to which version of the log it holds, so the same prefix is folded again, without what has gone, and
replaces the state it was read beside by compare-and-set on that version. The version stays; so a writer that read the
state before, and merges into it after, would bring the old one back unnoticed. Hence each state is read again until it
is the one that was written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from feature_repo.core.clock import Clock
from feature_repo.core.errors import StoreUnavailableError
from feature_repo.engine.applier import stored_view
from feature_repo.engine.duckdb_sql import quote
from feature_repo.engine.entity_keys import entity_of
from feature_repo.engine.folds import fold_of
from feature_repo.engine.hash_reader import HashRead, read_hashes
from feature_repo.engine.monoids import Ints
from feature_repo.engine.positions import Layout, Positions
from feature_repo.engine.redis_writer import RedisWriter
from feature_repo.engine.sources import events_of, located
from feature_repo.engine.spec import WindowedView
from feature_repo.engine.tile_codec import TileCodec
from feature_repo.engine.tiles import first_tile, floor
from feature_repo.events.log import Snapshot, read_snapshot

MAX_PASSES = 50
_EVERYTHING = -1
_KEYS_AT_ONCE = 2_000
_ASKED = "refolded_entities"


class Refolder:
    """Folds entities of windowed views anew.

    Parameters
    ----------
    connection
        DuckDB, bounded by the settings.
    client
        Redis, replies as bytes.
    project
        Feast project: part of every key.
    clock
        Decides which tiles are too old to keep.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, client: Any, project: str, clock: Clock) -> None:
        self._connection = connection
        self._client = client
        self._project = project
        self._clock = clock
        self._positions = Positions(client, project)
        self._writer = RedisWriter(client)

    def refold(self, view: WindowedView, keys: Sequence[bytes]) -> int | None:
        """Make the states of some entities what the log gives now, up to the versions they hold.

        Parameters
        ----------
        keys
            Redis keys of entities of the view; those without a state are left without one.

        Returns
        -------
        int
            How many states there were; None if it cannot be told any more how the state that is served is to be folded:
            then the view has to be built.

        Raises
        ------
        StoreUnavailableError
            Other writers changed the same states again and again.
        LogError
            The table is missing or damaged.
        """
        layout = self._positions.serving(view.name)
        if layout is None:
            return 0
        stored = stored_view(view, layout)
        if stored is None:
            return None
        chunks = [keys[start : start + _KEYS_AT_ONCE] for start in range(0, len(keys), _KEYS_AT_ONCE)]
        return sum(self._refold(stored, layout, chunk) for chunk in chunks)

    def _refold(self, view: WindowedView, layout: Layout, keys: Sequence[bytes]) -> int:
        codec, written = TileCodec(view.monoids), dict[bytes, bytes]()
        for _ in range(MAX_PASSES):
            [[blobs]] = read_hashes(self._client, [HashRead(keys, (layout.field,))])
            found = {key: blob for key, blob in zip(keys, blobs, strict=True) if blob and written.get(key) != blob}
            if not found:
                return len(written)
            # The log is read after the states: it holds all that they do.
            versions = codec.stored([*found.values()]).versions
            states = self._folded(view, codec, dict(zip(found, versions.tolist(), strict=True)))
            some = [*states]
            held = np.array([dict(zip(found, versions, strict=True))[key] for key in some], np.int64)
            taken = self._writer.merge(some, layout.field, held, [states[key] for key in some], [])
            written |= {key: states[key] for key, took in zip(some, taken.tolist(), strict=True) if took}
        raise StoreUnavailableError(
            f"View '{view.name}': other writers changed the same entities {MAX_PASSES} times in a row.",
            hint="run the command again; nothing is lost or doubled.",
        )

    def _folded(self, view: WindowedView, codec: TileCodec, versions: Mapping[bytes, int]) -> dict[bytes, bytes]:
        """Return the state of each key, folded up to its version."""
        now = self._clock.now_us()
        snapshot = read_snapshot(located(view.source_path))
        nothing = codec.encode(codec.decode([None] * len(versions))[0], np.array([*versions.values()], np.int64))
        states = dict(zip(versions, nothing.to_pylist(), strict=True))
        since, oldest = floor(now - view.lookback, view.hop), first_tile(now, view.retention, view.hop)
        span = (_EVERYTHING, snapshot.version)
        source = self._asked(view, snapshot, versions)
        fold = fold_of(self._connection, view, source, project=self._project, since=since, versions=span)
        if fold is not None:
            upto: Ints = np.array([versions[key] for key in fold.keys], np.int64)
            encoded = codec.encode(codec.live(fold.state(codec), oldest), upto)
            states |= dict(zip(fold.keys, encoded.to_pylist(), strict=True))
        self._connection.unregister(_ASKED)
        return states

    def _asked(self, view: WindowedView, snapshot: Snapshot, versions: Mapping[bytes, int]) -> str:
        """Return a table expression of the events of some entities, each up to a version."""
        entities = [entity_of(self._project, key) for key in versions]
        values = zip(*(entity[1] for entity in entities if entity is not None), strict=True)
        columns = {f"_k{i}": pa.array(list(column)) for i, column in enumerate(values)}
        asked = pa.table({**columns, "_upto": pa.array([*versions.values()], pa.int64())})
        self._connection.register(_ASKED, asked)
        same = " AND ".join(f"events.{quote(key)} = asked._k{i}" for i, key in enumerate(view.join_keys))
        return (
            f"(SELECT events.* FROM {events_of(view, snapshot)} AS events JOIN {_ASKED} AS asked "
            f"ON {same} AND events.log_version <= asked._upto)"
        )
