"""The rows features are joined to: an entity_df as a frame, as SQL, or the instants at which views have rows.

A spine is held as the table ``spine_rows`` of a connection, with a row number that keeps its order and its
instants in microseconds. SQL is run where the table is: its rows never pass through Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import pandas as pd
import pyarrow as pa

from feature_repo.core.errors import DataError, SettingsError, did_you_mean
from feature_repo.engine.duckdb_sql import AT, ROW, quote

EVENT_TIMESTAMP = "event_timestamp"
SPINE = "spine_rows"

_INCOMING = "incoming"
# DuckDB's names of the types that are instants, or can be read as one. A time without a zone is UTC.
_INSTANTS = ("TIMESTAMP", "DATE")
_FLOATS = ("DOUBLE", "FLOAT")
_SQL_TYPES = {
    pa.string(): "VARCHAR",
    pa.large_string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.large_binary(): "BLOB",
    pa.int64(): "BIGINT",
    pa.int32(): "INTEGER",
}


@dataclass(frozen=True)
class Spine:
    """The rows features are joined to, held as the table ``spine_rows``.

    Attributes
    ----------
    columns
        Columns of the result that come from the spine, in order.
    time
        The one of them that holds the instants.
    span
        Smallest and largest instant (us); None when there are no rows.
    rows
        How many there are.
    """

    columns: tuple[str, ...]
    time: str
    span: tuple[int, int] | None
    rows: int

    @staticmethod
    def time_column(frame: pd.DataFrame) -> str:
        """``event_timestamp``, or the only column of times.

        Raises
        ------
        DataError
            There is none, or more than one.
        """
        times = (str(column) for column in frame.columns if pd.api.types.is_datetime64_any_dtype(frame[column]))
        return _time_column(map(str, frame.columns), times)


def spine_times(frame: pd.DataFrame) -> pd.Series[pd.Timestamp]:
    """Return the instants of an entity_df's rows, in UTC; times without a zone, and dates, are taken for UTC.

    Raises
    ------
    DataError
        The time column is missing, or holds something else.
    """
    column = Spine.time_column(frame)
    times: pd.Series[pd.Timestamp]
    try:
        if isinstance(frame[column].dtype, pd.DatetimeTZDtype):
            times = frame[column].dt.tz_convert("UTC")  # to_datetime would look through them first
        else:
            times = pd.to_datetime(frame[column], utc=True)
    except (ValueError, TypeError) as error:
        raise DataError(f"entity_df column '{column}' is not a time: {error}", hint="pass UTC timestamps.") from None
    return times


def spine_of(connection: duckdb.DuckDBPyConnection, rows: pd.DataFrame | str, join_keys: Sequence[str]) -> Spine:
    """Hold the rows of an entity_df, or of a SQL query, as the spine of the connection.

    Raises
    ------
    DataError
        A join key or the time column is missing, a time is NULL or not a time, or the SQL fails.
    """
    if isinstance(rows, str):
        return _queried(connection, rows, join_keys)
    table = _plain_frame(rows)
    _check_keys(table.column_names, join_keys)
    return write_spine(connection, table, Spine.time_column(rows))


def write_spine(connection: duckdb.DuckDBPyConnection, table: pa.Table, time: str) -> Spine:
    """Hold a table with a column of times as the spine of the connection."""
    connection.register(_INCOMING, table)
    try:
        return spine_from(connection, _INCOMING, table.column_names, time)
    finally:
        connection.unregister(_INCOMING)


def spine_from(connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str], time: str) -> Spine:
    """Hold the rows of a relation as the spine of the connection, in the relation's order.

    Raises
    ------
    DataError
        A time is NULL, or a column has a name that the engine needs.
    """
    _check_names(columns)
    instant = f"CAST(CAST({quote(time)} AS TIMESTAMP) AS TIMESTAMPTZ)"  # there is no cast from nanoseconds to a zone
    # Rows are numbered as they come, which is their order only where DuckDB keeps one.
    [(kept,)] = connection.execute("SELECT current_setting('preserve_insertion_order')").fetchall()
    connection.execute("SET preserve_insertion_order = true")
    query = (
        f"SELECT row_number() OVER () - 1 AS {ROW}, epoch_us({instant}) AS {AT}, "
        f"* REPLACE ({instant} AS {quote(time)}) FROM {relation}"
    )
    try:
        with within_memory():
            connection.execute(f"CREATE OR REPLACE TABLE {SPINE} AS {query}")
    finally:
        connection.execute(f"SET preserve_insertion_order = {kept}")
    [(rows, known, first, last)] = connection.execute(
        f"SELECT count(*), count({AT}), min({AT}), max({AT}) FROM {SPINE}"
    ).fetchall()
    if known < rows:
        raise DataError(
            f"entity_df column '{time}' is NULL in {rows - known} rows.", hint="drop these rows, or give them a time."
        )
    return Spine(tuple(columns), time, None if first is None else (first, last), rows)


@contextmanager
def within_memory() -> Iterator[None]:
    """Turn what DuckDB raises when it cannot spill enough into an error that says what to do.

    Raises
    ------
    SettingsError
        Memory or the disk that is spilled to do not suffice.
    """
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise SettingsError(
            f"The query does not fit: {str(error).splitlines()[0]}",
            hint="raise PORTRAIT_MEMORY, free space below the home, or ask for fewer rows or views at once.",
        ) from None


def key_expression(connection: duckdb.DuckDBPyConnection, column: str, kind: pa.DataType) -> str:
    """Return a column of the spine as an expression of the type that a view's key has.

    Raises
    ------
    DataError
        The column holds something that is no value of that type.
    """
    wanted = _SQL_TYPES.get(kind)
    held = {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE {SPINE}").fetchall()}[column]
    if wanted is None or held == wanted:
        return quote(column)
    cast = f"TRY_CAST({quote(column)} AS {wanted})"
    # A fraction would be rounded to an id, and the text of a float ("7.0") is none.
    fails = f"{cast} IS NULL OR {cast} <> {quote(column)}" if held in _FLOATS else f"{cast} IS NULL"
    refused = "true" if held in _FLOATS and wanted == "VARCHAR" else fails
    [(wrong,)] = connection.execute(
        f"SELECT count(*) FROM {SPINE} WHERE {quote(column)} IS NOT NULL AND ({refused})"
    ).fetchall()
    if wrong:
        raise DataError(
            f"entity_df column '{column}' holds {held}, and {wrong} rows are no {wanted}, which the view's key is.",
            hint="convert the column; in pandas a column of integers with gaps becomes one of floats.",
        )
    return f"CAST({quote(column)} AS {wanted})"


def _queried(connection: duckdb.DuckDBPyConnection, query: str, join_keys: Sequence[str]) -> Spine:
    relation = f"({query.rstrip().rstrip(';')}\n)"
    try:
        described = connection.execute(f"DESCRIBE FROM {relation}").fetchall()
        kinds = {name: kind for name, kind, *_ in described}
        _check_keys(kinds, join_keys)
        time = _time_column(kinds, (name for name, kind in kinds.items() if kind.startswith(_INSTANTS)))
        if not kinds[time].startswith(_INSTANTS):
            raise DataError(f"entity_df column '{time}' holds {kinds[time]}.", hint="pass UTC timestamps.")
        return spine_from(connection, relation, list(kinds), time)
    except duckdb.Error as error:
        raise DataError(f"The SQL of entity_df fails: {error}", hint="run it in DuckDB and correct it.") from None


def _plain_frame(frame: pd.DataFrame) -> pa.Table:
    times = spine_times(frame).dt.as_unit("us")
    try:
        table = pa.Table.from_pandas(frame.assign(**{Spine.time_column(frame): times}), preserve_index=False)
    except pa.ArrowException as error:
        raise DataError(
            f"entity_df has a column of mixed types: {error}", hint="give each of its columns one type."
        ) from None
    return table.cast(pa.schema([field.with_type(_microseconds(field.type)) for field in table.schema]), safe=False)


def _microseconds(kind: pa.DataType) -> pa.DataType:
    # DuckDB has no nanoseconds with a zone.
    return pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) else kind


def _time_column(columns: Iterable[str], times: Iterable[str]) -> str:
    if EVENT_TIMESTAMP in columns:
        return EVENT_TIMESTAMP
    found = list(times)
    if len(found) == 1:
        return found[0]
    raise DataError(
        f"entity_df has {len(found)} columns of times and none is named '{EVENT_TIMESTAMP}'.",
        hint=f"name the column of observation times '{EVENT_TIMESTAMP}'.",
    )


def _check_keys(columns: Iterable[str], join_keys: Sequence[str]) -> None:
    known = list(columns)
    for key in join_keys:
        if key not in known:
            raise DataError(f"entity_df lacks the join key '{key}'", hint=did_you_mean(key, known))


def _check_names(columns: Sequence[str]) -> None:
    # Names that differ in case are one to DuckDB.
    folded = [column.casefold() for column in columns]
    taken = next((name for name, fold in zip(columns, folded, strict=True) if fold in {ROW, AT}), None)
    twice = next((name for name, fold in zip(columns, folded, strict=True) if folded.count(fold) > 1), None)
    if taken or twice:
        why = "a name that the engine needs" if taken else "and another of that name, or of that name in other letters"
        raise DataError(f"entity_df has a column '{taken or twice}', {why}.", hint="rename it.")
