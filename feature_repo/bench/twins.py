"""Ordinary views for stock Feast that store, for some shoppers, the values our windowed views have at one instant."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureStore, FeatureView, Field, FileSource
from feast.types import Float64, Int64, String, UnixTimestamp

from feature_repo.core.clock import SECOND, from_us
from feature_repo.definitions.entities import user

ROWS_PER_READ = 500
_ARROW = {
    Int64: pa.int64(),
    Float64: pa.float64(),
    String: pa.string(),
    UnixTimestamp: pa.timestamp("us", "UTC"),
}


def value_fields(view: FeatureView, *, doubles: bool = False) -> list[Field]:
    """Fields of a view without its join keys, in the order of declaration; as doubles if wanted."""
    kept = [field for field in view.schema if field.name not in view.join_keys]
    return [Field(name=field.name, dtype=Float64 if doubles else field.dtype) for field in kept]


def stored_view(name: str, path: Path, fields: Sequence[Field], *, ttl: timedelta) -> FeatureView:
    """Declare an ordinary view over a Parquet file with ``user_id``, the fields and ``event_timestamp``."""
    return FeatureView(
        name=name,
        entities=[user],
        source=FileSource(name=f"{name}_rows", path=str(path), timestamp_field="event_timestamp"),
        ttl=ttl,
        schema=list(fields),
    )


def twin_of(
    ours: FeatureStore, view: FeatureView, users: Sequence[str], path: Path, *, now: int, doubles: bool = False
) -> FeatureView:
    """Write what our store says of a view's features to ``path``, and declare it for stock Feast.

    The rows are stamped with the whole second, which takes stock the fewest bytes.
    """
    fields = value_fields(view, doubles=doubles)
    refs = [f"{view.name}:{field.name}" for field in fields]
    read = [
        ours.get_online_features(refs, [{"user_id": each} for each in users[start : start + ROWS_PER_READ]]).to_dict()
        for start in range(0, len(users), ROWS_PER_READ)
    ]
    columns = {
        field.name: pa.chunked_array([pa.array(part[field.name], _ARROW[field.dtype]) for part in read])
        for field in fields
    }
    ids = pa.chunked_array([pa.array(part["user_id"], pa.string()) for part in read])
    stamp = pa.array([from_us(now // SECOND * SECOND)] * len(users), pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"user_id": ids, **columns, "event_timestamp": stamp}), path)
    return stored_view(view.name, path, fields, ttl=timedelta(0))
