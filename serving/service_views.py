"""The views behind a feature service, as parts that decode what Redis holds of each into Arrow columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureStore
from feast.infra.online_stores.helpers import _mmh3
from feast.protos.feast.types.Value_pb2 import Value, ValueType
from feast.types import Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp

from feature_repo.core.clock import delta_us
from feature_repo.core.errors import DataError, DeclarationError
from feature_repo.engine.entity_keys import distinct, keys_of_values
from feature_repo.engine.feature_vectors import instant_of
from feature_repo.engine.hash_reader import Field
from feature_repo.engine.kernels import Values
from feature_repo.engine.monoids import BOOL, FLOAT, INT, TEXT, TIME
from feature_repo.engine.services import StoredView, service_views
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
_ID_TYPES = {String: int(ValueType.STRING), Int64: int(ValueType.INT64), Int32: int(ValueType.INT32)}
WINDOW_TYPES = {INT: pa.int64(), FLOAT: pa.float64(), TIME: INSTANT, TEXT: pa.string(), BOOL: pa.bool_()}

Entities = Mapping[str, Sequence[str]]


# What was read of a windowed view stays in numpy until somebody wants Arrow.
Column: TypeAlias = pa.Array | Values
Columns: TypeAlias = dict[str, Column]


def as_arrow(column: Column, kind: pa.DataType) -> pa.Array:
    """Return a column of a type as Arrow."""
    if not isinstance(column, Values):
        return column
    return pa.array(column.data, kind, mask=None if column.valid is None else ~column.valid)


def as_floats(column: Column) -> npt.NDArray[np.float64]:
    """Return a column of numbers as float64, NaN for NULL."""
    if isinstance(column, Values):
        return column.as_float()
    floats: npt.NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return floats


def as_list(column: Column, kind: pa.DataType) -> list[Any]:
    """Return a column of a type as Python's values; NULL and NaN are None."""
    if not isinstance(column, Values) or pa.types.is_timestamp(kind):
        return [None if value != value else value for value in as_arrow(column, kind).to_pylist()]  # noqa: PLR0124
    data = column.data.astype(kind.to_pandas_dtype(), copy=False)
    found: list[Any] = data.tolist()  # Arrow would make an object of its own of each value on the way
    absent = None if column.valid is None else ~column.valid
    if pa.types.is_floating(kind):
        absent = np.isnan(data) if absent is None else absent | np.isnan(data)
    for row in () if absent is None else np.flatnonzero(absent).tolist():
        found[row] = None
    return found


def as_places(column: Column, known: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the place of each text of a column in a list as float64, NaN for NULL and for a text not in it."""
    found = as_arrow(column, pa.string())
    places = pc.index_in(found, value_set=pa.array(known, found.type), skip_nulls=True)
    return as_floats(places)


@dataclass(frozen=True)
class EntityPart:
    """Which entity a view is about.

    Attributes
    ----------
    join_keys
        Sorted, as in Feast's entity key.
    columns
        Columns of a request that hold them, in the same order; other names only where a service renames join keys.
    kinds
        Feast's ``ValueType`` of each.
    """

    join_keys: tuple[str, ...]
    columns: tuple[str, ...]
    kinds: tuple[int, ...]

    def rows(self, project: str, entities: Entities) -> EntityRows:
        """Find the distinct Redis keys of a request's rows.

        Raises
        ------
        DataError
            An id of an entity that is keyed by integers is none.
        """
        columns = [self._typed(name, entities[name], kind) for name, kind in zip(self.columns, self.kinds, strict=True)]
        return EntityRows(*distinct(keys_of_values(project, self.join_keys, columns, self.kinds)))

    def _typed(self, name: str, ids: Sequence[str], kind: int) -> Sequence[str | int]:
        if kind == ValueType.STRING:
            return ids
        try:
            return [int(each) for each in ids]
        except ValueError:
            row = next(i for i, each in enumerate(ids) if not each.lstrip("-").isdigit())
            raise DataError(f"Row {row} of '{name}' is no integer.", hint="its entity is keyed by integers.") from None


@dataclass(frozen=True)
class EntityRows:
    """Distinct keys, and which of them each row of a request is about; None if every row has its own."""

    keys: list[bytes]
    positions: npt.NDArray[np.int64] | None

    def spread(self, column: pa.Array) -> pa.Array:
        """Turn one value per key into one per row."""
        return column if self.positions is None else column.take(pa.array(self.positions))

    def spread_array(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Turn one element per key into one per row."""
        return values if self.positions is None else values[self.positions]


@dataclass(frozen=True)
class WindowedPart:
    """Features of a windowed view, named ``<prefix>__<feature>``; ``declared`` is Feast's own view."""

    declared: Any
    prefix: str
    entity: EntityPart
    view: WindowedView
    features: tuple[WindowedFeature, ...]

    @cached_property
    def types(self) -> dict[str, pa.DataType]:
        """Arrow types by full name."""
        return {f"{self.prefix}__{feature.name}": WINDOW_TYPES[feature.kind] for feature in self.features}


@dataclass(frozen=True)
class OrdinaryPart:
    """Features of an ordinary view, as stock Feast stores them.

    Attributes
    ----------
    declared
        Feast's own view.
    types
        Arrow types by full name.
    fields
        Redis hash fields: the row's time, then one per feature.
    ttl
        Microseconds a row holds; 0 for ever.
    """

    declared: Any
    entity: EntityPart
    types: dict[str, pa.DataType]
    fields: tuple[bytes, ...]
    ttl: int

    @property
    def name(self) -> str:
        """Of the view."""
        return str(self.declared.name)

    def columns(self, fields: Sequence[Field], at: int) -> dict[str, pa.Array]:
        """Decode the values of each hash field, read at an instant (us)."""
        stamps, *columns = fields
        alive = [stamp and (not self.ttl or instant_of(stamp) >= at - self.ttl) for stamp in stamps]
        return {
            name: pa.array(
                [_decoded(raw, kind) if known else None for raw, known in zip(column, alive, strict=True)], kind
            )
            for (name, kind), column in zip(self.types.items(), columns, strict=True)
        }


@dataclass(frozen=True)
class OnDemandPart:
    """Features computed from others by a function of the declarations.

    Attributes
    ----------
    inputs
        Arrow types of the features it reads, by full name.
    outputs
        Full name -> the function's own name for it.
    types
        Arrow types by full name.
    """

    inputs: dict[str, pa.DataType]
    outputs: dict[str, str]
    types: dict[str, pa.DataType]
    function: Callable[[pd.DataFrame], pd.DataFrame]

    def columns(self, known: Columns) -> Iterator[tuple[str, pa.Array]]:
        """Compute and name the results; NaN is NULL."""
        result = self.function(
            pa.table({name: as_arrow(known[name], kind) for name, kind in self.inputs.items()}).to_pandas()
        )
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
    found = service_views(store, service)
    return (
        tuple(_windowed(each) for each in found.stored if is_windowed(each.view)),
        tuple(_ordinary(each) for each in found.stored if not is_windowed(each.view)),
        tuple(_on_demand(view) for view in found.on_demand),
    )


def _entity(view: Any) -> EntityPart:
    keys, renamed = tuple(sorted(view.join_keys)), view.projection.join_key_map or {}
    types = {field.name: field.dtype for field in view.entity_columns}
    unread = [key for key in keys if types[key] not in _ID_TYPES]
    if unread:
        raise DeclarationError(
            f"View '{view.name}' is keyed by '{unread[0]}', which is {types[unread[0]]}.",
            hint="the SDK asks by texts and integers; read it with `FeatureStore.get_online_features`.",
        )
    return EntityPart(keys, tuple(renamed.get(key, key) for key in keys), tuple(_ID_TYPES[types[key]] for key in keys))


def _windowed(stored: StoredView) -> WindowedPart:
    spec = windowed_view_of(stored.view)
    features = tuple(spec.feature(name) for name in stored.features)
    return WindowedPart(stored.view, stored.prefix, _entity(stored.view), spec, features)


def _ordinary(stored: StoredView) -> OrdinaryPart:
    view, names = stored.view, stored.features
    kinds = {field.name: field.dtype for field in view.schema}
    return OrdinaryPart(
        declared=view,
        entity=_entity(view),
        types={f"{stored.prefix}__{name}": _arrow_type(view.name, name, kinds[name]) for name in names},
        fields=(f"_ts:{view.name}".encode(), *(_mmh3(f"{view.name}:{name}") for name in names)),
        ttl=delta_us(view.ttl) if view.ttl else 0,
    )


def _on_demand(view: Any) -> OnDemandPart:
    if view.mode != "pandas" or view.aggregations or view.source_request_sources:
        raise DeclarationError(
            f"On-demand view '{view.name}' is not a pandas function of stored features alone.",
            hint="declare it with mode='pandas', without aggregations and request sources; or read it with "
            "`FeatureStore.get_online_features`.",
        )
    prefix, names = view.projection.name_to_use(), [field.name for field in view.projection.features]
    sources = view.source_feature_view_projections.values()
    kinds = {field.name: field.dtype for field in view.features}
    return OnDemandPart(
        inputs={
            f"{source.name_to_use()}__{field.name}": _arrow_type(source.name, field.name, field.dtype)
            for source in sources
            for field in source.features
        },
        outputs={f"{prefix}__{name}": name for name in names},
        types={f"{prefix}__{name}": _arrow_type(view.name, name, kinds[name]) for name in names},
        function=view.feature_transformation.udf,
    )


def _arrow_type(view: str, name: str, dtype: Any) -> pa.DataType:
    for kind, found in ARROW_TYPES.items():
        if kind == dtype:
            return found
    raise DeclarationError(
        f"Feature '{name}' of view '{view}' is {dtype}.", hint="services read numbers, texts and times."
    )


def _decoded(raw: bytes | None, kind: pa.DataType) -> Any:
    if not raw:
        return None
    value = Value.FromString(raw)
    which = value.WhichOneof("val")
    if which is None:
        return None
    found = getattr(value, which)
    return found * 1_000_000 if pa.types.is_timestamp(kind) else found
