"""Rows that Feast writes to the offline store: logged features, and rows of ordinary views kept in a Parquet file."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote as url_quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FeatureView
from feast.feature_logging import LoggingDestination
from feast.infra.offline_stores.file_source import FileLoggingDestination

from feature_repo.core.errors import DataError, did_you_mean
from feature_repo.core.settings import load_settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.retrieval import replacing
from feature_repo.engine.sources import is_delta, located, relation_of, schema_of

ROWS_PER_GROUP = 122_880


def append_logs(logs: pa.Table | Path, destination: LoggingDestination) -> None:
    """Add logged features to a directory of Parquet files, below one directory per value of ``partition_by``.

    A file appears with all of its rows or not at all.

    Parameters
    ----------
    logs
        Rows, or a directory of Parquet files with them.

    Raises
    ------
    DataError
        The destination is no directory of files, or is partitioned by a column the logs lack.
    """
    if not isinstance(destination, FileLoggingDestination):
        raise DataError(
            f"Features cannot be logged to {type(destination).__name__}.", hint="use FileLoggingDestination."
        )
    table = pq.read_table(logs) if isinstance(logs, Path) else logs
    columns = destination.partition_by or []
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise DataError(
            f"Logs are partitioned by '{missing[0]}', which they lack",
            hint=did_you_mean(missing[0], table.column_names),
        )
    for part in _parts(table, columns) if table.num_rows else ():
        directory = Path(located(destination.path), *(_named(column, part[column][0].as_py()) for column in columns))
        with replacing(directory / f"{secrets.token_hex(16)}.parquet") as partial:
            pq.write_table(part, partial, row_group_size=ROWS_PER_GROUP)


def _parts(table: pa.Table, columns: list[str]) -> Iterator[pa.Table]:
    """Rows with the same values in all columns, for every such combination."""
    if not columns:
        yield table
        return
    values = pc.dictionary_encode(table[columns[0]], null_encoding="encode").combine_chunks()
    for i in range(len(values.dictionary)):
        yield from _parts(table.filter(pc.equal(values.indices, i)), columns[1:])


def _named(column: str, value: object) -> str:
    # As Hive names directories; the files hold the column, too.
    return f"{column}={'__HIVE_DEFAULT_PARTITION__' if value is None else url_quote(str(value), safe=' :+')}"


def append_rows(view: FeatureView, rows: pa.Table) -> None:
    """Add rows to the Parquet file of an ordinary view's source. One process at a time may do so.

    Raises
    ------
    DataError
        The source is a table of the event log, which events enter through the door alone; or columns differ.
    """
    source = view.batch_source
    if is_delta(source):
        raise DataError(
            f"View '{view.name}' reads the event log, which rows cannot be pushed to.",
            hint="import its events (`portrait events import`), or send them to the stream.",
        )
    schema = schema_of(source)
    differing = sorted(set(schema.names) ^ set(rows.column_names))
    if differing:
        raise DataError(
            f"Rows for view '{view.name}' and its source '{source.name}' do not have the same columns: "
            f"{', '.join(differing)}.",
            hint=f"pass {', '.join(schema.names)}.",
        )
    fresh = rows.select(schema.names).cast(schema)
    path = Path(located(source.path))
    with replacing(path) as partial, closing(connect_duckdb(load_settings())) as connection:
        held = connection.sql(f"FROM {relation_of(source)}").to_arrow_reader(ROWS_PER_GROUP)
        with pq.ParquetWriter(partial, schema) as writer:
            for batch in held:
                writer.write_table(pa.Table.from_batches([batch]).cast(schema))
            writer.write_table(fresh)
