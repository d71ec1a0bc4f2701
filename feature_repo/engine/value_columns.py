"""Arrow columns as Feast's protobuf ``Value``s, whole columns at once; equal to Feast's own to the byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from feast import ValueType
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values

from feature_repo.engine.byte_columns import Column, Ints, fixed, joined, varints

Bools = npt.NDArray[np.bool_]
Encoder: TypeAlias = Callable[[pa.Array, Bools | None], tuple[Column, Bools | None]]

_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_NOTHING = pa.scalar(b"", pa.large_binary())
_INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64())


def value_column(values: pa.Array, kind: ValueType) -> tuple[Column, Bools | None]:
    """Return a column's values as serialized ``Value``s, and which of them are there; None if all are.

    Parameters
    ----------
    values
        Of any type that Feast takes for the kind; the usual pairs without a Python object per value.
    kind
        The feature's declared type.

    Returns
    -------
    Column, array
        NULL, and NaN as in stock Feast, is not there: its bytes here mean nothing, an empty value stands for it. Times
        are whole seconds, rounded down.
    """
    encoder = _ENCODERS.get(kind)
    if encoder and encoder[0](values.type):
        return encoder[1](values, values.is_valid().to_numpy(zero_copy_only=False) if values.null_count else None)
    protos: list[Value] = python_values_to_proto_values(values.to_pylist(), kind)
    return Column.of([proto.SerializeToString() for proto in protos]), None


def stamp_column(us: Ints) -> Column:
    """Return instants (us) as serialized protobuf ``Timestamp``s; a part that is zero is left out."""
    seconds, nanos = us // 1_000_000, us % 1_000_000 * 1_000
    return Column.concat(_field(b"\x08", seconds), _field(b"\x10", nanos))


def _field(tag: bytes, values: Ints) -> Column:
    there = values != 0
    if not there.any():
        return Column((), 0)
    column = Column.concat(tag, varints(values))
    if there.all():
        return column
    return Column.of(pc.if_else(pa.array(there), joined(column.pieces, len(values)), _NOTHING))


def _floats(tag: bytes, dtype: str) -> Encoder:
    def encode(values: pa.Array, valid: Bools | None) -> tuple[Column, Bools | None]:
        numbers = _numpy(values, valid).astype(dtype, copy=False)
        nan = np.isnan(numbers)
        if nan.any():
            valid = ~nan if valid is None else valid & ~nan
        return Column.concat(tag, fixed(numbers)), valid

    return encode


def _ints(tag: bytes) -> Encoder:
    def encode(values: pa.Array, valid: Bools | None) -> tuple[Column, Bools | None]:
        return Column.concat(tag, varints(_numpy(values, valid).astype(np.int64, copy=False))), valid

    return encode


def _times(values: pa.Array, valid: Bools | None) -> tuple[Column, Bools | None]:
    ticks = _numpy(values.cast(pa.int64()), valid)
    return Column.concat(b"\x40", varints(ticks // _UNITS[values.type.unit])), valid


def _bools(values: pa.Array, valid: Bools | None) -> tuple[Column, Bools | None]:
    return Column.concat(b"\x38", fixed(_numpy(values, valid).astype(np.uint8))), valid


def _strings(tag: bytes) -> Encoder:
    def encode(values: pa.Array, valid: Bools | None) -> tuple[Column, Bools | None]:
        filled = Column.of(values.cast(pa.large_binary()).fill_null(b""))
        return Column.concat(tag, varints(np.asarray(filled.lengths)), filled), valid

    return encode


def _numpy(values: pa.Array, valid: Bools | None) -> npt.NDArray[Any]:
    zero: Any = False if pa.types.is_boolean(values.type) else 0
    filled = values if valid is None else values.fill_null(zero)
    numbers: npt.NDArray[Any] = filled.to_numpy(zero_copy_only=False)
    return numbers


def _one_of(*kinds: pa.DataType) -> Callable[[pa.DataType], bool]:
    return lambda kind: kind in kinds


# The Arrow types an encoder takes. Tags are those of Value's fields:
# https://github.com/feast-dev/feast/blob/v0.67.0/protos/feast/types/Value.proto
_ENCODERS: dict[ValueType, tuple[Callable[[pa.DataType], bool], Encoder]] = {
    ValueType.BYTES: (_one_of(pa.binary(), pa.large_binary()), _strings(b"\x0a")),
    ValueType.STRING: (_one_of(pa.string(), pa.large_string()), _strings(b"\x12")),
    ValueType.INT32: (_one_of(*_INTEGERS[:3]), _ints(b"\x18")),
    ValueType.INT64: (_one_of(*_INTEGERS), _ints(b"\x20")),
    ValueType.DOUBLE: (_one_of(pa.float64(), pa.float32()), _floats(b"\x29", "<f8")),
    ValueType.FLOAT: (_one_of(pa.float32()), _floats(b"\x35", "<f4")),
    ValueType.BOOL: (_one_of(pa.bool_()), _bools),
    ValueType.UNIX_TIMESTAMP: (pa.types.is_timestamp, _times),
}
