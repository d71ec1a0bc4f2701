"""Ordinary views in Redis: rows as stock Feast stores them, written in order of event time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
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
from feature_repo.engine.builder import EVERYTHING, Materialized, refuse_backwards
from feature_repo.engine.duckdb_sql import Source, quote
from feature_repo.engine.entity_keys import entity_keys, entity_pattern
from feature_repo.engine.folds import Progress
from feature_repo.engine.positions import Position, Positions
from feature_repo.engine.redis_writer import RedisWriter, remove_fields
from feature_repo.engine.sources import is_delta, located, relation_of, schema_of, snapshot_of
from feature_repo.events.log import LOG_VERSION

ROWS_PER_CHUNK = 5_000


class RowMaterializer:
    """Brings ordinary views to the head of their tables."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, client: Any, project: str) -> None:
        self._connection = connection
        self._client = client
        self._project = project
        self._positions = Positions(client, project)
        self._writer = RedisWriter(client)

    def bring_to_head(
        self, view: FeatureView, *, full: bool = False, progress: Progress = lambda _: None
    ) -> Materialized:
        """Write the latest row of every entity that has rows the last run did not see.

        All of them, whatever Redis holds, if ``full``, if the table was recreated, or if the view declares other
        features than those written; rows of entities that the table no longer has are removed then.
        """
        head = _head(view)
        held = self._positions.held(view)
        if not full and held == head:
            return Materialized(view.name, "at head", head.version, 0)
        anew = full or held is None or held.table_id != head.table_id
        if held is not None and not anew:
            refuse_backwards(held, head, view.batch_source.path)
        above = EVERYTHING if held is None or anew else held.version
        written = self._write(view, above, head, progress, anew=anew)
        self._positions.record_rows(view, head)
        return Materialized(view.name, "built" if anew else "applied", head.version, written)

    def _write(self, view: FeatureView, above: int, head: Position, progress: Progress, *, anew: bool) -> int:
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE latest AS {latest_rows_sql(view, above=above, upto=head.version)}"
        )
        [(total,)] = self._connection.execute("SELECT count(*) FROM latest").fetchall()
        encode, keys = row_encoder(view), sorted(view.join_keys)
        written: set[bytes] = set()
        for batch in self._connection.sql("FROM latest").to_arrow_reader(ROWS_PER_CHUNK):
            entities = entity_keys(self._project, keys, [batch.column(key) for key in keys])
            self._writer.rows(entities, encode(batch), anew=anew)
            written.update(entities)
            progress(len(written) / total)
        if anew:
            fields = [_stamp(view), *(name for name, _ in _encoded_names(view))]
            remove_fields(self._client, entity_pattern(self._project, keys), fields, keep=written)
        return len(written)


def _head(view: FeatureView) -> Position:
    if is_delta(view.batch_source):
        snapshot = snapshot_of(view.batch_source)
        return Position(snapshot.table_id, snapshot.version)
    facts = Path(located(view.batch_source.path)).stat()
    return Position(f"file-{facts.st_mtime_ns}-{facts.st_size}", 0)


def latest_rows_sql(view: FeatureView, *, above: int, upto: int) -> str:
    """Return a query for the latest row of every entity among those with ``above < log_version <= upto``.

    Of rows with one event time the latest commit's is taken, of those the one created last: as offline.
    """
    source = view.batch_source
    versioned = LOG_VERSION in schema_of(source).names
    ts, created = quote(source.timestamp_field), source.created_timestamp_column
    known = f"epoch_us({quote(created)})" if created else "NULL::BIGINT"
    order = f"{ts} DESC, {Source('', versioned=versioned).tie}"
    keys = ", ".join(quote(key) for key in sorted(view.join_keys))
    mapping = {feature: column for column, feature in source.field_mapping.items()}
    features = ", ".join(f"{quote(mapping.get(f.name, f.name))} AS {quote(f.name)}" for f in _features(view))
    within = f"log_version > {above} AND log_version <= {upto}" if versioned else "true"
    present = " AND ".join(f"{quote(key)} IS NOT NULL" for key in sorted(view.join_keys))
    return (
        f"SELECT {keys}, {features}, epoch_us({ts}) AS __ts "
        f"FROM (SELECT *, {known} AS known FROM {relation_of(source)}) "
        f"WHERE {within} AND {present} AND {ts} IS NOT NULL "
        f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {order}) = 1"
    )


def row_encoder(view: FeatureView) -> Callable[[pa.RecordBatch], list[list[bytes]]]:
    """Return a function from a batch with ``__ts`` and the features to the field-value pairs of each row.

    Field names and values are those of stock Feast: murmur3 of ``view:feature``, protobuf ``Value``; NULL is an empty
    value. Each distinct value of a column is encoded once.
    """
    features = [(feature.name, feature.dtype.to_value_type()) for feature in _features(view)]
    names = [encoded for encoded, _ in _encoded_names(view)]
    stamp = _stamp(view)

    def encode(batch: pa.RecordBatch) -> list[list[bytes]]:
        times = _distinct(batch.column("__ts"), _timestamps)
        columns = [_distinct(batch.column(name), partial(_values, kind=kind)) for name, kind in features]
        rows = zip(times, *columns, strict=True)
        return [
            [stamp, at, *[part for pair in zip(names, values, strict=True) for part in pair]] for at, *values in rows
        ]

    return encode


def _stamp(view: FeatureView) -> bytes:
    return f"_ts:{view.name}".encode()


def _encoded_names(view: FeatureView) -> list[tuple[bytes, str]]:
    return [(_mmh3(f"{view.name}:{feature.name}"), feature.name) for feature in _features(view)]


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
