"""Feast file sources as DuckDB relations: Delta tables through their file list, Parquet files as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from feast import FileSource
from feast.data_format import DeltaFormat
from feast.data_source import DataSource

from feature_repo.core.errors import DataError, did_you_mean
from feature_repo.core.settings import ensure_home, load_settings
from feature_repo.engine.duckdb_sql import quote
from feature_repo.engine.spec import WindowedView
from feature_repo.events.log import EVENT_ID, Snapshot, read_snapshot, reading
from feature_repo.events.schema import TABLES, log_table
from feature_repo.events.table_head import head_of_table


def is_delta(source: DataSource) -> bool:
    """Whether a source is a Delta table."""
    return isinstance(source, FileSource) and isinstance(source.file_format, DeltaFormat)


def located(path: str) -> str:
    """Return where a source's file is: a relative path is below the home, so that a home can be moved."""
    return path if "://" in path else str(load_settings().home / path)


def relation_of(source: DataSource) -> str:
    """Return a DuckDB table expression of a source's head.

    Raises
    ------
    LogError
        A Delta table is missing or damaged.
    DataError
        The source is no file, or the file is missing.
    """
    if is_delta(source):
        return snapshot_of(source).sql()
    files = ", ".join("'" + _pattern(file) + "'" for file in _parquet(source))
    # Without a word about it, DuckDB takes a directory named 'day=7' for a column.
    return f"read_parquet([{files}], union_by_name=true, hive_partitioning=false)"


def snapshot_of(source: DataSource) -> Snapshot:
    """Head of a Delta source."""
    return read_snapshot(located(source.path))


def head_of(source: DataSource) -> str | None:
    """Return ``<table id>:<version>`` of a Delta source now; None of another one, or if it cannot be told."""
    found = head_of_table(located(source.path)) if is_delta(source) else None
    return f"{found[0]}:{found[1]}" if found else None


@contextmanager
def reading_from(*sources: DataSource) -> Iterator[None]:
    """Turn what DuckDB raises about a damaged or missing file of these sources into an error that says what to do.

    Raises
    ------
    LogError
        A file of a Delta table cannot be read.
    """
    with reading(*[snapshot_of(source) for source in sources if is_delta(source)]):
        yield


def schema_of(source: DataSource) -> pa.Schema:
    """Arrow schema of a source."""
    return (
        snapshot_of(source).schema
        if is_delta(source)
        else pa.unify_schemas([pq.read_schema(file) for file in _parquet(source)])
    )


@dataclass(frozen=True)
class MappedSource:
    """A source as the views on it name its columns: after its ``field_mapping``.

    Attributes
    ----------
    relation
        DuckDB table expression.
    schema
        Arrow schema.
    timestamp_field, created_field
        Columns of the event time, and of when the row was created (empty: none).
    """

    relation: str
    schema: pa.Schema
    timestamp_field: str
    created_field: str

    @classmethod
    def of(cls, source: DataSource) -> MappedSource:
        """Read a source's head.

        Raises
        ------
        LogError
            A Delta table is missing or damaged.
        DataError
            The source is no file, the file is missing, or it lacks a column that the mapping names.
        """
        schema = schema_of(source)
        names = {column: name for column, name in source.field_mapping.items() if column != name}
        return cls(
            renamed(relation_of(source), schema, names, source.name),
            pa.schema([field.with_name(names.get(field.name, field.name)) for field in schema]),
            names.get(source.timestamp_field, source.timestamp_field),
            names.get(source.created_timestamp_column or "", source.created_timestamp_column or ""),
        )

    def read_by(self, view: WindowedView) -> WindowedView:
        """Return a view of this source with its time columns by their mapped names."""
        return replace(view, timestamp_field=self.timestamp_field, created_field=self.created_field)


def events_of(view: WindowedView, snapshot: Snapshot) -> str:
    """Return a DuckDB table expression of the events in a snapshot, by the names the view reads their columns by.

    Raises
    ------
    DataError
        The table lacks a column that the mapping names.
    """
    return renamed(snapshot.sql(), snapshot.schema, dict(view.mapping), view.source_name)


def renamed(relation: str, schema: pa.Schema, names: Mapping[str, str], source: str) -> str:
    """Return a DuckDB table expression with some columns (keys of ``names``) under other names.

    Raises
    ------
    DataError
        The relation lacks a column that is to be renamed.
    """
    refuse_missing(names, schema.names, source)
    if not names:
        return relation
    renamed = ", ".join(f"{quote(column)} AS {quote(name)}" for column, name in names.items())
    return f"(SELECT * RENAME ({renamed}) FROM {relation})"


def lacking(relation: str, event_ids: Sequence[str]) -> str:
    """Return a DuckDB table expression without some events.

    >>> lacking("t", ["it's"])
    "(SELECT * FROM t WHERE event_id NOT IN ('it''s'))"
    """
    if not event_ids:
        return relation
    ids = ", ".join("'" + each.replace("'", "''") + "'" for each in event_ids)
    return f"(SELECT * FROM {relation} WHERE {EVENT_ID} NOT IN ({ids}))"


def refuse_missing(mapped: Iterable[str], there: Sequence[str], source: str) -> None:
    """Refuse a mapping of columns that are not there.

    Raises
    ------
    DataError
        One is not.
    """
    for column in mapped:
        if column not in there:
            raise DataError(
                f"Source '{source}' maps column '{column}', which it lacks", hint=did_you_mean(column, there)
            )


def ensure_log_table(source: DataSource) -> None:
    """Create the table of a source that stands on the event log; leave other sources alone."""
    if not is_delta(source):
        return
    path = Path(located(source.path))
    root = load_settings().log_root
    if path.parent == root and path.name in TABLES:
        ensure_home(load_settings())
        log_table(root, path.name).ensure()


def _parquet(source: DataSource) -> list[Path]:
    """Files of a Parquet source: itself, or those below it if it is a directory."""
    if not isinstance(source, FileSource):
        raise DataError(
            f"Source '{source.name}' is a {type(source).__name__}.", hint="the offline store reads FileSource only."
        )
    path = Path(located(source.path))
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    if not files:
        raise DataError(f"Source '{source.name}' has no file {path}.", hint="create it, or correct its path.")
    return files


def _pattern(file: Path) -> str:
    # DuckDB takes the name of a file for a pattern: make it one that matches the file alone.
    return re.sub(r"([\[*?])", r"[\1]", str(file)).replace("'", "''")
