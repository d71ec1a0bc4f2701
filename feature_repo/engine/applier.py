"""Keep states of windowed views at the head of their tables, for the entities of some shards, while commits come in.

A commit that this process made is folded from memory; what others committed, from the files of the log that may hold
it. How far a state is fed stands in Redis beside it, and is read anew each time: a state that was built, rebuilt or
restored meanwhile is simply fed from where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import pyarrow as pa

from feature_repo.core.clock import Clock
from feature_repo.engine.folds import Fold, folds
from feature_repo.engine.landing import Landed
from feature_repo.engine.merging import Merger, Target
from feature_repo.engine.monoids import Monoid, monoid_of
from feature_repo.engine.positions import Layout, Position, Positions, Recorded
from feature_repo.engine.shards import SHOPPER, owned_sql
from feature_repo.engine.sources import events_of
from feature_repo.engine.spec import WindowedView
from feature_repo.engine.tile_codec import TileCodec
from feature_repo.engine.tiles import first_tile, floor
from feature_repo.events.log import LOG_VERSION, Snapshot

Standing = Callable[[pa.ChunkedArray], pa.Array]


@dataclass(frozen=True)
class Head:
    """The head of a table, and how to get at what it holds.

    Attributes
    ----------
    position
        Table and version.
    newer
        Snapshot of that version whose files hold at least the rows with a higher ``log_version`` than the given one.
    landed
        Rows of the head's own version, where this process committed it; None if others did.
    """

    position: Position
    newer: Callable[[int], Snapshot]
    landed: Landed | None = None


class Applier:
    """Feeds the states of windowed views.

    Parameters
    ----------
    connection
        DuckDB, bounded by the settings; each call works on a cursor of its own, so that threads may share it.
    client
        Redis, replies as bytes.
    shards
        How many shards the entities are cut into.
    standing
        Which shoppers were not erased, as a mask over their pseudonyms; NULL stands.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        client: Any,
        project: str,
        clock: Clock,
        *,
        shards: int,
        standing: Standing | None = None,
    ) -> None:
        self._connection = connection
        self._project = project
        self._clock = clock
        self._shards = shards
        self._standing = standing
        self._merger = Merger(client)
        self.positions = Positions(client, project)

    def is_behind(self, view: WindowedView, head: Head, owned: Collection[int], recorded: Recorded) -> bool:
        """Whether a view has a state that can be fed, and whose owned shards lack rows of the table."""
        return self._lacking(view, head, owned, recorded) is not None

    def apply(self, view: WindowedView, head: Head, owned: Collection[int], recorded: Recorded) -> int:
        """Fold what the owned shards of a view's state lack of its table; return how many states were written.

        A view without a state, or whose state is of another table or source, is left to ``portrait jobs materialize``.

        Raises
        ------
        StoreUnavailableError
            Other writers changed the same entities again and again.
        redis.RedisError
            Redis went away. Start again from what it holds then.
        """
        lacking = self._lacking(view, head, owned, recorded)
        if lacking is None:
            return 0
        layout, stored, above = lacking
        target = Target(
            view.name,
            TileCodec(stored.monoids),
            layout.field,
            first_tile(self._clock.now_us(), stored.retention, stored.hop),
            recorded.retired(view.name),
        )
        entities = 0
        for fold in self._folds(stored, head, above, owned):
            entities += len(self._merger.merge(target, fold, head.position.version).keys)
        self.positions.advance_shards(layout, head.position, sorted(owned), of=self._shards)
        return entities

    def _lacking(
        self, view: WindowedView, head: Head, owned: Collection[int], recorded: Recorded
    ) -> tuple[Layout, WindowedView, int] | None:
        """Return the state to feed, the view as it was built by, and how far it is; None if there is nothing to do."""
        layout = recorded.serving(view.name)
        fed = recorded.fed(layout, owned) if layout else None
        if layout is None or fed is None or fed.table_id != head.position.table_id:
            return None
        stored = stored_view(view, layout) if fed.version < head.position.version else None
        return (layout, stored, fed.version) if stored is not None else None

    def _folds(self, view: WindowedView, head: Head, above: int, owned: Collection[int]) -> Iterator[Fold]:
        since = floor(self._clock.now_us() - view.lookback, view.hop)
        if head.landed is not None and above == head.position.version - 1:
            fold = self._left(head.landed).fold(view, since=since, shards=owned, of=self._shards)
            yield from [fold] if fold else []
            return
        snapshot, versions = head.newer(above), (above, head.position.version)
        with self._connection.cursor() as cursor:
            source = self._owned(view, self._left_of(cursor, events_of(view, snapshot), snapshot, above), owned)
            yield from folds(
                cursor, view, source, project=self._project, since=since, versions=versions, progress=lambda _: None
            )

    def _owned(self, view: WindowedView, source: str, owned: Collection[int]) -> str:
        condition = owned_sql(view.join_keys, owned, of=self._shards)
        return source if condition == "true" else f"(FROM {source} WHERE {condition})"

    def _left(self, landed: Landed) -> Landed:
        """Rows of shoppers who were not erased since they were committed."""
        if self._standing is None or SHOPPER not in landed.rows.column_names:
            return landed
        return landed.only(self._standing(landed.rows[SHOPPER]))

    def _left_of(self, cursor: duckdb.DuckDBPyConnection, source: str, snapshot: Snapshot, above: int) -> str:
        if self._standing is None or SHOPPER not in snapshot.schema.names:
            return source
        users = cursor.sql(
            f"SELECT DISTINCT {SHOPPER} FROM {source} WHERE {LOG_VERSION} > {above} AND {SHOPPER} IS NOT NULL"
        ).to_arrow_table()
        left = users.filter(self._standing(users[SHOPPER]))
        if len(left) == len(users):
            return source
        cursor.register("standing", left)
        return f"(FROM {source} WHERE {SHOPPER} IS NULL OR {SHOPPER} IN (SELECT {SHOPPER} FROM standing))"


@dataclass(frozen=True)
class _StoredView(WindowedView):
    """A view by the definition its state in Redis was built from."""

    layout: Layout | None = None

    @cached_property
    def monoids(self) -> tuple[Monoid, ...]:
        return tuple(map(monoid_of, self.layout.state)) if self.layout else ()

    @cached_property
    def retention(self) -> int:
        return self.layout.retention if self.layout else 0

    @cached_property
    def lookback(self) -> int:
        return self.layout.lookback if self.layout else 0


def stored_view(view: WindowedView, layout: Layout) -> WindowedView | None:
    """Return the view as its served state has to be fed, until one of its present definition is built.

    None if that cannot be told any more: the state is of another source, of other columns, or of another codec.
    """
    if layout.state_hash == view.state_hash:
        return view
    present = Layout.of(view, 0)
    if (layout.source, layout.mapping, layout.codec) != (present.source, present.mapping, present.codec):
        return None
    facts = (view.source_name, view.source_path, view.timestamp_field, view.created_field)
    return _StoredView(view.name, layout.join_keys, *facts, layout.hop, view.features, view.mapping, layout)
