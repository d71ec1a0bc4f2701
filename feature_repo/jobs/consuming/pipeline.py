"""One micro-batch on its way: from entries of the stream to the log, and from there into Redis."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.core.clock import SECOND, Clock
from feature_repo.core.errors import PortraitError, StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.engine.applier import Applier, Head
from feature_repo.engine.landing import Landed
from feature_repo.engine.positions import Position, Recorded
from feature_repo.engine.row_writer import RowMaterializer
from feature_repo.engine.spec import WindowedView
from feature_repo.events.cleaning import USER_ID
from feature_repo.events.log import EVENT_TIMESTAMP, INGESTED_AT
from feature_repo.events.quarantine import quarantine_rows
from feature_repo.events.retention import kept_since, within
from feature_repo.events.schema import arrow_schema, table_path
from feature_repo.events.stream.arrivals import Arrivals
from feature_repo.events.stream.channel import Entries, Reader
from feature_repo.events.stream.decode import Decoded, decode
from feature_repo.events.stream_table import Committed, StreamTable
from feature_repo.events.stream_upkeep import Upkeep
from feature_repo.jobs.consuming.meter import LATE_US, Meter
from feature_repo.jobs.consuming.views import Views
from feature_repo.privacy.tombstones import Tombstones

# More threads than two only wait for each other: for the interpreter, and for Redis, which has one.
THREADS = 2

# A view that was refused is left alone for so long; what it lacks by then is in the log.
_REFUSED_US = 10 * SECOND

_log = logging.getLogger("portrait")


@dataclass(frozen=True)
class Intake:
    """Entries as they were read, by whom they were owned then, and what they say."""

    owned: frozenset[int]
    entries: Sequence[Entries]
    decoded: Decoded

    @classmethod
    def of(cls, reader: Reader, *, most: int, wait_s: float) -> Intake:
        """Read what has arrived in the partitions a reader owns.

        Raises
        ------
        StoreUnavailableError
            The broker does not answer.
        """
        owned = reader.owned()
        entries = reader.read(most, wait_s=wait_s) if owned else []
        return cls(owned, entries, decode(entries, source="stream"))

    @property
    def count(self) -> int:
        """How many entries there are."""
        return sum(len(each.positions) for each in self.entries)


class Pipeline:
    """Commits and folds micro-batches. One per connection to Redis: after a failure, a new one starts from what is.

    Parameters
    ----------
    connection, client
        DuckDB and Redis, for this pipeline alone.
    tables
        Open tables of the log by name; they outlive a pipeline.
    partitions
        Of the stream: as many shards the entities are cut into.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        connection: duckdb.DuckDBPyConnection,
        client: Any,
        views: Views,
        tables: dict[str, StreamTable],
        partitions: int,
        meter: Meter,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._views = views
        self._tables = tables
        self._meter = meter
        self._tombstones = Tombstones(settings.home)
        self._applier = Applier(
            connection, client, views.project, clock, shards=partitions, standing=self._tombstones.standing
        )
        self._rows = RowMaterializer(connection, client, views.project)
        self._threads = ThreadPoolExecutor(THREADS)
        self._refused: dict[str, int] = {}
        self._upkeep = Upkeep()

    def close(self) -> None:
        """Wait for what is under way."""
        self._threads.shutdown()
        self._upkeep.close()

    @property
    def seen_tombstones(self) -> int:
        """Erased shoppers whose events this pipeline keeps out by now."""
        return self._tombstones.count

    def take(self, batch: Intake) -> Mapping[int, int]:
        """Commit a batch and fold it; return how far each partition may be acknowledged.

        Raises
        ------
        LogError
            A table is damaged, or others committed to it again and again: nothing is acknowledged.
        StoreUnavailableError, redis.RedisError
            Redis went away: what is in the log is folded by whoever goes on.
        """
        decoded = batch.decoded
        if len(decoded.refused):
            quarantine_rows(self._settings.log_root, decoded.refused)
            self._meter.quarantined.update(decoded.refused["reason"].to_pylist())
        committed = self._commit(decoded)
        self._fold(committed, batch.owned)
        for name in committed:
            self._upkeep.due(self._table(name))
        events = sum(each.rows.num_rows for each in committed.values())
        self._meter.visible(self._clock.now_us(), events, np.concatenate([each.arrived for each in batch.entries]))
        return {each.partition: int(each.positions[-1]) for each in batch.entries}

    def follow(self, owned: Collection[int]) -> None:
        """Fold what others committed: imports, other consumers.

        Raises
        ------
        StoreUnavailableError, redis.RedisError
            As :meth:`take`.
        """
        self._fold({}, owned)

    def _commit(self, decoded: Decoded) -> dict[str, Committed]:
        names = list(decoded.arrivals)
        done = dict(zip(names, self._threads.map(self._commit_one, names, decoded.arrivals.values()), strict=True))
        for each in done.values():
            self._meter.duplicates += each.duplicates
            self._meter.replayed += each.replayed
            self._meter.late += _late(each.rows)
        return done

    def _commit_one(self, name: str, arrivals: Arrivals) -> Committed:
        return self._table(name).commit(self._left(self._kept(name, arrivals)), standing=self._tombstones.standing)

    def _kept(self, name: str, arrivals: Arrivals) -> Arrivals:
        """Arrivals without those older than the retention of their type."""
        since = kept_since(self._settings.retention_days, name, self._clock.now_us())
        kept = within(arrivals.rows, since)
        if kept is None:
            return arrivals
        self._meter.expired += len(kept) - kept.true_count
        return arrivals.only(kept)

    def _left(self, arrivals: Arrivals) -> Arrivals:
        """Arrivals without those of erased shoppers."""
        if USER_ID not in arrivals.rows.column_names or not self._tombstones.count:
            return arrivals
        standing = self._tombstones.standing(arrivals.rows[USER_ID])
        self._meter.erased += len(standing) - standing.true_count
        return arrivals.only(standing)

    def _fold(self, committed: Mapping[str, Committed], owned: Collection[int]) -> None:
        if not owned:
            return
        fed = self._views.fed
        heads = {name: self._head(name, committed.get(name)) for name in fed.tables}
        # Read after the heads, and every time: a state may have been built or switched though no table moved.
        recorded = self._applier.positions.recorded()
        work = [
            (view, heads[name])
            for name, views in fed.windowed.items()
            for view in views
            if self._applier.is_behind(view, heads[name], owned, recorded)
        ]
        for refusal in self._threads.map(partial(self._apply, owned=owned, recorded=recorded), work):
            self._note(*refusal)
        if 0 in owned:  # facts are few: whoever owns the first shard writes all of them
            self._write_facts(heads, recorded)

    def _apply(
        self, work: tuple[WindowedView, Head], *, owned: Collection[int], recorded: Recorded
    ) -> tuple[str, PortraitError | None]:
        view, head = work
        if self._refused.get(view.name, 0) > self._clock.now_us():
            return view.name, None
        try:
            self._applier.apply(view, head, owned, recorded)
        except StoreUnavailableError:
            raise
        except PortraitError as error:
            return view.name, error
        return view.name, None

    def _note(self, view: str, error: PortraitError | None) -> None:
        """Leave a view that was refused alone for a while: it must not keep the others from going on."""
        if error is not None:
            self._refused[view] = self._clock.now_us() + _REFUSED_US
            _log.warning("View '%s' is not fed: %s", view, error)

    def _write_facts(self, heads: Mapping[str, Head], recorded: Recorded) -> None:
        for name, views in self._views.fed.ordinary.items():
            for view in views:
                held = recorded.rows(view)
                if held is not None and held != heads[name].position:
                    try:
                        self._rows.bring_to_head(view)
                    except StoreUnavailableError:
                        raise
                    except PortraitError as error:
                        self._note(view.name, error)

    def _head(self, name: str, committed: Committed | None) -> Head:
        table = self._table(name)
        if committed is not None and committed.rows.num_rows:
            landed = Landed(committed.rows, committed.version, self._views.project)
            return Head(Position(table.table_id, committed.version), table.newer, landed)
        return Head(Position(table.table_id, table.head()), table.newer)

    def _table(self, name: str) -> StreamTable:
        if name not in self._tables:
            path = table_path(self._settings.log_root, name)
            self._tables[name] = StreamTable(path, arrow_schema(name), known_days=self._settings.known_days)
        return self._tables[name]


def _late(rows: pa.Table) -> int:
    waited = pc.subtract(rows[INGESTED_AT].cast(pa.int64()), rows[EVENT_TIMESTAMP].cast(pa.int64()))
    return int(pc.sum(pc.greater(waited, LATE_US)).as_py() or 0)
