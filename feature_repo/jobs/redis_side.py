"""What Redis says of some entities of a view: features by the doors that serve them, and what they were read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import pyarrow as pa
from feast import FeatureStore, FeatureView
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from feature_repo.core.clock import FixedClock, to_us
from feature_repo.core.errors import StoreUnavailableError
from feature_repo.engine.entity_keys import entity_keys
from feature_repo.engine.hash_reader import HashRead, read_hashes
from feature_repo.engine.kernels import Values
from feature_repo.engine.monoids import monoid_of
from feature_repo.engine.positions import Layout, Positions
from feature_repo.engine.row_encoder import RowEncoder
from feature_repo.engine.spec import is_windowed, windowed_view_of
from feature_repo.engine.tile_codec import TileCodec
from feature_repo.engine.window_reader import ViewRead, WindowReader
from feature_repo.jobs.causes import Held


@dataclass(frozen=True, eq=False)
class RedisSide:
    """Entities of a view in Redis, read at instant ``at`` (us); their keys stand in ``entities``."""

    store: FeatureStore
    client: Any
    view: FeatureView
    entities: pa.Table
    at: int

    @cached_property
    def now(self) -> int:
        """The server's time (us)."""
        seconds, microseconds = self.client.time()
        return int(seconds) * 1_000_000 + int(microseconds)

    @cached_property
    def unanswered(self) -> frozenset[str]:
        """Features that the state which is served cannot answer."""
        layout = self._layout
        if layout is None:
            return frozenset()
        spec = windowed_view_of(self.view)
        return frozenset(each.name for each in spec.features if not layout.serves(spec, each))

    def held(self) -> list[Held]:
        """What Redis holds of each entity, now."""
        if self._layout is not None:
            return _states(self._read((self._layout.field,)), self._layout)
        return [_row(row) for row in self._read(tuple(RowEncoder.of(self.view).names))]

    def values(self, held: Sequence[Held]) -> dict[str, list[Any]]:
        """Features of each entity, NULL where what is held cannot be read; times in microseconds."""
        rows = [i for i, each in enumerate(held) if each.readable]
        readable = self.entities.take(pa.array(rows, pa.int64()))
        answers = self._windows(rows) if is_windowed(self.view) else self._rows(readable)
        found: dict[str, list[Any]] = {name: [None] * len(held) for name in answers}
        for name, column in answers.items():
            for i, value in zip(rows, column, strict=True):
                found[name][i] = value
        return found

    def _windows(self, rows: Sequence[int]) -> dict[str, list[Any]]:
        spec = windowed_view_of(self.view)
        read = ViewRead(spec, spec.features, [self._keys[i] for i in rows])
        [columns] = WindowReader(self.store.project).read(self.client, [read], self.at)
        return {feature.name: _listed(column) for feature, column in zip(spec.features, columns, strict=True)}

    def _rows(self, entities: pa.Table) -> dict[str, list[Any]]:
        # The comparison's instant decides what is too old, not the moment of the read.
        self.store._get_provider().online_store.clock = FixedClock(self.at)  # noqa: SLF001 - Feast has no other door
        names = [name for name, _ in RowEncoder.of(self.view).features]
        found = self.store.get_online_features(
            features=[f"{self.view.name}:{name}" for name in names], entity_rows=entities.to_pylist()
        ).to_dict()
        return {name: [to_us(each) if isinstance(each, datetime) else each for each in found[name]] for name in names}

    def _read(self, fields: tuple[bytes, ...]) -> list[tuple[bytes | None, ...]]:
        [columns] = read_hashes(self.client, [HashRead(self._keys, fields)])
        return list(zip(*columns, strict=True))

    @cached_property
    def _keys(self) -> list[bytes]:
        names = self.entities.column_names
        return entity_keys(self.store.project, names, [self.entities[name] for name in names])

    @cached_property
    def _layout(self) -> Layout | None:
        return Positions(self.client, self.store.project).serving(self.view.name) if is_windowed(self.view) else None


def _states(rows: Sequence[Sequence[bytes | None]], layout: Layout) -> list[Held]:
    codec = TileCodec([monoid_of(key) for key in layout.state])

    def one(blob: bytes | None) -> Held:
        if blob is None:
            return Held()
        try:
            return Held(present=True, upto=int(codec.stored([blob]).versions[0]))
        except StoreUnavailableError:
            return Held(present=True, readable=False)

    return [one(blob) for [blob] in rows]


def _row(fields: Sequence[bytes | None]) -> Held:
    stamp, *values = fields
    if stamp is None:
        return Held()
    try:
        at = Timestamp.FromString(stamp)
        for value in values:
            Value.FromString(value or b"")
    except DecodeError:
        return Held(present=True, readable=False)
    return Held(present=True, upto=at.ToMicroseconds())


def _listed(values: Values) -> list[Any]:
    data = values.data.tolist()
    if values.valid is None:
        return list(data)
    return [value if known else None for value, known in zip(data, values.valid.tolist(), strict=True)]
