"""A Feast store of our offline class over a directory of the test's own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from feast import (
    Aggregation,
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    RepoConfig,
    StreamFeatureView,
    ValueType,
)
from feast.data_format import DeltaFormat
from feast.types import Float64, Int64, from_value_type

HOP = timedelta(hours=1)
WINDOW = timedelta(hours=24)


def store_at(directory: Path) -> FeatureStore:
    """A store with an empty registry; nothing is written online."""
    return FeatureStore(
        config=RepoConfig(
            project="test",
            provider="local",
            registry=str(directory / "registry.db"),
            offline_store={"type": "feature_repo.engine.offline_store.WindowedDuckDBOfflineStore"},
            online_store={"type": "sqlite", "path": str(directory / "online.db")},
            entity_key_serialization_version=3,
        )
    )


def source_of(name: str, path: Path | str, *, delta: bool = False, **options: Any) -> FileSource:
    return FileSource(
        name=name,
        path=str(path),
        file_format=DeltaFormat() if delta else None,
        timestamp_field=options.pop("timestamp_field", "event_timestamp"),
        **options,
    )


def facts_view(source: FileSource, keys: dict[str, ValueType], **options: Any) -> FeatureView:
    """An ordinary view ``facts`` with one feature, ``size``."""
    return FeatureView(
        name="facts",
        entities=entities_of(keys),
        source=source,
        ttl=options.pop("ttl", timedelta(0)),
        schema=[Field(name="size", dtype=Int64), *_fields(keys)],
        **options,
    )


def visits_view(source: FileSource, keys: dict[str, ValueType]) -> StreamFeatureView:
    """A windowed view ``visits`` with ``count_24h`` and ``amount_sum_24h``."""
    return StreamFeatureView(
        name="visits",
        entities=entities_of(keys),
        source=PushSource(name="visit", batch_source=source),
        schema=[Field(name="count_24h", dtype=Int64), Field(name="amount_sum_24h", dtype=Float64), *_fields(keys)],
        timestamp_field=source.timestamp_field,
        aggregations=[
            Aggregation(column="", function="count", time_window=WINDOW, name="count_24h"),
            Aggregation(column="amount", function="sum", time_window=WINDOW, name="amount_sum_24h"),
        ],
        enable_tiling=True,
        tiling_hop_size=HOP,
    )


def entities_of(keys: dict[str, ValueType]) -> list[Entity]:
    return [Entity(name=key, join_keys=[key], value_type=kind) for key, kind in keys.items()]


def _fields(keys: dict[str, ValueType]) -> list[Field]:
    return [Field(name=key, dtype=from_value_type(kind)) for key, kind in keys.items()]
