"""Redis keys of entities: Feast's own serialization (version 3) and the project, for whole columns at once."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

import pyarrow as pa
from feast.protos.feast.types.Value_pb2 import ValueType

from feature_repo.core.errors import DataError

_PAIR = struct.Struct("<II")


def entity_keys(project: str, join_keys: Sequence[str], columns: Sequence[pa.Array | pa.ChunkedArray]) -> list[bytes]:
    """Return one Redis key per row, equal to Feast's ``serialize_entity_key`` plus the project's name.

    Parameters
    ----------
    join_keys
        Names, in sorted order.
    columns
        Values in the same order: string, binary, int32 or int64, without NULLs.

    Raises
    ------
    DataError
        A column has another type.
    """
    prefix = _prefix(join_keys)
    suffix = project.encode()
    parts = [_values(name, column) for name, column in zip(join_keys, columns, strict=True)]
    if len(parts) == 1:
        return [prefix + part + suffix for part in parts[0]]
    return [prefix + b"".join(row) + suffix for row in zip(*parts, strict=True)]


def entity_pattern(project: str, join_keys: Sequence[str]) -> bytes:
    """Return a Redis pattern that every key of these join keys matches; a longer set of join keys does not."""
    glob = re.sub(rb"([*?\[\]\\\\])", rb"\\\1", _prefix(sorted(join_keys)))
    return glob + b"*" + project.encode()


def _prefix(join_keys: Sequence[str]) -> bytes:
    names = [name.encode() for name in join_keys]
    return struct.pack("<I", len(names)) + b"".join(_PAIR.pack(ValueType.STRING, len(name)) + name for name in names)


def _values(name: str, column: pa.Array | pa.ChunkedArray) -> list[bytes]:
    kind, values = column.type, column.to_pylist()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        encoded = [value.encode() for value in values]
        return [_PAIR.pack(ValueType.STRING, len(value)) + value for value in encoded]
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return [_PAIR.pack(ValueType.BYTES, len(value)) + value for value in values]
    if pa.types.is_int64(kind):
        return [_PAIR.pack(ValueType.INT64, 8) + struct.pack("<q", value) for value in values]
    if pa.types.is_int32(kind):
        return [_PAIR.pack(ValueType.INT32, 4) + struct.pack("<i", value) for value in values]
    raise DataError(f"Join key '{name}' is {kind}.", hint="entities are keyed by strings, bytes or integers.")
