"""Redis keys of entities: Feast's own serialization (version 3) and the project, for whole columns at once."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from feast.protos.feast.types.Value_pb2 import ValueType

from feature_repo.core.errors import DataError
from feature_repo.engine.byte_columns import Column, fixed, joined

_PAIR = struct.Struct("<II")
_ENCODED = {
    pa.string(): ValueType.STRING,
    pa.large_string(): ValueType.STRING,
    pa.binary(): ValueType.BYTES,
    pa.large_binary(): ValueType.BYTES,
}


def entity_keys(project: str, join_keys: Sequence[str], columns: Sequence[pa.Array | pa.ChunkedArray]) -> list[bytes]:
    """Return one Redis key per row as Python bytes; see :func:`entity_key_array`."""
    keys: list[bytes] = entity_key_array(project, join_keys, columns).to_pylist()
    return keys


def entity_key_array(project: str, join_keys: Sequence[str], columns: Sequence[pa.Array | pa.ChunkedArray]) -> pa.Array:
    """Return one Redis key per row, equal to Feast's ``serialize_entity_key`` plus the project's name.

    Parameters
    ----------
    join_keys
        Names, in sorted order.
    columns
        Values in the same order, equally long: string, binary, int32 or int64, without NULLs.

    Returns
    -------
    pyarrow.Array
        ``large_binary[rows]``.

    Raises
    ------
    DataError
        A column has another type, or a NULL.
    """
    parts = [_values(name, column) for name, column in zip(join_keys, columns, strict=True)]
    return joined(Column.concat(_prefix(join_keys), *parts, project.encode()).pieces, len(columns[0]))


def entity_pattern(project: str, join_keys: Sequence[str]) -> bytes:
    """Return a Redis pattern that every key of these join keys matches; a longer set of join keys does not."""
    glob = re.sub(rb"([*?\[\]\\\\])", rb"\\\1", _prefix(sorted(join_keys)))
    return glob + b"*" + project.encode()


def _prefix(join_keys: Sequence[str]) -> bytes:
    names = [name.encode() for name in join_keys]
    return struct.pack("<I", len(names)) + b"".join(_PAIR.pack(ValueType.STRING, len(name)) + name for name in names)


def _values(name: str, column: pa.Array | pa.ChunkedArray) -> Column:
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if values.null_count:
        raise DataError(
            f"Join key '{name}' is NULL in {values.null_count} rows.", hint="leave out rows that are about no entity."
        )
    if values.type in _ENCODED:
        texts = Column.of(values)
        lengths = fixed(np.asarray(texts.lengths).astype("<u4"))
        return Column.concat(struct.pack("<I", _ENCODED[values.type]), lengths, texts)
    if values.type == pa.int64():
        return Column.concat(_PAIR.pack(ValueType.INT64, 8), fixed(values.to_numpy()))
    if values.type == pa.int32():
        return Column.concat(_PAIR.pack(ValueType.INT32, 4), fixed(values.to_numpy()))
    raise DataError(f"Join key '{name}' is {values.type}.", hint="entities are keyed by strings, bytes or integers.")
