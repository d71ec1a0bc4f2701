"""Feast file sources as DuckDB relations: Delta tables through their file list, Parquet files as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from feast import FileSource
from feast.data_format import DeltaFormat
from feast.data_source import DataSource

from feature_repo.core.errors import DataError
from feature_repo.core.settings import ensure_home, load_settings
from feature_repo.events.log import Snapshot, read_snapshot, reading
from feature_repo.events.schema import TABLES, log_table


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
    return f"read_parquet('{_parquet(source)}')"


def snapshot_of(source: DataSource) -> Snapshot:
    """Head of a Delta source."""
    return read_snapshot(located(source.path))


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
    return snapshot_of(source).schema if is_delta(source) else pq.read_schema(_parquet(source))


def ensure_log_table(source: DataSource) -> None:
    """Create the table of a source that stands on the event log; leave other sources alone."""
    if not is_delta(source):
        return
    path = Path(located(source.path))
    root = load_settings().log_root
    if path.parent == root and path.name in TABLES:
        ensure_home(load_settings())
        log_table(root, path.name).ensure()


def _parquet(source: DataSource) -> str:
    if not isinstance(source, FileSource):
        raise DataError(
            f"Source '{source.name}' is a {type(source).__name__}.", hint="the offline store reads FileSource only."
        )
    path = located(source.path)
    if not Path(path).is_file():
        raise DataError(f"Source '{source.name}' has no file {path}.", hint="create it, or correct its path.")
    return re.sub(r"([\[*?])", r"[\1]", path).replace("'", "''")
