"""The event log: one Delta Lake table per event type, the only source of truth.

Delta gives atomic commits and conflict detection; this module adds what it does not: a batch is committed from the
snapshot it was checked against, never holds an ``event_id`` twice, and every row says which version brought it in.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError

from feature_repo.core.errors import CommitConflictError, LogError
from feature_repo.core.locks import locked
from feature_repo.events.known_heads import KnownHeads
from feature_repo.events.table_head import first_line, load_table, restore_hint

EVENT_ID = "event_id"
EVENT_TIMESTAMP = "event_timestamp"
CLIENT_TIMESTAMP = "client_timestamp"
INGESTED_AT = "ingested_at"
LOG_VERSION = "log_version"

MAX_ATTEMPTS = 20

# Statistics hold the smallest and largest value of a column in the transaction log, where no DELETE reaches them:
# none for columns that may identify a person.
STATISTICS = (EVENT_TIMESTAMP, INGESTED_AT, LOG_VERSION)
_CONFIGURATION = {
    "delta.dataSkippingStatsColumns": ",".join(STATISTICS),
    "delta.deletedFileRetentionDuration": "interval 60 minutes",
    "delta.logRetentionDuration": "interval 60 minutes",
}
_FEW_ROWS = 10_000  # to open DuckDB takes longer than to find which of them are alike
_DUCKDB_TYPES = {
    pa.string(): "VARCHAR",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us", "UTC"): "TIMESTAMP WITH TIME ZONE",
}


Standing = Callable[[pa.Table], pa.Table]


@dataclass(frozen=True)
class Snapshot:
    """One version of a table: what a query reads, whatever is committed meanwhile.

    Attributes
    ----------
    path
        Directory of the table.
    table_id
        Delta's id of the table; a recreated table has another.
    version
        Delta version; rows in it have ``log_version <= version``.
    files
        Parquet files of the version: paths as the file system knows them, or addresses (``s3://...``).
    schema
        Arrow schema.
    """

    path: str
    table_id: str
    version: int
    files: tuple[str, ...]
    schema: pa.Schema

    def sql(self) -> str:
        """Return a DuckDB table expression: every column of the schema, in its type, whatever the files hold."""
        columns = ", ".join(f'NULL::{_DUCKDB_TYPES[field.type]} AS "{field.name}"' for field in self.schema)
        typed = f"SELECT {columns} WHERE false"
        if not self.files:
            return f"({typed})"
        names = ", ".join("'" + _pattern(file).replace("'", "''") + "'" for file in self.files)
        # Without a word about it, DuckDB takes a directory named 'user_id=7' for a column.
        options = "union_by_name=true, hive_partitioning=false"
        return f"({typed} UNION ALL BY NAME FROM read_parquet([{names}], {options}))"


_HEADS: KnownHeads[Snapshot] = KnownHeads()


@dataclass(frozen=True)
class Commit:
    """What a commit did: the version it made (the head when nothing was new), and what became of each row.

    Attributes
    ----------
    version
        Delta version.
    rows, duplicates
        Rows written, and rows known already.
    erased
        New rows that did not stand.
    """

    version: int
    rows: int
    duplicates: int
    erased: int = 0


def read_snapshot(path: str | Path, *, version: int | None = None) -> Snapshot:
    """Load a table's head, or the given version of it.

    Raises
    ------
    LogError
        There is no table at ``path``, or its transaction log is damaged.
    """
    if version is not None:
        return snapshot_of(path, load_table(path, version))
    if (known := _HEADS.get(path)) is not None:
        return known
    head = snapshot_of(path, load_table(path))
    _HEADS.put(path, head.version, head)
    return head


@contextmanager
def reading(*snapshots: Snapshot) -> Iterator[None]:
    """Enclose DuckDB's reading of snapshots, up to the last row fetched: what is wrong with their files is our error.

    Raises
    ------
    LogError
        A Parquet file is missing, may not be read, or is damaged; the message names its table.
    """
    try:
        yield
    except (duckdb.Error, OSError) as error:  # an Arrow reader of DuckDB raises OSError
        concerned = {snapshot.path: snapshot for snapshot in snapshots if _concerns(error, snapshot)}
        if not concerned:
            raise
        raise _damaged(error, list(concerned.values())) from None


class LogTable:
    """One table of the log, keyed by ``event_id``.

    Parameters
    ----------
    path
        Directory of the table.
    schema
        Arrow schema without ``log_version``; must hold ``event_id`` (string) and ``event_timestamp`` (us, UTC).
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.schema = schema.append(pa.field(LOG_VERSION, pa.int64(), nullable=False))

    def ensure(self) -> Snapshot:
        """Create the table if it is missing; add columns its event type has gained. A type is never changed.

        Raises
        ------
        LogError
            The table on disk declares another type for a column.
        """
        if not DeltaTable.is_deltatable(str(self.path)):
            self.path.mkdir(parents=True, exist_ok=True)
            DeltaTable.create(
                str(self.path), schema=_nullable(self.schema), mode="ignore", configuration=_CONFIGURATION
            )
        snapshot = read_snapshot(self.path)
        self._reconcile(snapshot)
        return read_snapshot(self.path)

    def commit(
        self,
        rows: pa.Table,
        *,
        app_id: str = "",
        position: int = 0,
        standing: Standing = lambda rows: rows,
    ) -> Commit:
        """Append the rows whose ``event_id`` the table does not hold, as one atomic version.

        Parameters
        ----------
        rows
            Columns of ``schema``, in any order; rows repeated within the batch are taken once.
        app_id, position
            A stream's incarnation and how far it has read. A position at or below the one the table holds for the
            ``app_id`` was committed before: nothing is written.
        standing
            Says which of some rows may be written. It is asked after the table was read that the commit goes to:
            whoever forbids rows, commits anything after that, and then looks for them, finds all there will ever be.

        Raises
        ------
        CommitConflictError
            Other writers came first ``MAX_ATTEMPTS`` times.
        LogError
            ``rows`` do not have the table's columns and types.
        """
        rows = self.conform(rows)
        for _ in range(MAX_ATTEMPTS):
            with committing(self.path):
                done = self._attempt(rows, app_id, position, standing)
            if done is not None:
                return done
        raise outrun(self.path)

    def _attempt(self, rows: pa.Table, app_id: str, position: int, standing: Standing) -> Commit | None:
        table = load_table(self.path)
        held = table.transaction_version(app_id) if app_id else None
        committed = held is not None and held >= position
        new = rows.slice(0, 0) if committed else unknown_rows(rows, snapshot_of(self.path, table))
        fresh = standing(new)
        duplicates, erased = rows.num_rows - new.num_rows, new.num_rows - fresh.num_rows
        if not fresh.num_rows:
            return Commit(table.version(), 0, duplicates, erased)
        try:
            append(table, stamped(fresh, table.version() + 1), {app_id: position} if app_id else {})
        except CommitFailedError:
            return None
        return Commit(table.version(), fresh.num_rows, duplicates, erased)

    def conform(self, rows: pa.Table) -> pa.Table:
        """Return rows with the table's columns and types, without ``log_version``.

        Raises
        ------
        LogError
            A column is missing or of another type, or a row has no ``event_id``.
        """
        wanted = pa.schema([field for field in self.schema if field.name != LOG_VERSION])
        missing = [name for name in wanted.names if name not in rows.column_names]
        if missing:
            raise LogError(f"Rows for table '{self.path.name}' lack {', '.join(missing)}.")
        if rows[EVENT_ID].null_count:
            # A row without an id is never known, so it would be written again by every retry.
            raise LogError(
                f"{rows[EVENT_ID].null_count} rows for table '{self.path.name}' have no {EVENT_ID}.",
                hint="give each row an id that follows from its content, or put it into quarantine.",
            )
        try:
            return rows.select(wanted.names).cast(_nullable(wanted))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            raise LogError(f"Rows for table '{self.path.name}' have other types than its event: {error}") from None

    def _reconcile(self, snapshot: Snapshot) -> None:
        on_disk = {field.name: field.type for field in snapshot.schema}
        for field in self.schema:
            if field.name in on_disk and on_disk[field.name] != field.type:
                raise LogError(
                    f"Table '{self.path.name}' holds {field.name} as {on_disk[field.name]}, "
                    f"its event declares {field.type}.",
                    hint="a type is never changed in place: give the new meaning a new column name.",
                )
        added = [field for field in self.schema if field.name not in on_disk]
        if added:
            empty = _nullable(pa.schema(added)).empty_table()
            write_deltalake(str(self.path), empty, mode="append", schema_mode="merge")


def stamped(rows: pa.Table, version: int) -> pa.Table:
    """Rows with the version that brings them in."""
    return rows.append_column(LOG_VERSION, pa.array(np.full(rows.num_rows, version, np.int64)))


def append(table: DeltaTable, rows: pa.Table, positions: Mapping[str, int], *, writer: str = "") -> None:
    """Write rows and an app id's positions as the version behind the one that was loaded, or not at all.

    Parameters
    ----------
    writer
        Written into the version's commit info under ``portrait.writer``, so that its writer knows it again.

    Raises
    ------
    CommitFailedError
        There is such a version by now.
    """
    write_deltalake(
        table,
        rows,
        mode="append",
        writer_properties=WriterProperties(compression="ZSTD"),
        commit_properties=CommitProperties(
            app_transactions=[Transaction(app_id, position, None) for app_id, position in positions.items()],
            custom_metadata={"portrait.writer": writer} if writer else None,
            max_commit_retries=0,
        ),
    )


@contextmanager
def committing(path: Path) -> Iterator[None]:
    """Let the committers of a table on this machine take turns, so that they do not outrun each other.

    Correctness rests on Delta's versions alone; who does without it, as compaction does, costs others a repetition.
    """
    with locked(path / "_commit.lock"):
        yield


def outrun(path: Path) -> CommitConflictError:
    """What is raised when others came first ``MAX_ATTEMPTS`` times."""
    return CommitConflictError(
        f"Table '{path.name}' of the event log was committed to by others {MAX_ATTEMPTS} times in a row.",
        hint="nothing was written; run the command again when the other writers are done.",
    )


def _damaged(error: Exception, concerned: list[Snapshot]) -> LogError:
    # An error that names no file may be about any of them: the file is looked for, as what to do depends on it.
    found = concerned if len(concerned) == 1 else (list(filter(_unreadable, concerned)) or concerned)
    names = " or ".join(f"'{Path(snapshot.path).name}'" for snapshot in found)
    places = " or ".join(snapshot.path for snapshot in found)
    return LogError(f"Table {names} of the event log cannot be read: {first_line(error)}", hint=restore_hint(places))


def _unreadable(snapshot: Snapshot) -> bool:
    try:
        for file in snapshot.files:
            if "://" not in file:
                with pq.ParquetFile(file) as opened:
                    for _ in opened.iter_batches():
                        pass
    except (pa.ArrowException, OSError):
        return True
    return False


def _concerns(error: Exception, snapshot: Snapshot) -> bool:
    """Whether an error is about a file of the snapshot, and not about the query, memory or the disk that is spilled to.

    A damaged header is a plain ``duckdb.Error`` that names no file.
    """
    if not isinstance(error, duckdb.IOException | duckdb.InvalidInputException | OSError):
        return type(error) is duckdb.Error
    return any(Path(file).name in str(error) for file in snapshot.files)


def snapshot_of(path: str | Path, table: DeltaTable, uris: Iterable[str] | None = None) -> Snapshot:
    """Return the version that was loaded, with all of its files or the given ones."""
    return Snapshot(
        path=str(path),
        table_id=str(table.metadata().id),
        version=table.version(),
        files=tuple(sorted(map(_file, table.file_uris() if uris is None else uris))),
        schema=_arrow_schema(table),
    )


def _file(uri: str) -> str:
    """Where a file is, from what delta-rs says: it percent-encodes local paths too, without a scheme before them."""
    return uri if "://" in uri else unquote(uri)


def _pattern(file: str) -> str:
    """DuckDB takes the name of a file for a pattern: make it one that matches the file alone."""
    if "://" in file:
        return file
    return "".join(f"[{letter}]" if letter in "[*?" else letter for letter in file)


def _arrow_schema(table: DeltaTable) -> pa.Schema:
    schema: pa.Schema = pa.schema(table.schema().to_arrow())
    return pa.schema([pa.field(field.name, _plain(field.type)) for field in schema])


def _plain(kind: pa.DataType) -> pa.DataType:
    # Delta hands strings over as views or large strings, depending on its version; the log has one string type.
    return pa.string() if pa.types.is_string_view(kind) or pa.types.is_large_string(kind) else kind


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in schema])


def unknown_rows(rows: pa.Table, snapshot: Snapshot) -> pa.Table:
    """Rows in order, the first of each ``event_id``, without those the table holds."""
    batch = pa.table({EVENT_ID: rows[EVENT_ID], "n": pa.array(np.arange(rows.num_rows))})
    if not snapshot.files and rows.num_rows <= _FEW_ROWS:
        return _chosen(rows, batch.group_by(EVENT_ID).aggregate([("n", "min")])["n_min"])
    # Where ids grow from batch to batch, the row groups' statistics leave little to be read.
    ends = pc.min_max(rows[EVENT_ID]).as_py()
    with duckdb.connect(config=bounds(snapshot)) as connection, reading(snapshot):
        connection.register("batch", batch)
        chosen = connection.sql(
            f"SELECT min(n) AS n FROM batch ANTI JOIN "
            f"(FROM {snapshot.sql()} WHERE {EVENT_ID} BETWEEN $min AND $max) AS known USING ({EVENT_ID}) "
            f"GROUP BY {EVENT_ID}",
            params=ends,
        ).to_arrow_table()
    return _chosen(rows, chosen["n"])


def _chosen(rows: pa.Table, places: pa.ChunkedArray) -> pa.Table:
    """Rows at these places, in their own order."""
    if len(places) == rows.num_rows:
        return rows
    chosen = np.zeros(rows.num_rows, bool)
    chosen[places.to_numpy()] = True
    return rows.filter(pa.array(chosen))


def bounds(snapshot: Snapshot) -> dict[str, str | int | bool]:
    """DuckDB's settings for a look into a table."""
    # A table knows no settings. Ids of ten million rows fit into this; more of them spill beside the table, where Delta
    # ignores names with an underscore, and not into the working directory, which is DuckDB's own choice.
    spill = Path(snapshot.path) / f"_spill-{os.getpid()}-{secrets.token_hex(4)}"
    return {"threads": 2, "memory_limit": "1GB", "temp_directory": str(spill), "autoinstall_known_extensions": False}
