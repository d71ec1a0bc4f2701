"""The views behind a feature service, as parts that decode what Redis holds of each into Arrow columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
from feast import FeatureStore, OnDemandFeatureView
from feast.infra.online_stores.helpers import _mmh3
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp
from google.protobuf.timestamp_pb2 import Timestamp

from feature_repo.core.clock import delta_us
from feature_repo.core.errors import DeclarationError
from feature_repo.engine.entity_keys import entity_keys
from feature_repo.engine.kernels import FLOAT, INT, TIME, Values
from feature_repo.engine.spec import WindowedFeature, WindowedView, is_windowed, windowed_view_of

INSTANT = pa.timestamp("us", "UTC")
ARROW_TYPES = {
    String: pa.string(),
    Bool: pa.bool_(),
    Int32: pa.int32(),
    Int64: pa.int64(),
    Float32: pa.float32(),
    Float64: pa.float64(),
    UnixTimestamp: INSTANT,
}
WINDOW_TYPES = {INT: pa.int64(), FLOAT: pa.float64(), TIME: INSTANT}

Entities = Mapping[str, Sequence[str]]
Columns = dict[str, pa.Array]


@dataclass(frozen=True)
class EntityPart:
    """Which entity a view is about.

    Attributes
    ----------
    join_keys
        Sorted, as in Feast's entity key.
    columns
        Columns of a request that hold them, in the same order; other names only where a service renames join keys.
    """

    join_keys: tuple[str, ...]
    columns: tuple[str, ...]

    def rows(self, project: str, entities: Entities) -> EntityRows:
        """Find the distinct Redis keys of a request's rows."""
        keys = entity_keys(project, self.join_keys, [pa.array(entities[name], pa.string()) for name in self.columns])
        place = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        positions = None if len(place) == len(keys) else pa.array([place[key] for key in keys], pa.int64())
        return EntityRows(list(place), positions)


@dataclass(frozen=True)
class EntityRows:
    """Distinct keys, and which of them each row of a request is about; None if every row has its own."""

    keys: list[bytes]
    positions: pa.Array | None

    def spread(self, column: pa.Array) -> pa.Array:
        """Turn one value per key into one per row."""
        return column if self.positions is None else column.take(self.positions)


@dataclass(frozen=True)
class WindowedPart:
    """Features of a windowed view, named ``<prefix>__<feature>``."""

    prefix: str
    entity: EntityPart
    view: WindowedView
    features: tuple[WindowedFeature, ...]

    def columns(self, values: Sequence[Values], rows: EntityRows) -> Iterator[tuple[str, pa.Array]]:
        """Name and spread what was read."""
        for feature, column in zip(self.features, values, strict=True):
            yield f"{self.prefix}__{feature.name}", rows.spread(_array(feature.kind, column))

    @property
    def types(self) -> dict[str, pa.DataType]:
        """Arrow types by full name."""
        return {f"{self.prefix}__{feature.name}": WINDOW_TYPES[feature.kind] for feature in self.features}


@dataclass(frozen=True)
class OrdinaryPart:
    """Features of an ordinary view, as stock Feast stores them.

    Attributes
    ----------
    types
        Arrow types by full name.
    fields
        Redis hash fields: the row's time, then one per feature.
    ttl
        Microseconds a row holds; 0 for ever.
    """

    view: str
    entity: EntityPart
    types: dict[str, pa.DataType]
    fields: tuple[bytes, ...]
    ttl: int

    def columns(self, rows: Sequence[list[bytes | None]], at: int) -> Columns:
        """Decode the hash fields of each key, read at an instant (us)."""
        alive = [bool(stamp) and (not self.ttl or _instant(stamp) >= at - self.ttl) for stamp, *_ in rows]
        return {
            name: pa.array(
                [_decoded(row[i], kind) if known else None for row, known in zip(rows, alive, strict=True)], kind
            )
            for i, (name, kind) in enumerate(self.types.items(), 1)
        }


@dataclass(frozen=True)
class OnDemandPart:
    """Features computed from others by a function of the declarations.

    Attributes
    ----------
    inputs
        Full names of the features it reads.
    outputs
        Full name -> the function's own name for it.
    types
        Arrow types by full name.
    """

    inputs: tuple[str, ...]
    outputs: dict[str, str]
    types: dict[str, pa.DataType]
    function: Callable[[pd.DataFrame], pd.DataFrame]

    def columns(self, known: Columns) -> Iterator[tuple[str, pa.Array]]:
        """Compute and name the results; NaN is NULL."""
        result = self.function(pa.table({name: known[name] for name in self.inputs}).to_pandas())
        for name, kind in self.types.items():
            yield name, pa.array(result[self.outputs[name]], kind, from_pandas=True)


def service_parts(
    store: FeatureStore, service: str
) -> tuple[tuple[WindowedPart, ...], tuple[OrdinaryPart, ...], tuple[OnDemandPart, ...]]:
    """Windowed, ordinary and on-demand parts of a service, those only an on-demand view reads included.

    Raises
    ------
    DeclarationError
        An on-demand view is not a pandas function, or a type is not a scalar.
    """
    views = {view.name: view for view in store.list_all_feature_views()}
    projections = [(each, views[each.name]) for each in store.get_feature_service(service).feature_view_projections]
    stored = _stored(projections, views)
    return (
        tuple(_windowed(*each) for each in stored if is_windowed(each[1])),
        tuple(_ordinary(*each) for each in stored if not is_windowed(each[1])),
        tuple(_on_demand(projection, view) for projection, view in projections if _is_on_demand(view)),
    )


def _is_on_demand(view: Any) -> bool:
    return isinstance(view, OnDemandFeatureView)


def _stored(
    projections: Sequence[tuple[Any, Any]], views: Mapping[str, Any]
) -> list[tuple[str, Any, EntityPart, list[str]]]:
    """Every stored view the service or one of its on-demand views reads: prefix, view, entity and feature names."""
    found: dict[str, tuple[str, Any, EntityPart, list[str]]] = {}
    for projection in _sources(projections):
        view, prefix = views[projection.name], projection.name_to_use()
        keys = tuple(sorted(view.join_keys))
        entity = EntityPart(keys, tuple(projection.join_key_map.get(key, key) for key in keys))
        *_, names = found.setdefault(prefix, (prefix, view, entity, []))
        names += [each.name for each in projection.features if each.name not in (*keys, *names)]
    return list(found.values())


def _sources(projections: Sequence[tuple[Any, Any]]) -> Iterator[Any]:
    for projection, view in projections:
        if _is_on_demand(view):
            yield from view.source_feature_view_projections.values()
        else:
            yield projection


def _windowed(prefix: str, view: Any, entity: EntityPart, names: Sequence[str]) -> WindowedPart:
    spec = windowed_view_of(view)
    return WindowedPart(prefix, entity, spec, tuple(spec.feature(name) for name in names))


def _ordinary(prefix: str, view: Any, entity: EntityPart, names: Sequence[str]) -> OrdinaryPart:
    kinds = {field.name: field.dtype for field in view.schema}
    return OrdinaryPart(
        view=view.name,
        entity=entity,
        types={f"{prefix}__{name}": _arrow_type(view.name, name, kinds[name]) for name in names},
        fields=(f"_ts:{view.name}".encode(), *(_mmh3(f"{view.name}:{name}") for name in names)),
        ttl=delta_us(view.ttl) if view.ttl else 0,
    )


def _on_demand(projection: Any, view: Any) -> OnDemandPart:
    if view.mode != "pandas" or view.aggregations or view.source_request_sources:
        raise DeclarationError(
            f"On-demand view '{view.name}' is not a pandas function of stored features alone.",
            hint="declare it with mode='pandas', without aggregations and request sources; or read it with "
            "`FeatureStore.get_online_features`.",
        )
    prefix = projection.name_to_use()
    sources = view.source_feature_view_projections.values()
    kinds = {field.name: field.dtype for field in view.features}
    return OnDemandPart(
        inputs=tuple(f"{source.name_to_use()}__{field.name}" for source in sources for field in source.features),
        outputs={f"{prefix}__{field.name}": field.name for field in projection.features},
        types={
            f"{prefix}__{field.name}": _arrow_type(view.name, field.name, kinds[field.name])
            for field in projection.features
        },
        function=view.feature_transformation.udf,
    )


def _arrow_type(view: str, name: str, dtype: Any) -> pa.DataType:
    for kind, found in ARROW_TYPES.items():
        if kind == dtype:
            return found
    raise DeclarationError(
        f"Feature '{name}' of view '{view}' is {dtype}.", hint="services read numbers, texts and times."
    )


def _array(kind: str, values: Values) -> pa.Array:
    mask = None if values.valid is None else ~values.valid
    return pa.array(values.data, WINDOW_TYPES[kind], mask=mask)


def _decoded(raw: bytes | None, kind: pa.DataType) -> Any:
    if not raw:
        return None
    value = Value.FromString(raw)
    which = value.WhichOneof("val")
    if which is None:
        return None
    found = getattr(value, which)
    return found * 1_000_000 if pa.types.is_timestamp(kind) else found


def _instant(raw: bytes | None) -> int:
    stamp = Timestamp.FromString(raw or b"")
    return int(stamp.seconds) * 1_000_000 + int(stamp.nanos) // 1000
