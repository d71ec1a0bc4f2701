"""Read a feature service online: compiled once, then Redis to Arrow without Feast's per-value objects.

The values are those of ``FeatureStore.get_online_features(..., full_feature_names=True)``, with two differences: times
keep their microseconds (Feast cuts them to seconds), and a row of an ordinary view that is older than the view's ttl is
NULL, as it is offline (Feast does not look at the ttl online).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from feast import FeatureStore, OnDemandFeatureView
from feast.infra.online_stores.helpers import _mmh3
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp
from google.protobuf.timestamp_pb2 import Timestamp

from feature_repo.core.clock import delta_us
from feature_repo.core.errors import DataError, DeclarationError, NotMaterializedError, did_you_mean
from feature_repo.engine.contract import Contract, service_contract
from feature_repo.engine.entity_keys import entity_keys
from feature_repo.engine.feature_store import quiet_feast
from feature_repo.engine.kernels import TIME, Values
from feature_repo.engine.positions import Positions
from feature_repo.engine.spec import WindowedFeature, WindowedView, is_windowed, windowed_view_of
from feature_repo.engine.window_reader import ViewRead, WindowReader

ROWS_PER_READ = 1_000
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
        kinds = {"i8": pa.int64(), "f8": pa.float64(), TIME: INSTANT}
        return {f"{self.prefix}__{feature.name}": kinds[feature.kind] for feature in self.features}


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
            name: pa.array([_decoded(row[i], kind) if known else None for row, known in zip(rows, alive, strict=True)], kind)
            for i, (name, kind) in enumerate(self.types.items(), 1)
        }


@dataclass(frozen=True)
class OnDemandPart:
    """Features computed from others by a function of the declarations.

    Attributes
    ----------
    inputs
        Full names of the features it reads.
    types
        Arrow types of its results, by the function's names for them.
    """

    prefix: str
    inputs: tuple[str, ...]
    types: dict[str, pa.DataType]
    function: Callable[[pd.DataFrame], pd.DataFrame]

    def columns(self, known: Columns) -> Iterator[tuple[str, pa.Array]]:
        """Compute and name the results; NaN is NULL."""
        result = self.function(pa.table({name: known[name] for name in self.inputs}).to_pandas())
        for name, kind in self.types.items():
            yield f"{self.prefix}__{name}", pa.array(result[name], kind, from_pandas=True)


@dataclass(frozen=True)
class ServicePlan:
    """How to read one feature service.

    Attributes
    ----------
    service
        Its name.
    contract
        Definitions of its features by full name, in the service's order: the columns of every answer.
    types
        Arrow types by full name, in the same order.
    entity_columns
        Columns a request must have, sorted.
    windowed, ordinary, on_demand
        The views behind it, those only an on-demand view reads included.
    reader
        Remembers which states Redis serves.
    """

    service: str
    contract: Contract
    types: dict[str, pa.DataType]
    entity_columns: tuple[str, ...]
    windowed: tuple[WindowedPart, ...]
    ordinary: tuple[OrdinaryPart, ...]
    on_demand: tuple[OnDemandPart, ...]
    reader: WindowReader

    @classmethod
    def of(cls, store: FeatureStore, service: str) -> ServicePlan:
        """Compile a service of the registry.

        Raises
        ------
        DeclarationError
            The registry has no such service, or a view cannot be read here (an on-demand view that is not a pandas
            function, a type that is not a scalar).
        """
        with quiet_feast():
            contract = service_contract(store, service)
            views = {view.name: view for view in store.list_all_feature_views()}
            found = store.get_feature_service(service)
        projections = [(each, views[each.name]) for each in found.feature_view_projections]
        on_demand = tuple(_on_demand(each, view) for each, view in projections if _is_on_demand(view))
        stored = _stored(projections, views)
        windowed = tuple(_windowed(*each) for each in stored if is_windowed(each[1]))
        ordinary = tuple(_ordinary(*each) for each in stored if not is_windowed(each[1]))
        types = {f"{part.prefix}__{name}": kind for part in on_demand for name, kind in part.types.items()}
        for part in (*windowed, *ordinary):
            types |= part.types
        return cls(
            service=service,
            contract=contract,
            types={name: types[name] for name in contract},
            entity_columns=tuple(sorted({c for part in (*windowed, *ordinary) for c in part.entity.columns})),
            windowed=windowed,
            ordinary=ordinary,
            on_demand=on_demand,
            reader=WindowReader(store.project),
        )

    def read(self, client: Any, entities: Entities, at: int) -> pa.Table:
        """Features of each row of a request.

        Parameters
        ----------
        client
            Redis, replies as bytes.
        entities
            The columns of ``entity_columns``, equally long, without NULLs; others are ignored.
        at
            Instant windows end at (us); the event at the instant itself is not in them.

        Returns
        -------
        pyarrow.Table
            One row per row of the request, one column per feature in the service's order: int64, double, string,
            timestamp[us, UTC]. NULL is NULL; an entity that was never seen has the values of no events.

        Raises
        ------
        NotMaterializedError
            A view has no state in Redis.
        DataError
            A column is missing.
        redis.RedisError
            The server does not answer.
        """
        length = self._length(entities)
        parts = [
            self._read({name: entities[name][start : start + ROWS_PER_READ] for name in self.entity_columns}, client, at)
            for start in range(0, length, ROWS_PER_READ)
        ]
        return pa.concat_tables(parts) if parts else pa.schema(self.types.items()).empty_table()

    def matrix(self, client: Any, entities: Entities, at: int, columns: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return features for a model: ``float64[n, len(columns)]`` in the given order, NaN for NULL.

        Raises
        ------
        DataError
            A column is not in the service, or holds text or times; besides what :meth:`read` raises.
        """
        for name in columns:
            self._check_numeric(name)
        table = self.read(client, entities, at)
        matrix = np.empty((table.num_rows, len(columns)))
        for i, name in enumerate(columns):
            matrix[:, i] = table[name].cast(pa.float64(), safe=False).to_numpy()
        return matrix

    def known(self, client: Any, entities: Entities) -> list[bool]:
        """Whether Redis holds anything about each row's entities.

        Raises
        ------
        redis.RedisError
            The server does not answer.
        """
        self._length(entities)
        asked = {part.entity: part.entity.rows(self.reader.project, entities) for part in (*self.windowed, *self.ordinary)}
        with client.pipeline(transaction=False) as pipe:
            for rows in asked.values():
                for key in rows.keys:
                    pipe.exists(key)
            answers = iter(pipe.execute())
        found = [rows.spread(pa.array([bool(next(answers)) for _ in rows.keys])).to_pylist() for rows in asked.values()]
        return [any(row) for row in zip(*found, strict=True)]

    def _length(self, entities: Entities) -> int:
        for name in self.entity_columns:
            if name not in entities:
                needed = ", ".join(self.entity_columns)
                raise DataError(
                    f"Service '{self.service}' is about {needed}; the request has no column '{name}'.",
                    hint=f"pass a DataFrame with the columns {needed}.",
                )
        return len(entities[self.entity_columns[0]]) if self.entity_columns else 0

    def _check_numeric(self, name: str) -> None:
        if name not in self.types:
            raise DataError(f"Service '{self.service}' has no feature '{name}'.", hint=did_you_mean(name, self.types))
        if pa.types.is_string(self.types[name]) or pa.types.is_timestamp(self.types[name]):
            raise DataError(
                f"Feature '{name}' is a {self.types[name]}, and models read numbers.",
                hint="leave it out of the model's service, or derive a number from it in an on-demand view.",
            )

    def _read(self, entities: Entities, client: Any, at: int) -> pa.Table:
        rows = {part.entity: part.entity.rows(self.reader.project, entities) for part in (*self.windowed, *self.ordinary)}
        known = self._windows(client, rows, at) | self._rows(client, rows, at)
        for part in self.on_demand:
            known.update(part.columns(known))
        return pa.table({name: known[name] for name in self.contract})

    def _windows(self, client: Any, rows: Mapping[EntityPart, EntityRows], at: int) -> Columns:
        if not self.windowed:
            return {}
        reads = [ViewRead(part.view, part.features, rows[part.entity].keys) for part in self.windowed]
        answers = self.reader.read(client, reads, at)
        found: Columns = {}
        for part, values in zip(self.windowed, answers, strict=True):
            found.update(part.columns(values, rows[part.entity]))
        return found

    def _rows(self, client: Any, rows: Mapping[EntityPart, EntityRows], at: int) -> Columns:
        if not self.ordinary:
            return {}
        with client.pipeline(transaction=False) as pipe:
            for part in self.ordinary:
                for key in rows[part.entity].keys:
                    pipe.hmget(key, part.fields)
            answers = iter(pipe.execute())
        found: Columns = {}
        for part in self.ordinary:
            raw = [next(answers) for _ in rows[part.entity].keys]
            self._check_written(client, part, raw)
            found |= {name: rows[part.entity].spread(column) for name, column in part.columns(raw, at).items()}
        return found

    def _check_written(self, client: Any, part: OrdinaryPart, raw: Sequence[list[bytes | None]]) -> None:
        # Rows may have been pushed one by one, without a position; without either nothing was ever written.
        if any(row[0] for row in raw) or Positions(client, self.reader.project).position(part.view):
            return
        raise NotMaterializedError(
            f"View '{part.view}' has no rows in Redis.", hint="run `portrait jobs materialize` (or `feast materialize`)."
        )


def _is_on_demand(view: Any) -> bool:
    return isinstance(view, OnDemandFeatureView)


def _stored(projections: Sequence[tuple[Any, Any]], views: Mapping[str, Any]) -> list[tuple[str, Any, EntityPart, list[str]]]:
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
    sources = view.source_feature_view_projections.values()
    kinds = {field.name: field.dtype for field in view.features}
    return OnDemandPart(
        prefix=projection.name_to_use(),
        inputs=tuple(f"{source.name_to_use()}__{field.name}" for source in sources for field in source.features),
        types={field.name: _arrow_type(view.name, field.name, kinds[field.name]) for field in projection.features},
        function=view.feature_transformation.udf,
    )


def _arrow_type(view: str, name: str, dtype: Any) -> pa.DataType:
    for kind, found in ARROW_TYPES.items():
        if kind == dtype:
            return found
    raise DeclarationError(f"Feature '{name}' of view '{view}' is {dtype}.", hint="services read numbers, texts and times.")


def _array(kind: str, values: Values) -> pa.Array:
    mask = None if values.valid is None else ~values.valid
    return pa.array(values.data, INSTANT if kind == TIME else None, mask=mask)


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
