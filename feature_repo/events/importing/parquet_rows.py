"""Parquet: typed columns, handed on as text but for times, which keep their type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.core.errors import DataError
from feature_repo.events.importing.delimited import column_places
from feature_repo.events.importing.files import PARQUET, head_of
from feature_repo.events.importing.rows import PIECE_ROWS, Piece


def read_parquet(path: Path, stream: BinaryIO, wanted: Mapping[str, bool]) -> Iterator[Piece]:
    """Read a Parquet file in pieces.

    Raises
    ------
    DataError
        It is no Parquet or damaged, a column is missing, or holds lists or structures.
    """
    if head_of(stream, 4) != PARQUET:
        raise DataError(
            f"'{path}' is no Parquet file.", hint="write its format into the mapping: `source: {format: csv}`."
        )
    try:
        with pq.ParquetFile(stream) as file:
            names = list(column_places(path, file.schema_arrow.names, wanted, listed=True))
            start = 0
            for batch in file.iter_batches(PIECE_ROWS, columns=names):
                yield _piece(path, batch, start)
                start += batch.num_rows
    except (pa.ArrowException, OSError):
        raise DataError(
            f"The Parquet file '{path}' is damaged or cut off; nothing was imported.", hint="fetch it again."
        ) from None


def _piece(path: Path, batch: pa.RecordBatch, start: int) -> Piece:
    columns = {field.name: _plain(path, field.name, column) for field, column in zip(batch.schema, batch, strict=True)}
    return Piece(lines=pa.array(range(start, start + batch.num_rows), pa.int64()), columns=columns)


def _plain(path: Path, name: str, column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(path, name, column.dictionary_decode())
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return column
    if pa.types.is_floating(kind):
        return _number_text(column)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise DataError(f"Column '{name}' of '{path}' holds bytes.", hint="write it as text (strings) and import that.")
    try:
        return column.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        raise DataError(
            f"Column '{name}' of '{path}' is {kind}, not a column of plain values.",
            hint="write what is needed of it into a column of its own.",
        ) from None


def _number_text(column: pa.Array) -> pa.Array:
    """Text of floats; a whole number has no '.0': pandas makes floats of integers where one is missing."""
    numbers = column.cast(pa.float64())
    numbers = pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    whole = pc.fill_null(pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less(pc.abs(numbers), 2.0**53)), False)
    integers = pc.if_else(whole, numbers, pa.scalar(None, pa.float64())).cast(pa.int64()).cast(pa.string())
    return pc.if_else(whole, integers, numbers.cast(pa.string()))
