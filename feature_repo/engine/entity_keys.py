"""Redis keys of entities: Feast's own serialization (version 3) and the project, for whole columns at once."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from feast.protos.feast.types.Value_pb2 import ValueType

from feature_repo.core.errors import DataError
from feature_repo.engine.byte_columns import Column, Ints, fixed, joined

_PAIR = struct.Struct("<II")
_KINDS = {
    pa.string(): ValueType.STRING,
    pa.large_string(): ValueType.STRING,
    pa.binary(): ValueType.BYTES,
    pa.large_binary(): ValueType.BYTES,
    pa.int32(): ValueType.INT32,
    pa.int64(): ValueType.INT64,
}
_NUMBERS: dict[int, struct.Struct] = {ValueType.INT32: struct.Struct("<i"), ValueType.INT64: struct.Struct("<q")}
_STRING = int(ValueType.STRING)


def entity_keys(project: str, join_keys: Sequence[str], columns: Sequence[pa.Array | pa.ChunkedArray]) -> list[bytes]:
    """Return what :func:`entity_key_array` does as Python bytes, sooner for the few keys of a request."""
    kinds = [_kind(name, column) for name, column in zip(join_keys, columns, strict=True)]
    return keys_of_values(project, join_keys, [column.to_pylist() for column in columns], kinds)


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
    return joined(Column.concat(_prefix(tuple(join_keys)), *parts, project.encode()).pieces, len(columns[0]))


def keys_of_values(
    project: str, join_keys: Sequence[str], columns: Sequence[Sequence[Any]], kinds: Sequence[int]
) -> list[bytes]:
    """Return the same keys of rows of Python values.

    Parameters
    ----------
    columns
        Values in the order of the sorted ``join_keys``.
    kinds
        Feast's ``ValueType`` of each join key: ``STRING``, ``BYTES``, ``INT64`` or ``INT32``.
    """
    prefix, suffix = _prefix(tuple(join_keys)), project.encode()
    if len(columns) == 1:
        return _encoded(columns[0], kinds[0], prefix, suffix)
    parts = [_encoded(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return [b"".join((prefix, *row, suffix)) for row in zip(*parts, strict=True)]


def distinct(keys: list[bytes]) -> tuple[list[bytes], Ints | None]:
    """Return each key once, and the position of every given one among them; None if they all differ.

    >>> distinct([b"a", b"b", b"a"])
    ([b'a', b'b'], array([0, 1, 0]))
    >>> distinct([b"a", b"b"])
    ([b'a', b'b'], None)
    """
    if len(set(keys)) == len(keys):
        return keys, None
    place = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return list(place), np.array([place[key] for key in keys], np.int64)


def entity_pattern(project: str, join_keys: Sequence[str]) -> bytes:
    """Return a Redis pattern that every key of these join keys matches; a longer set of join keys does not."""
    return _literal(_prefix(tuple(sorted(join_keys)))) + project_pattern(project)


def project_pattern(project: str) -> bytes:
    """Return a Redis pattern that every entity's key of a project matches, and others may: ask :func:`entity_of`."""
    return b"*" + _literal(project.encode())


def _literal(text: bytes) -> bytes:
    return re.sub(rb"([*?\[\]\\])", rb"\\\1", text)


def entity_of(project: str, key: bytes) -> tuple[tuple[str, ...], tuple[str | bytes | int, ...]] | None:
    """Return the join keys and their values that a Redis key was made of; None if it is not one of the project's.

    >>> entity_of("shop", entity_keys("shop", ["user_id"], [pa.array(["ann"])])[0])
    (('user_id',), ('ann',))
    >>> entity_of("shop", b"portrait:shop:state") is None
    True
    """
    try:
        (count,), at, parts = struct.unpack_from("<I", key), 4, []
        for _ in range(2 * count):
            kind, length = _PAIR.unpack_from(key, at)
            at += _PAIR.size + length
            parts.append(_read(kind, key[at - length : at]))
    except (struct.error, UnicodeDecodeError):
        return None
    names = tuple(name for name in parts[:count] if isinstance(name, str))
    return (names, tuple(parts[count:])) if len(names) == count and key[at:] == project.encode() else None


def _read(kind: int, raw: bytes) -> str | bytes | int:
    if kind in _NUMBERS:
        number: int = _NUMBERS[kind].unpack(raw)[0]
        return number
    return raw.decode() if kind == ValueType.STRING else raw


@lru_cache
def _prefix(join_keys: tuple[str, ...]) -> bytes:
    names = [name.encode() for name in join_keys]
    return struct.pack("<I", len(names)) + b"".join(_PAIR.pack(ValueType.STRING, len(name)) + name for name in names)


def _encoded(column: Sequence[Any], kind: int, prefix: bytes = b"", suffix: bytes = b"") -> list[bytes]:
    if kind in _NUMBERS:
        number = _NUMBERS[kind]
        head = prefix + _PAIR.pack(kind, number.size)
        return [head + number.pack(value) + suffix for value in column]
    raw = [value.encode() for value in column] if kind == _STRING else column
    heads = {length: prefix + _PAIR.pack(kind, length) for length in set(map(len, raw))}
    if len(heads) == 1:
        [head] = heads.values()
        return [head + each + suffix for each in raw]
    return [heads[len(each)] + each + suffix for each in raw]


def _values(name: str, column: pa.Array | pa.ChunkedArray) -> Column:
    kind = _kind(name, column)
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if kind in _NUMBERS:
        return Column.concat(_PAIR.pack(kind, _NUMBERS[kind].size), fixed(values.to_numpy()))
    texts = Column.of(values)
    return Column.concat(struct.pack("<I", kind), fixed(np.asarray(texts.lengths).astype("<u4")), texts)


def _kind(name: str, column: pa.Array | pa.ChunkedArray) -> int:
    kind: int | None = _KINDS.get(column.type)
    if kind is None:
        raise DataError(
            f"Join key '{name}' is {column.type}.", hint="entities are keyed by strings, bytes or integers."
        )
    if column.null_count:
        raise DataError(
            f"Join key '{name}' is NULL in {column.null_count} rows.", hint="leave out rows that are about no entity."
        )
    return kind
