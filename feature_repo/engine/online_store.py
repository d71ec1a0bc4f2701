"""Feast's online store over Redis: "redis, plus windows".

Ordinary views are stored and read as stock Feast does. A windowed view is one field per entity holding its tiles, and
its features are computed when they are read, so they decay without writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, Literal

import numpy as np
from feast import Entity, FeatureView, RepoConfig, metrics
from feast.infra.online_stores.helpers import _mmh3
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value, ValueType
from feast.utils import _get_entity_key_protos as _entity_key_protos
from feast.utils import _get_table_entity_values as _entity_values
from feast.utils import _get_unique_entities as _unique_entities
from feast.utils import _populate_response_from_feature_data as _populate

from feature_repo.core.clock import SystemClock, delta_us, from_us, to_us
from feature_repo.core.errors import DeclarationError
from feature_repo.core.settings import load_settings
from feature_repo.core.stores import connect_redis
from feature_repo.engine.entity_keys import distinct, entity_of, entity_pattern, keys_of_values, project_pattern
from feature_repo.engine.feature_vectors import add_vectors, stored_vectors, window_vectors
from feature_repo.engine.hash_reader import HashRead
from feature_repo.engine.kernels import Values
from feature_repo.engine.monoids import BOOL, FLOAT, INT, TEXT, TIME, Ints
from feature_repo.engine.positions import Positions
from feature_repo.engine.redis_writer import RedisWriter, key_pages, remove_fields
from feature_repo.engine.row_encoder import PushedRow, RowEncoder
from feature_repo.engine.spec import SpecCache, is_windowed
from feature_repo.engine.window_reader import ViewRead, WindowReader

Row = tuple[datetime | None, dict[str, Value] | None]
_Wanted = tuple[FeatureView, list[str] | None, Sequence[EntityKey]]
_Question = tuple[FeatureView, Sequence[str], list[bytes], Ints | None]

_KEY_KINDS = {
    "string_val": int(ValueType.STRING),
    "bytes_val": int(ValueType.BYTES),
    "int64_val": int(ValueType.INT64),
    "int32_val": int(ValueType.INT32),
}


class WindowedRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """The address comes from ``PORTRAIT_REDIS_URL`` or is the embedded server's, not from ``connection_string``."""

    type: Literal["feature_repo.engine.online_store.WindowedRedisOnlineStore"] = (
        "feature_repo.engine.online_store.WindowedRedisOnlineStore"
    )


class WindowedRedisOnlineStore(RedisOnlineStore):
    """Feast names this class in ``feature_store.yaml``.

    ``clock`` decides the instant windows are read at; tests and replays set their own.
    """

    def __init__(self) -> None:
        super().__init__()
        self._client: Any = None
        self.clock: Any = SystemClock()
        self._reader: WindowReader | None = None
        self._specs = SpecCache()

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[Row]:
        """Values of one view's features for each entity key; an ordinary row older than the view's ttl is not there.

        A windowed feature of an entity without events has the value of no events. The time of a row is the instant it
        was read at for a windowed view, its event time for an ordinary one.

        Raises
        ------
        NotMaterializedError
            The windowed view has no state yet.
        """
        read = self._read_windows if is_windowed(table) else self._read_rows
        return read(config, [(table, requested_features, entity_keys)])[0]

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[Row]:
        """Return the same as ``online_read``."""
        return await asyncio.to_thread(self.online_read, config, table, entity_keys, requested_features)

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write rows of an ordinary view: of two rows of an entity the later one holds, whoever writes last.

        A row with the time of the one held is a correction and replaces it. Keys expire as the ttl of their views says;
        stock Feast's ``key_ttl_seconds`` and ``skip_dedup`` are not looked at. ``progress`` is told how many more rows
        were settled.

        Raises
        ------
        DeclarationError
            The view is windowed: its state comes from events, not from values.
        """
        if is_windowed(table):
            raise DeclarationError(
                f"View '{table.name}' is windowed: its values are computed from events and cannot be pushed.",
                hint="append events to the log and run `portrait jobs materialize`.",
            )
        keys = self._generate_redis_keys_for_entities(config, [key for key, *_ in data])
        rows = [PushedRow(key, values, at) for key, (_, values, at, _) in zip(keys, data, strict=True)]
        writer = RedisWriter(self._get_client(config.online_store))
        for names, batch in RowEncoder.of(table).pushed(rows):
            for taken in writer.rows(names, [batch]):
                if progress:
                    progress(len(taken))

    async def online_write_batch_async(self, *args: Any, **kwargs: Any) -> None:
        """Do the same as ``online_write_batch``."""
        await asyncio.to_thread(self.online_write_batch, *args, **kwargs)

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: Sequence[tuple[FeatureView, list[str]]],
        join_key_values: Any,
        entity_name_to_join_key_map: Any,
        online_features_response: Any,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        """Read all views of one call of ``get_online_features`` at once, and add their vectors to the response."""
        about: dict[Any, tuple[list[bytes], Ints | None]] = {}
        questions = []
        for view, names in grouped_refs:
            values = _entity_values(view, entity_name_to_join_key_map, join_key_values)
            who = tuple((name, id(column)) for name, column in values.items())
            if who not in about:
                about[who] = _keys_of(config, values) or self._keys_by_feast(
                    config, view, join_key_values, entity_name_to_join_key_map
                )
            questions.append((view, names, *about[who]))
        for (view, names), vectors in zip(grouped_refs, self._vectors(config, questions), strict=True):
            if include_feature_view_version_metadata:  # which Feast adds; of features it is asked for none
                _populate([], [], (), online_features_response, full_feature_names, view, 0, True)
            prefix = f"{view.projection.name_to_use()}__" if full_feature_names else ""
            online_features_response.metadata.feature_names.val.extend([prefix + name for name in names])
            add_vectors(online_features_response, vectors)
            _track(view, online_features_response.results[-len(names) :])

    def _keys_by_feast(self, config: RepoConfig, *asked: Any) -> tuple[list[bytes], Ints | None]:
        """Do what :func:`_keys_of` does for whatever Feast takes, or raise what Feast raises."""
        unique, indexes, length = _unique_entities(*asked)
        rows = np.zeros(length, np.int64)
        for key, places in enumerate(indexes):
            rows[places] = key
        return self._generate_redis_keys_for_entities(config, _entity_key_protos(unique)), rows

    def _vectors(self, config: RepoConfig, questions: Sequence[_Question]) -> list[list[bytes]]:
        """Read views, and return their features' vectors."""
        at = self.clock.now_us()
        windowed = [each for each in questions if is_windowed(each[0])]
        ordinary = [each for each in questions if not is_windowed(each[0])]
        reads = [self._view_read(view, names, keys, rows) for view, names, keys, rows in windowed]
        fields = [HashRead(keys, stored_fields(view.name, tuple(names))) for view, names, keys, _ in ordinary]
        answers = self._window_reader(config).read_with_fields(self._get_client(config.online_store), reads, fields, at)
        windows = iter(
            window_vectors([feature.kind for feature in read.features], values, at)
            for read, values in zip(reads, answers.windows, strict=True)
        )
        stored = iter(
            stored_vectors(found, rows, at - delta_us(view.ttl) if view.ttl else None)
            for (view, _, _, rows), found in zip(ordinary, answers.fields, strict=True)
        )
        return [next(windows if is_windowed(view) else stored) for view, *_ in questions]

    async def _read_features_per_fv_async(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.to_thread(self._read_features_per_fv, *args, **kwargs)

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        *_: Any,
        **__: Any,
    ) -> None:
        """Follow an apply: nothing is touched unless a view was deleted, and then only that view's fields."""
        for table in tables_to_delete:
            self._delete_state(config, table)

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:  # noqa: ARG002
        """Remove everything the project holds in Redis, views it declared earlier and builds that died included."""
        client = self._get_client(config.online_store)
        for page in key_pages(client, project_pattern(config.project)):
            ours = [key for key in page if entity_of(config.project, key)]
            if ours:
                client.unlink(*ours)
        client.delete(Positions(client, config.project).key)

    def _read_rows(self, config: RepoConfig, wanted: Sequence[_Wanted]) -> list[list[Row]]:
        """Rows of ordinary views, in one pipeline."""
        asked = [
            (*self._generate_hset_keys_for_features(view, list(names or ())), view, keys)
            for view, names, keys in wanted
        ]
        with self._get_client(config.online_store).pipeline(transaction=False) as pipe:
            for _, fields, _, keys in asked:
                for key in self._generate_redis_keys_for_entities(config, list(keys)):
                    pipe.hmget(key, fields)
            found = iter(pipe.execute())
        return [
            [
                self._alive(row, view.ttl)
                for row in self._convert_redis_values_to_protobuf([*islice(found, len(keys))], view.name, names)
            ]
            for names, _, view, keys in asked
        ]

    def _alive(self, row: Row, ttl: timedelta | None) -> Row:
        at, _ = row
        expired = ttl and at is not None and to_us(at) < self.clock.now_us() - delta_us(ttl)
        return (None, None) if expired else row

    def _delete_state(self, config: RepoConfig, table: FeatureView) -> None:
        client = self._get_client(config.online_store)
        positions = Positions(client, config.project)
        if is_windowed(table):
            serving = positions.serving(table.name)
            fields = positions.retired(table.name) + ([serving.field] if serving else [])
        else:
            fields = RowEncoder.of(table).names
        positions.forget_view(table.name)
        if fields:
            remove_fields(client, entity_pattern(config.project, table.join_keys), fields)

    def _read_windows(self, config: RepoConfig, wanted: Sequence[_Wanted]) -> list[list[Row]]:
        at = self.clock.now_us()
        reads = [
            self._view_read(view, names, self._generate_redis_keys_for_entities(config, list(keys)), None)
            for view, names, keys in wanted
        ]
        answers = self._window_reader(config).read(self._get_client(config.online_store), reads, at)
        return [_rows(read, values, at) for read, values in zip(reads, answers, strict=True)]

    def _view_read(
        self, view: FeatureView, names: Sequence[str] | None, keys: Sequence[bytes], rows: Ints | None
    ) -> ViewRead:
        spec = self._specs.of(view)
        features = self._specs.features_of(view, names) if names else spec.features
        return ViewRead(spec, features, keys, rows)

    def _window_reader(self, config: RepoConfig) -> WindowReader:
        if self._reader is None:
            self._reader = WindowReader(config.project)
        return self._reader

    def _get_client(self, online_store_config: RedisOnlineStoreConfig) -> Any:  # noqa: ARG002 - Feast's signature
        if self._client is None:
            self._client = connect_redis(load_settings(), retries=1)
        return self._client


def _keys_of(config: RepoConfig, values: Mapping[str, Sequence[Value]]) -> tuple[list[bytes], Ints | None] | None:
    """Redis keys of distinct entities, and which of them each row is about; None if a value is of an unusual kind."""
    names = sorted(values)
    kinds = [{value.WhichOneof("val") for value in values[name]} for name in names]
    if not names or any(len(each) != 1 or not each <= _KEY_KINDS.keys() for each in kinds):
        return None
    fields = [str(each.pop()) for each in kinds]
    columns = [[getattr(value, field) for value in values[name]] for name, field in zip(names, fields, strict=True)]
    return distinct(keys_of_values(config.project, names, columns, [_KEY_KINDS[field] for field in fields]))


@lru_cache
def stored_fields(view: str, names: tuple[str, ...]) -> tuple[bytes, ...]:
    """Return the hash fields of an ordinary view: that of a row's time, then those of features."""
    return (f"_ts:{view}".encode(), *(_mmh3(f"{view}:{name}") for name in names))


def _track(view: FeatureView, vectors: Sequence[Any]) -> None:
    """Count for Feast's metrics, if they are on, what was found."""
    if metrics._config.online_features:  # noqa: SLF001 - Feast's own stores read it so
        statuses = [status for vector in vectors for status in vector.statuses]
        present = statuses.count(FieldStatus.PRESENT)
        metrics.track_feature_statuses(view.name, present, len(statuses) - present)


def _rows(read: ViewRead, values: Sequence[Values], at: int) -> list[Row]:
    instant = from_us(at)
    columns = [_protos(feature.kind, column) for feature, column in zip(read.features, values, strict=True)]
    names = [feature.name for feature in read.features]
    return [(instant, dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


_VALUE_FIELDS = {
    INT: "int64_val",
    FLOAT: "double_val",
    TEXT: "string_val",
    BOOL: "bool_val",
    TIME: "unix_timestamp_val",
}


def _protos(kind: str, values: Values) -> list[Value]:
    valid = [True] * len(values.data) if values.valid is None else values.valid.tolist()
    # Feast's own timestamps are whole seconds.
    data = (values.data // 1_000_000 if kind == TIME else values.data).tolist()
    field = _VALUE_FIELDS[kind]
    return [Value(**{field: value}) if known else Value() for value, known in zip(data, valid, strict=True)]
