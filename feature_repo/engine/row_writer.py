"""Ordinary views in Redis: rows as stock Feast stores them, written in order of event time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureView, ValueType
from feast.infra.online_stores.helpers import _mmh3
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values
from google.protobuf.timestamp_pb2 import Timestamp

from feature_repo.core.clock import from_us
from feature_repo.engine.builder import EVERYTHING, Materialized, Progress
from feature_repo.engine.duckdb_sql import quote
from feature_repo.engine.entity_keys import entity_keys
from feature_repo.engine.positions import Position, Positions
from feature_repo.engine.redis_writer import RedisWriter
from feature_repo.engine.sources import is_delta, relation_of, snapshot_of

ROWS_PER_CHUNK = 5_000


class RowMaterializer:
    """Brings ordinary views to the head of their tables."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, client: Any, project: str) -> None:
        self._connection = connection
        self._project = project
        self._positions = Positions(client, project)
        self._writer = RedisWriter(client)

    def bring_to_head(
        self, view: FeatureView, *, full: bool = False, progress: Progress = lambda _: None
    ) -> Materialized:
        """Write the latest row of every entity that has rows the last run did not see; all of them if ``full``."""
        head = self._head(view)
        held = None if full else self._positions.position(view.name)
        above = held.version if held and held.table_id == head.table_id else EVERYTHING
        if head.version == above:
            return Materialized(view.name, "at head", head.version, 0)
        written = self._write(view, above, head, progress)
        self._positions.advance(view.name, head)
        return Materialized(view.name, "built" if above == EVERYTHING else "applied", head.version, written)

    def _head(self, view: FeatureView) -> Position:
        if not is_delta(view.batch_source):
            return Position("file", 0)
        snapshot = snapshot_of(view.batch_source)
        return Position(snapshot.table_id, snapshot.version)

    def _write(self, view: FeatureView, above: int, head: Position, progress: Progress) -> int:
        query = latest_rows_sql(view, above=above, upto=head.version)
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE latest AS {query}")
        [(total,)] = self._connection.execute("SELECT count(*) FROM latest").fetchall()
        done = 0
        encode = row_encoder(view)
        keys = sorted(view.join_keys)
        for batch in self._connection.sql("FROM latest").to_arrow_reader(ROWS_PER_CHUNK):
            entities = entity_keys(self._project, keys, [batch.column(key) for key in keys])
            self._writer.rows(entities, encode(batch))
            done += batch.num_rows
            progress(done / total)
        return done


def latest_rows_sql(view: FeatureView, *, above: int, upto: int) -> str:
    """Return a query for the latest row of every entity among those with ``above < log_version <= upto``."""
    source = view.batch_source
    ts = quote(source.timestamp_field)
    created = f", {quote(source.created_timestamp_column)} DESC NULLS LAST" if source.created_timestamp_column else ""
    keys = ", ".join(quote(key) for key in sorted(view.join_keys))
    mapping = {feature: column for column, feature in source.field_mapping.items()}
    features = ", ".join(f"{quote(mapping.get(f.name, f.name))} AS {quote(f.name)}" for f in _features(view))
    within = f"log_version > {above} AND log_version <= {upto}" if is_delta(source) else "true"
    present = " AND ".join(f"{quote(key)} IS NOT NULL" for key in sorted(view.join_keys))
    return (
        f"SELECT {keys}, {features}, epoch_us({ts}) AS __ts FROM {relation_of(source)} "
        f"WHERE {within} AND {present} AND {ts} IS NOT NULL "
        f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {ts} DESC{created}) = 1"
    )


def row_encoder(view: FeatureView) -> Callable[[pa.RecordBatch], list[list[bytes]]]:
    """Return a function from a batch with ``__ts`` and the features to the field-value pairs of each row.

    Field names and values are those of stock Feast: murmur3 of ``view:feature``, protobuf ``Value``; NULL is an empty
    value. Each distinct value of a column is encoded once.
    """
    features = [(feature.name, feature.dtype.to_value_type()) for feature in _features(view)]
    names = [_mmh3(f"{view.name}:{name}") for name, _ in features]
    stamp = f"_ts:{view.name}".encode()

    def encode(batch: pa.RecordBatch) -> list[list[bytes]]:
        times = _distinct(batch.column("__ts"), _timestamps)
        columns = [_distinct(batch.column(name), partial(_values, kind=kind)) for name, kind in features]
        rows = zip(times, *columns, strict=True)
        return [
            [stamp, at, *[part for pair in zip(names, values, strict=True) for part in pair]] for at, *values in rows
        ]

    return encode


def _features(view: FeatureView) -> list[Any]:
    return [feature for feature in view.features if feature.name not in view.join_keys]


def _distinct(column: pa.Array, encode: Callable[[list[Any]], list[bytes]]) -> list[bytes]:
    encoded = pc.dictionary_encode(column)
    values = [*encode(encoded.dictionary.to_pylist()), b""]
    return [values[-1 if i is None else i] for i in encoded.indices.to_pylist()]


def _timestamps(instants: list[int]) -> list[bytes]:
    encoded = []
    for us in instants:
        stamp = Timestamp()
        stamp.FromDatetime(from_us(us))
        encoded.append(stamp.SerializeToString())
    return encoded


def _values(values: list[Any], *, kind: ValueType) -> list[bytes]:
    protos: list[Value] = python_values_to_proto_values(values, kind)
    return [proto.SerializeToString() for proto in protos]
