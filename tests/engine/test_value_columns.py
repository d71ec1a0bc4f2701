"""Columns encoded at once are Feast's own bytes, value by value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from feast import ValueType
from feast.type_map import python_values_to_proto_values
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.core.clock import from_us
from feature_repo.engine.byte_columns import Column, decimals, joined, varints
from feature_repo.engine.redis_wire import bulk_or_empty
from feature_repo.engine.value_columns import stamp_column, value_column

INT32, INT64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
KINDS = {
    "string": (ValueType.STRING, pa.string(), st.text(max_size=300)),
    "large string": (ValueType.STRING, pa.large_string(), st.text(max_size=5)),
    "bytes": (ValueType.BYTES, pa.binary(), st.binary(min_size=1, max_size=300)),
    "bool": (ValueType.BOOL, pa.bool_(), st.booleans()),
    "int32": (ValueType.INT32, pa.int32(), INT32),
    "int64": (ValueType.INT64, pa.int64(), INT64),
    "int64 of int16": (ValueType.INT64, pa.int16(), st.integers(-(2**15), 2**15 - 1)),
    "float32": (ValueType.FLOAT, pa.float32(), st.floats(width=32)),
    "float64": (ValueType.DOUBLE, pa.float64(), st.floats()),
    "strings": (ValueType.STRING_LIST, pa.list_(pa.string()), st.lists(st.text(max_size=3), max_size=3)),
    "doubles": (ValueType.DOUBLE_LIST, pa.list_(pa.float64()), st.lists(st.floats(allow_nan=False), max_size=3)),
}


def written(values: pa.Array, kind: ValueType) -> list[bytes]:
    """Serialized values, as they are cut out of the arguments of a command."""
    column, valid = value_column(values, kind)
    arguments = joined(bulk_or_empty(column, valid, len(values)).pieces, len(values)).to_pylist()
    found = []
    for argument in arguments:
        length, rest = argument.split(b"\r\n", 1)
        assert (length[:1], rest[-2:], int(length[1:])) == (b"$", b"\r\n", len(rest) - 2)
        found.append(rest[:-2])
    return found


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
def test_values_are_feasts_bytes(name: str, data: st.DataObject) -> None:
    kind, arrow, values = KINDS[name]
    column = pa.array(data.draw(st.lists(st.none() | values, min_size=1, max_size=20)), arrow)
    stock = python_values_to_proto_values(column.to_pylist(), kind)
    assert written(column, kind) == [proto.SerializeToString() for proto in stock]


@pytest.mark.parametrize("name", KINDS)
def test_a_column_of_nulls_is_empty_values(name: str) -> None:
    kind, arrow, _ = KINDS[name]
    assert written(pa.nulls(3, arrow), kind) == [b"", b"", b""]


def test_empty_bytes_are_a_value_and_not_null() -> None:
    # Stock Feast's answer hangs on the batch: NULL if no value in it is longer.
    column = pa.array([b"", b"x", None])
    stock = python_values_to_proto_values(column.to_pylist(), ValueType.BYTES)
    assert written(column, ValueType.BYTES) == [each.SerializeToString() for each in stock]
    assert written(column.slice(0, 1), ValueType.BYTES) == [stock[0].SerializeToString()]


def test_a_slice_is_encoded_and_not_what_it_was_cut_from() -> None:
    whole = pa.array(["a", None, "b", "c", None])
    assert written(whole.slice(2, 2), ValueType.STRING) == written(pa.array(["b", "c"]), ValueType.STRING)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("second", [-1, 0, 1, 1_700_000_000])
def test_times_are_whole_seconds_rounded_down(unit: str, second: int) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second, milliseconds=0 if unit == "s" else 999)
    whole = python_values_to_proto_values([datetime.fromtimestamp(second, tz=UTC)], ValueType.UNIX_TIMESTAMP)
    found = written(pa.array([at, None], pa.timestamp(unit, "UTC")), ValueType.UNIX_TIMESTAMP)
    assert found == [whole[0].SerializeToString(), b""]


def test_columns_of_other_types_than_declared_are_left_to_feast() -> None:
    assert written(pa.array([1, None]), ValueType.DOUBLE) == [
        each.SerializeToString() for each in python_values_to_proto_values([1, None], ValueType.DOUBLE)
    ]


Instants = st.integers(-(2**40) * 1_000, 2**44 * 1_000) | st.integers(-3, 3).map(lambda second: second * 1_000_000)


@given(st.lists(Instants, min_size=1, max_size=10))
def test_event_times_are_protobufs_bytes(instants: list[int]) -> None:
    def stamp(us: int) -> bytes:
        found = Timestamp()
        found.FromDatetime(from_us(us))
        return found.SerializeToString()

    column = stamp_column(np.array(instants))
    found = joined(column.pieces, len(instants)).to_pylist()
    assert found == [stamp(us) for us in instants]
    assert np.broadcast_to(column.lengths, len(found)).tolist() == [len(each) for each in found]


@given(st.lists(INT64, max_size=10))
def test_lengths_are_those_of_the_bytes(numbers: list[int]) -> None:
    for column in (varints(np.array(numbers, np.int64)), decimals(np.array(numbers, np.int64))):
        both = Column.concat(b"<", column, b">")
        found = joined(both.pieces, len(numbers)).to_pylist()
        assert np.broadcast_to(both.lengths, len(numbers)).tolist() == [len(each) for each in found]


def test_rows_of_nothing_but_constants_are_repeated() -> None:
    def both(*pieces: Any, rows: int) -> list[bytes]:
        return joined(pieces, rows).to_pylist()

    assert both(b"a", b"b", rows=2) == [b"ab", b"ab"]
    assert both(rows=2) == [b"", b""]
    assert both(b"a", rows=0) == []
