"""A table of the log as a consumer of the stream writes it: often, in small commits, each row once.

What is committed is decided against one snapshot and written as the version behind it, or not at all. A row is left out
if its position was committed before (Delta's transaction of its partition tells), or if its ``event_id`` is known.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from feature_repo.core.clock import DAY
from feature_repo.core.errors import LogError
from feature_repo.events import log
from feature_repo.events.cleaning import USER_ID
from feature_repo.events.delta_entry import append_entry, entry_path
from feature_repo.events.followed_table import FollowedTable
from feature_repo.events.known_ids import Hashes, KnownIds, Mask, first_of_each, hash_ids
from feature_repo.events.log import (
    EVENT_ID,
    EVENT_TIMESTAMP,
    INGESTED_AT,
    LOG_VERSION,
    STATISTICS,
    LogTable,
    Snapshot,
    append,
    committing,
    outrun,
    reading,
    stamped,
    unknown_rows,
)
from feature_repo.events.stream.arrivals import Arrivals
from feature_repo.events.table_head import first_line

Standing = Callable[[pa.ChunkedArray], pa.Array]

# How far a sender's clock may be ahead when an event comes a second time: its event_timestamp is then the arrival.
_SLACK_US = DAY


@dataclass(frozen=True)
class Committed:
    """What a commit did.

    Attributes
    ----------
    version
        Version it made; the head it was checked against if nothing was new.
    rows
        Rows written, in the order they came, with ``log_version``.
    duplicates
        Rows whose ``event_id`` was known, or came earlier in the batch.
    replayed
        Rows whose position had been committed before.
    """

    version: int
    rows: pa.Table
    duplicates: int
    replayed: int


class StreamTable:
    """One table of the log, opened to be committed to again and again by one thread.

    Ids of rows whose ``ingested_at`` lies in the last ``known_days`` of the table are kept as hashes, and others'
    commits are read as they come; a row whose ``event_timestamp`` is older than that is looked for in the table. So
    an event that is sent again is known however late, if its sender names its time.

    Parameters
    ----------
    path
        Directory of the table; it is created if it is missing.
    schema
        Arrow schema without ``log_version``.
    known_days
        How many days of ids to keep.
    own_entries
        Whether versions are written without `deltalake` where that is possible; False is slower, and what it is
        measured beside.

    Raises
    ------
    LogError
        The table on disk is damaged or declares other types.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, known_days: int, own_entries: bool = True) -> None:
        self.path = path
        self._log = LogTable(path, schema)
        self._log.ensure()
        self._followed = FollowedTable(path)
        self._own_entries = own_entries
        self._duckdb = duckdb.connect(config={"threads": 1, "memory_limit": "1GB"})
        with self._followed.loaded() as table:
            newest = _newest(table)
        self._known = KnownIds(newest, days=known_days)
        self._version = -1
        self._look()

    @property
    def table_id(self) -> str:
        """Delta's id of the table; a recreated table has another."""
        return self._followed.table_id

    @property
    def ids_held(self) -> int:
        """How many ids of the table are in memory, at some 10 bytes each."""
        return len(self._known)

    def close(self) -> None:
        """Give memory back."""
        self._duckdb.close()

    @property
    def version(self) -> int:
        """Version the last commit made or was checked against."""
        return self._version

    def head(self) -> int:
        """Newest version of the table; cheap enough to ask every few milliseconds."""
        return self._followed.head()

    def newer(self, above: int) -> Snapshot:
        """Return the head, with only those of its files that may hold rows with ``log_version > above``.

        Threads may ask at the same time.

        Raises
        ------
        LogError
            The table is damaged, or was restored or made anew.
        """
        return self._followed.newer(above)

    def commit(self, arrivals: Arrivals, *, standing: Standing | None = None) -> Committed:
        """Append the rows that are new, with how far each partition has been read, as one version.

        ``standing`` says which shoppers were not erased, as a mask over their pseudonyms. It is asked after the version
        was read that the commit follows: see ``LogTable.commit``.

        Raises
        ------
        CommitConflictError
            Others came first again and again; nothing was written.
        LogError
            The table is damaged or cannot be written, or the rows have other types. Whether they were written is not
            known: read the stream again from what was acknowledged, and commit again.
        """
        rows = self._log.conform(arrivals.rows)
        hashes = hash_ids(self._duckdb, rows[EVENT_ID])
        for _ in range(log.MAX_ATTEMPTS):
            with committing(self.path):
                done = self._attempt(arrivals, rows, hashes, standing)
            if done is not None:
                return done
        raise outrun(self.path)

    def _attempt(
        self, arrivals: Arrivals, rows: pa.Table, hashes: Hashes, standing: Standing | None
    ) -> Committed | None:
        """Check against the head and write the version behind it; None if another writer did meanwhile."""
        self._look()
        replayed = self._replayed(arrivals)
        fresh = ~replayed
        fresh[fresh] = self._fresh(rows.filter(pa.array(fresh)), hashes[fresh])
        known = len(rows) - int(fresh.sum())
        fresh &= _standing(rows, standing)
        version = self._version + bool(fresh.any())
        new = stamped(rows.filter(pa.array(fresh)), version)
        if len(new):
            if not self._write(new, version, _upto(arrivals)):
                return None
            self._followed.catch_up()  # its positions, above all: what was committed is not to be asked for again
            self._known.add(hashes[fresh], _microseconds(new[INGESTED_AT]))
            self._version = version
        again = int(replayed.sum())
        return Committed(version, new, known - again, again)

    def _write(self, rows: pa.Table, version: int, upto: dict[str, int]) -> bool:
        """Write a version; False if another writer did."""
        writer = secrets.token_hex(8)
        try:
            if self._own_entries and self._followed.plain:
                file = append_entry(self.path, version, rows, upto, writer=writer, statistics=STATISTICS)
                self._followed.committed(version, file, upto)
                return True
            with self._followed.loaded() as table:
                if table.version() != version - 1:
                    return False
                append(table, rows, upto, writer=writer)
        except (DeltaError, OSError) as error:
            # It may have failed behind the commit (a full disk, a checkpoint): the log itself tells.
            if self._is_mine(version, writer):
                return True
            if isinstance(error, CommitFailedError | FileExistsError):
                return False
            raise LogError(
                f"Table '{self.path.name}' of the event log cannot be written: {first_line(error)}",
                hint=f"make room at {self.path} and let it be written; then start again, nothing is lost.",
            ) from None
        return True

    def _is_mine(self, version: int, writer: str) -> bool:
        with suppress(FileNotFoundError):  # not there, or cleaned up already
            return writer in entry_path(self.path, version).read_text("utf-8")
        with self._followed.loaded() as table:
            behind = int(table.version()) - version
            return behind >= 0 and any(each.get("portrait.writer") == writer for each in table.history(behind + 1))

    def _look(self) -> None:
        """Get to know the head: what others have committed since the last look."""
        if self._version >= 0 and self._followed.head() == self._version:
            return
        snapshot = self._followed.newer(self._version)
        if snapshot.files:
            with reading(snapshot):
                found = self._duckdb.sql(
                    f"SELECT hash({EVENT_ID}) AS h, {INGESTED_AT} FROM {snapshot.sql()} "
                    f"WHERE {LOG_VERSION} > $seen AND epoch_us({INGESTED_AT}) >= $since",
                    params={"seen": self._version, "since": self._known.since},
                ).to_arrow_table()
            self._known.add(np.asarray(found["h"].to_numpy(), np.uint64), _microseconds(found[INGESTED_AT]))
        self._version = snapshot.version

    def _replayed(self, arrivals: Arrivals) -> Mask:
        replayed = np.zeros(len(arrivals.position), bool)
        for partition, app_id in arrivals.app_ids.items():
            position = self._followed.position(app_id)
            if position is not None:
                replayed |= (arrivals.partition == partition) & (arrivals.position <= position)
        return replayed

    def _fresh(self, rows: pa.Table, hashes: Hashes) -> Mask:
        fresh = first_of_each(hashes) & ~self._known.holds(hashes)
        doubtful = fresh & (_microseconds(rows[EVENT_TIMESTAMP]) < self._known.since + _SLACK_US)
        if doubtful.any():
            places = np.flatnonzero(doubtful)
            old = rows.take(places).append_column("_n", pa.array(places))
            kept = unknown_rows(old, self._followed.newer(-1))["_n"].to_numpy()
            fresh[np.setdiff1d(places, kept)] = False
        return fresh


def _standing(rows: pa.Table, standing: Standing | None) -> Mask:
    if standing is None or USER_ID not in rows.column_names:
        return np.ones(len(rows), bool)
    return np.asarray(standing(rows[USER_ID]).to_numpy(zero_copy_only=False), bool)


def _upto(arrivals: Arrivals) -> dict[str, int]:
    partitions = np.unique(arrivals.partition)
    return {arrivals.app_ids[int(p)]: int(arrivals.position[arrivals.partition == p].max()) for p in partitions}


def _microseconds(times: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    return np.asarray(times.cast(pa.int64()).to_numpy(), np.int64)


def _newest(table: DeltaTable) -> int:
    """Latest ``ingested_at`` of a table (us), as far as it tells; 0 of an empty one."""
    actions = pa.table(table.get_add_actions(flatten=True))
    told = f"max.{INGESTED_AT}"
    if told not in actions.column_names:
        return 0
    return int(pc.max(actions[told].cast(pa.timestamp("us", "UTC")).cast(pa.int64())).as_py() or 0)
