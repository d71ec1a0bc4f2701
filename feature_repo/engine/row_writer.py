"""Ordinary views in Redis: rows as stock Feast stores them, written in order of event time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from feast import FeatureView, ValueType
from feast.infra.online_stores.helpers import _mmh3

from feature_repo.core.clock import delta_us
from feature_repo.engine.builder import EVERYTHING, Materialized, refuse_backwards, refuse_emptied
from feature_repo.engine.byte_columns import Column, Ints, decimals
from feature_repo.engine.duckdb_sql import Source, quote
from feature_repo.engine.entity_keys import entity_key_array, entity_pattern
from feature_repo.engine.folds import Progress
from feature_repo.engine.positions import Position, Positions
from feature_repo.engine.redis_wire import bulk, bulk_or_empty
from feature_repo.engine.redis_writer import Batch, RedisWriter, remove_fields
from feature_repo.engine.sources import is_delta, located, relation_of, schema_of, snapshot_of
from feature_repo.engine.value_columns import stamp_column, value_column
from feature_repo.events.log import LOG_VERSION

ROWS_PER_BATCH = 2_048


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

        Raises
        ------
        LogError
            The table has lost commits, or is another than Redis was fed from and has no rows; ``full`` writes anyway.
        """
        head = _head(view)
        held = self._positions.held(view)
        if not full and held == head:
            return Materialized(view.name, "at head", head.version, 0)
        anew = full or held is None or held.table_id != head.table_id
        if held is not None and not anew:
            refuse_backwards(held, head, view.batch_source.path)
        if not full and is_delta(view.batch_source):
            refuse_emptied(self._connection, view.name, held, snapshot_of(view.batch_source))
        above = EVERYTHING if held is None or anew else held.version
        written = self._write(view, above, head, progress, anew=anew)
        self._positions.record_rows(view, head)
        return Materialized(view.name, "built" if anew else "applied", head.version, written)

    def _write(self, view: FeatureView, above: int, head: Position, progress: Progress, *, anew: bool) -> int:
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE latest AS {latest_rows_sql(view, above=above, upto=head.version)}"
        )
        [(total,)] = self._connection.execute("SELECT count(*) FROM latest").fetchall()
        encoder, keys = RowEncoder.of(view), sorted(view.join_keys)
        written: set[bytes] = set()

        def batches() -> Iterator[Batch]:
            for batch in self._connection.sql("FROM latest").to_arrow_reader(ROWS_PER_BATCH):
                entities = entity_key_array(self._project, keys, [batch.column(key) for key in keys])
                written.update(entities.to_pylist())
                yield Batch(entities, encoder.arguments(batch))

        done = 0
        for taken in self._writer.rows(encoder.names, batches(), anew=anew):
            done += len(taken)
            progress(done / total)
        if anew:
            remove_fields(self._client, entity_pattern(self._project, keys), encoder.names, keep=written)
        return done


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


@dataclass(frozen=True)
class RowEncoder:
    """Turns Arrow columns into the arguments of ``RedisWriter.rows``.

    Field names and values are those of stock Feast: murmur3 of ``view:feature``, protobuf ``Value``; NULL is an empty
    value.

    Attributes
    ----------
    stamp
        Hash field of a row's time.
    features
        Name, hash field and type of each feature.
    ttl
        Microseconds after its time that a row expires; 0 for never.
    """

    stamp: bytes
    features: tuple[tuple[str, bytes, ValueType], ...]
    ttl: int

    @classmethod
    def of(cls, view: FeatureView) -> RowEncoder:
        """Return the encoder of an ordinary view."""
        features = tuple(
            (field.name, _mmh3(f"{view.name}:{field.name}"), field.dtype.to_value_type()) for field in _features(view)
        )
        return cls(f"_ts:{view.name}".encode(), features, delta_us(view.ttl) if view.ttl else 0)

    @property
    def names(self) -> list[bytes]:
        """Hash fields of a row, its time's first."""
        return [self.stamp, *(field for _, field, _ in self.features)]

    def arguments(self, batch: pa.RecordBatch) -> list[Column]:
        """Encode a batch with ``__ts`` (us) and the features."""
        times = batch.column("__ts").to_numpy()
        values = [value_column(batch.column(name), kind) for name, _, kind in self.features]
        return [
            self.expiry(times),
            bulk(stamp_column(times)),
            *(bulk_or_empty(column, valid, batch.num_rows) for column, valid in values),
        ]

    def expiry(self, times: Ints) -> Column:
        """When rows of these times (us) expire, in milliseconds, rounded up: a row is read up to its last instant."""
        return bulk(decimals(-(-(times + self.ttl) // 1_000) if self.ttl else np.zeros(len(times), np.int64)))


def _features(view: FeatureView) -> list[Any]:
    return [feature for feature in view.features if feature.name not in view.join_keys]
