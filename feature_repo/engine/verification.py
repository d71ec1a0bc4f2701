"""Read back a sample of what a job wrote: it says it is done when Redis holds the very values.

Other writers may have come since, and then hold later ones: a newer log version, a later event time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from feature_repo.core.errors import StoreUnavailableError
from feature_repo.engine.byte_columns import Column, joined
from feature_repo.engine.hash_reader import Field, HashRead, read_hashes
from feature_repo.engine.row_encoder import RowEncoder
from feature_repo.engine.tile_codec import TileCodec

BATCHES_PER_ROW = 8


def sampled(keys: Sequence[bytes]) -> list[bytes]:
    """Return the first, the middle and the last of some keys: a chunk is written in order, in several requests."""
    return [keys[i] for i in sorted({0, len(keys) // 2, len(keys) - 1})]


def verify_states(
    client: Any, codec: TileCodec, layout_field: bytes, keys: Sequence[bytes], written: Mapping[bytes, bytes], upto: int
) -> None:
    """Check that states are the bytes that were written, or of a later log version.

    Parameters
    ----------
    keys
        Entities to look at.
    written
        What this job wrote to them; others held the log up to ``upto`` already, which then has to be so.

    Raises
    ------
    NotHeldError
        They are not.
    StoreUnavailableError
        A state cannot be read.
    """
    [[held]] = read_hashes(client, [HashRead(keys, (layout_field,))])
    versions = codec.stored(held).versions.tolist()
    for key, state, version in zip(keys, held, versions, strict=True):
        if version < upto or (version == upto and state != written.get(key, state)):
            raise NotHeldError


class NotHeldError(Exception):
    """Redis does not hold what was written to it."""


def not_held(view: str, hint: str) -> StoreUnavailableError:
    """Return what to tell a user then."""
    return StoreUnavailableError(
        f"View '{view}': Redis does not hold what was written to it a moment ago.",
        hint=f"see that nothing else writes to or deletes keys of this database, then {hint}",
    )


@dataclass(frozen=True)
class _Written:
    expiry_ms: int
    fields: list[bytes]


@dataclass
class RowSample:
    """Some rows of an ordinary view on their way to Redis, encoded by themselves, to be compared with what it holds."""

    encoder: RowEncoder
    _rows: dict[bytes, _Written] = field(default_factory=dict)
    _batches: int = 0

    def remember(self, keys: pa.Array, batch: pa.RecordBatch) -> None:
        """Take a row of a batch, of every eighth batch."""
        if self._batches % BATCHES_PER_ROW == 0 and batch.num_rows:
            i = batch.num_rows // 2
            expiry, *fields = [_argument(column) for column in self.encoder.arguments(batch.slice(i, 1))]
            self._rows[keys[i].as_py()] = _Written(int(expiry), fields)
        self._batches += 1

    def verify(self, client: Any) -> None:
        """Check the rows taken since the last time.

        Raises
        ------
        StoreUnavailableError
            Redis holds another value, or none though the row does not expire.
        """
        rows, self._rows = self._rows, {}
        if not rows:
            return
        [fields] = read_hashes(client, [HashRead(list(rows), tuple(self.encoder.names))])
        if not all(_holds(client, *pair) for pair in zip(zip(*fields, strict=True), rows.values(), strict=True)):
            raise not_held(self.encoder.view, f"run `portrait jobs materialize --full --views {self.encoder.view}`.")


def _holds(client: Any, held: Field, written: _Written) -> bool:
    stamp = held[0]
    if stamp is None:
        seconds, microseconds = client.time()
        return 0 < written.expiry_ms <= int(seconds) * 1_000 + int(microseconds) // 1_000
    return bool([*held] == written.fields or _instant(stamp) > _instant(written.fields[0]))


def _instant(stamp: bytes) -> int:
    try:
        return int(Timestamp.FromString(stamp).ToNanoseconds())
    except DecodeError:
        return -(2**63)


def _argument(column: Column) -> bytes:
    """Return the one row of a column that is written as an argument of a command, without its frame."""
    framed: bytes = joined(column.pieces, 1)[0].as_py()
    return framed[framed.index(b"\r\n") + 2 : -2]
