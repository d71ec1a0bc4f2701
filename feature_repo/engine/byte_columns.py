"""Columns of byte strings, put together column by column: no Python object per value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]
Octets = npt.NDArray[np.uint8]

# Of every row of a column: the same bytes, as many bytes (uint8[rows, width]), or a string each (large_binary[rows]).
Piece: TypeAlias = bytes | Octets | pa.Array

_NOTHING = pa.scalar(b"", pa.large_binary())
_SEVENTHS = np.arange(0, 70, 7, dtype=np.uint64)


@dataclass(frozen=True)
class Column:
    """One byte string per row, as the pieces it is joined from.

    Attributes
    ----------
    pieces
        In order; together a row's bytes.
    lengths
        Bytes per row: one number if all rows are equally long, else ``int64[rows]``.
    """

    pieces: tuple[Piece, ...]
    lengths: int | Ints

    @classmethod
    def of(cls, strings: pa.Array | Sequence[bytes]) -> Column:
        """Return byte strings, without NULLs, as a column."""
        array = strings if isinstance(strings, pa.Array) else pa.array(strings, pa.large_binary())
        array = array if pa.types.is_large_binary(array.type) else array.cast(pa.large_binary())
        return cls((array,), pc.binary_length(array).to_numpy())

    @classmethod
    def concat(cls, *columns: Column | bytes) -> Column:
        """Return a column whose rows are those of the given ones behind each other."""
        pieces: list[Piece] = []
        lengths: Any = 0
        for column in columns:
            pieces += [column] if isinstance(column, bytes) else column.pieces
            lengths = lengths + (len(column) if isinstance(column, bytes) else column.lengths)
        return cls(tuple(pieces), lengths)


def joined(pieces: Iterable[Piece], rows: int) -> pa.Array:
    """Return the bytes of each row: ``large_binary[rows]``."""
    arrays = _arrays(pieces, rows)
    if len(arrays) == 1 and isinstance(arrays[0], pa.Array):
        return arrays[0]
    if not any(isinstance(array, pa.Array) for array in arrays):
        return pa.repeat(pa.scalar(b"".join(array.as_py() for array in arrays), pa.large_binary()), rows)
    return pc.binary_join_element_wise(*arrays, _NOTHING)


def fixed(values: npt.NDArray[Any]) -> Column:
    """Return numbers as their little-endian bytes."""
    octets = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).view(np.uint8)
    width = values.dtype.itemsize
    return Column((octets.reshape(len(values), width),), width)


def decimals(values: Ints) -> Column:
    """Return integers in decimal digits."""
    if len(values) and (values == values[0]).all():
        text = b"%d" % values[0]
        return Column((text,), len(text))
    return Column.of(pa.array(values).cast(pa.string()))


def varints(values: Ints) -> Column:
    """Return integers as protobuf's base-128 varints, negative ones in two's complement (ten bytes)."""
    # (https://protobuf.dev/programming-guides/encoding/#varints)
    unsigned = values.astype(np.int64).view(np.uint64)
    lengths = 1 + (unsigned[:, None] >= np.uint64(1) << _SEVENTHS[1:]).sum(axis=1)
    longest = int(lengths.max(initial=1))
    octets = ((unsigned[:, None] >> _SEVENTHS[:longest]) & np.uint64(0x7F)).astype(np.uint8)
    places = np.arange(longest)
    octets[places < lengths[:, None] - 1] |= 0x80
    if (lengths == longest).all():
        return Column((octets,), longest)
    return Column((strings(octets[places < lengths[:, None]], lengths),), lengths)


def strings(octets: Octets, lengths: Ints) -> pa.Array:
    """Return bytes behind each other as ``large_binary[rows]``, each row of its length."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(octets))]
    )


def _arrays(pieces: Iterable[Piece], rows: int) -> list[Any]:
    """Pieces as Arrow scalars and arrays; neighbours whose width is known are written side by side first."""
    arrays: list[Any] = []
    group: list[bytes | Octets] = []
    for piece in pieces:
        if isinstance(piece, pa.Array):
            arrays += [*_group(group, rows), piece]
            group = []
        else:
            group.append(piece)
    return [*arrays, *_group(group, rows)]


def _group(group: list[bytes | Octets], rows: int) -> list[Any]:
    if not group:
        return []
    if all(isinstance(piece, bytes) for piece in group):
        return [pa.scalar(b"".join(bytes(piece) for piece in group), pa.large_binary())]
    blocks = [np.frombuffer(piece, np.uint8)[None, :] if isinstance(piece, bytes) else piece for piece in group]
    width = sum(block.shape[1] for block in blocks)
    octets, start = np.empty((rows, width), np.uint8), 0
    for block in blocks:
        octets[:, start : start + block.shape[1]] = block
        start += block.shape[1]
    return [strings(octets.reshape(-1), np.full(rows, width, np.int64))]
