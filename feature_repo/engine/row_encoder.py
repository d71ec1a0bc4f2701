"""Rows of ordinary views as stock Feast stores them in Redis: field names, values, times; and when they expire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
from feast import FeatureView, ValueType
from feast.infra.online_stores.helpers import _mmh3
from feast.protos.feast.types.Value_pb2 import Value
from feast.utils import make_tzaware

from feature_repo.core.clock import delta_us, to_us
from feature_repo.engine.byte_columns import Column, Ints, decimals
from feature_repo.engine.redis_wire import bulk, bulk_or_empty
from feature_repo.engine.redis_writer import Batch
from feature_repo.engine.value_columns import stamp_column, value_column

EVENT_TIME = "__ts"


@dataclass(frozen=True)
class PushedRow:
    """A row as ``FeatureStore.push`` hands it over; a time without a zone is UTC."""

    key: bytes
    values: Mapping[str, Value]
    at: datetime


@dataclass(frozen=True)
class RowEncoder:
    """Turns rows into what ``RedisWriter.rows`` takes.

    Attributes
    ----------
    view
        Its name.
    features
        Name and type of each feature.
    ttl
        Microseconds after its time that a row expires; 0 for never.
    """

    view: str
    features: tuple[tuple[str, ValueType], ...]
    ttl: int

    @classmethod
    def of(cls, view: FeatureView) -> RowEncoder:
        """Return the encoder of an ordinary view."""
        features = tuple((field.name, field.dtype.to_value_type()) for field in row_features(view))
        return cls(view.name, features, delta_us(view.ttl) if view.ttl else 0)

    @property
    def names(self) -> list[bytes]:
        """Hash fields of a whole row, its time's first."""
        return self.fields(name for name, _ in self.features)

    def fields(self, features: Iterable[str]) -> list[bytes]:
        """Hash fields of a row's time and some features."""
        return [f"_ts:{self.view}".encode(), *(_mmh3(f"{self.view}:{name}") for name in features)]

    def arguments(self, batch: pa.RecordBatch) -> list[Column]:
        """Encode a batch with ``__ts`` (us, UTC) and the features; NULL becomes an empty value."""
        values = [value_column(batch.column(name), kind) for name, kind in self.features]
        return [
            *self._times(batch.column(EVENT_TIME).to_numpy()),
            *(bulk_or_empty(column, valid, batch.num_rows) for column, valid in values),
        ]

    def pushed(self, rows: Sequence[PushedRow]) -> Iterator[tuple[list[bytes], Batch]]:
        """Encode rows that may lack features, in order, with the hash fields of each batch; what a row lacks stays."""
        for names, group in groupby(rows, lambda row: tuple(row.values)):
            alike = list(group)
            times = np.array([to_us(make_tzaware(row.at)) for row in alike], np.int64)
            columns = [Column.of([row.values[name].SerializeToString() for row in alike]) for name in names]
            yield self.fields(names), Batch([row.key for row in alike], [*self._times(times), *map(bulk, columns)])

    def _times(self, times: Ints) -> list[Column]:
        # Milliseconds, rounded up: a row can be read up to its last instant.
        expiry = -(-(times + self.ttl) // 1_000) if self.ttl else np.zeros(len(times), np.int64)
        return [bulk(decimals(expiry)), bulk(stamp_column(times))]


def row_features(view: FeatureView) -> list[Any]:
    """Fields of an ordinary view that are no join keys."""
    return [feature for feature in view.features if feature.name not in view.join_keys]
