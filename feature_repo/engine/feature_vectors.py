"""Feast's answer to ``get_online_features``, as the bytes of its ``FeatureVector``s: no message per value is built.

The bytes are parsed once by protobuf itself. Integers are written with as many digits as the largest of them needs,
which every parser of the wire format takes: https://protobuf.dev/programming-guides/encoding/#varints
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from feature_repo.core.clock import SECOND
from feature_repo.engine.hash_reader import Field
from feature_repo.engine.kernels import Values
from feature_repo.engine.monoids import BOOL, FLOAT, INT, TEXT, TIME, Ints

Bools = npt.NDArray[np.bool_]

# Tags of Value's fields, see ``engine.value_columns``.
_TAGS = {INT: 0x20, FLOAT: 0x29, BOOL: 0x38, TIME: 0x40}
_PRESENT = bytes([FieldStatus.PRESENT])
_DIGIT = 7
_SIGNED = 10  # digits of a negative number


def window_vectors(kinds: Sequence[str], columns: Sequence[Values], at: int) -> list[bytes]:
    """Return the vector of each windowed feature, read at instant ``at`` (us); NULL is a value without content.

    Parameters
    ----------
    kinds
        Of the features; times are cut to seconds, as Feast's are.
    """
    found = [b""] * len(columns)
    for kind in dict.fromkeys(kinds):
        places = [i for i, each in enumerate(kinds) if each == kind]
        encode = _texts if kind == TEXT else _numbers
        for i, values in zip(places, encode(kind, [columns[i] for i in places]), strict=True):
            found[i] = values
    length = len(columns[0].data) if columns else 0
    seconds, rest = divmod(at, SECOND)
    stamp = _piece(0x1A, Timestamp(seconds=seconds, nanos=rest * 1000).SerializeToString())
    tail = _statuses(_PRESENT * length) + stamp * length
    return [values + tail for values in found]


def stored_vectors(fields: Sequence[Field], rows: Ints | None, since: int | None) -> list[bytes]:
    """Return the vector of each feature of an ordinary view.

    Parameters
    ----------
    fields
        The times of the rows, then serialized values of each feature, one per key.
    rows
        Which key each element is about; None for all of them, in order.
    since
        Rows with an earlier time (us), or none, are not there; None: all are.
    """
    stamps, *columns = ([field[i] for i in rows.tolist()] for field in fields) if rows is not None else fields
    there = [since is None or instant_of(stamp or b"") >= since for stamp in stamps]
    rest = _statuses(bytes([FieldStatus.PRESENT if known else FieldStatus.NOT_FOUND for known in there]))
    rest += _pieces(0x1A, stamps, there)
    return [_pieces(0x0A, column, there) + rest for column in columns]


def add_vectors(response: GetOnlineFeaturesResponse, vectors: Sequence[bytes]) -> None:
    """Add vectors to the results of an answer."""
    response.MergeFromString(b"".join([_piece(0x12, vector) for vector in vectors]))


def instant_of(stamp: bytes) -> int:
    """Return the instant (us) a serialized protobuf ``Timestamp`` says."""
    found = Timestamp.FromString(stamp)
    return int(found.seconds) * SECOND + int(found.nanos) // 1000


def _numbers(kind: str, columns: Sequence[Values]) -> list[bytes]:
    """Values of features of one kind: all are encoded at once, then cut apart."""
    payload = _payload(kind, np.array([column.data for column in columns]))
    size = 1 + payload.shape[-1]
    octets = np.empty((*payload.shape[:-1], 2 + size), np.uint8)
    octets[..., :3] = (0x0A, size, _TAGS[kind])
    octets[..., 3:] = payload
    valid = [column.valid for column in columns]
    if any(known is not None and not known.all() for known in valid):
        return [
            row.tobytes() if known is None else _without(row, known) for row, known in zip(octets, valid, strict=True)
        ]
    whole, width = octets.tobytes(), octets[0].size
    return [whole[i * width : (i + 1) * width] for i in range(len(columns))]


def _without(octets: Any, known: Bools) -> bytes:
    """Leave the contents out of what is NULL."""
    octets[~known, 1] = 0
    kept = np.ones(octets.shape, bool)
    kept[~known, 2:] = False
    found: bytes = octets[kept].tobytes()
    return found


def _payload(kind: str, data: Any) -> Any:
    """Bytes of numbers, ``uint8[..., width]``."""
    if kind == FLOAT:
        return data.astype("<f8", copy=False).view(np.uint8).reshape(*data.shape, 8)
    if kind == BOOL:
        return data.astype(np.uint8)[..., None]
    numbers = (data // SECOND if kind == TIME else data).astype(np.int64).view(np.uint64)
    most = int(numbers.max(initial=0))
    digits = min(max(-(-most.bit_length() // _DIGIT), 1), _SIGNED)
    octets = (numbers[..., None] >> np.arange(0, digits * _DIGIT, _DIGIT, dtype=np.uint64)).astype(np.uint8)
    octets |= 0x80  # more digits follow ...
    octets[..., -1] &= 0x7F  # ... but for the last
    return octets


def _texts(_: str, columns: Sequence[Values]) -> list[bytes]:
    return [_text_vector(column.data.tolist(), column.valid) for column in columns]


def _text_vector(texts: Sequence[Any], valid: Bools | None) -> bytes:
    known = [True] * len(texts) if valid is None else valid.tolist()
    values = [Value(string_val=text) if there else Value() for text, there in zip(texts, known, strict=True)]
    vector: bytes = GetOnlineFeaturesResponse.FeatureVector(values=values).SerializeToString()
    return vector


def _statuses(statuses: bytes) -> bytes:
    return _piece(0x12, statuses) if statuses else b""


def _pieces(tag: int, contents: Field, there: Sequence[bool]) -> bytes:
    return b"".join([_piece(tag, raw if raw and known else b"") for raw, known in zip(contents, there, strict=True)])


def _piece(tag: int, content: bytes) -> bytes:
    return _head(tag, len(content)) + content


@lru_cache
def _head(tag: int, length: int) -> bytes:
    head = bytearray([tag])
    while length >= 1 << _DIGIT:
        head.append(length & 0x7F | 0x80)
        length >>= _DIGIT
    return bytes([*head, length])
