"""SQL over the table of an ordinary view: its latest rows, its entities."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from feast import FeatureView
from feast.types import Bytes, Int32, Int64, String

from feature_repo.engine.duckdb_sql import Source, quote
from feature_repo.engine.row_encoder import EVENT_TIME, row_features
from feature_repo.engine.sources import MappedSource
from feature_repo.events.log import LOG_VERSION

_KEY_TYPES = ((String, "VARCHAR"), (Bytes, "BLOB"), (Int32, "INTEGER"), (Int64, "BIGINT"))


@dataclass(frozen=True)
class RowQueries:
    """Queries over the rows with ``above < log_version <= upto``; all rows of a table that has no ``log_version``.

    Rows without a time or without a join key are about nothing and left out. Join keys are read in their declared type,
    which Redis keys depend on.
    """

    view: FeatureView
    above: int
    upto: int

    @cached_property
    def keys(self) -> list[str]:
        """Join keys, sorted as in Feast's entity key."""
        return sorted(self.view.join_keys)

    def count(self) -> str:
        """Return a query for the number of rows."""
        return f"SELECT count(*) FROM {self._source.relation} WHERE {self._condition}"

    def entities(self) -> str:
        """Return a query for the join keys of every row."""
        return f"SELECT {self._key_columns} FROM {self._source.relation} WHERE {self._condition}"

    def latest(self, *, part: tuple[int, int] = (0, 1)) -> str:
        """Return a query for the latest row of each entity: join keys, features, ``__ts`` (us).

        Of rows with one event time the latest commit's is taken, of those the one created last: as offline. ``part`` is
        which of how many parts of the entities, about equally large.
        """
        source, (number, parts) = self._source, part
        ts, created = quote(source.timestamp_field), source.created_field
        known = f"epoch_us({quote(created)})" if created else "NULL::BIGINT"
        order = f"{ts} DESC, {Source('', versioned=self._versioned).tie}"
        keys = ", ".join(map(quote, self.keys))
        features = [quote(feature.name) for feature in row_features(self.view)]
        within = f"AND hash({keys}) % {parts} = {number} " if parts > 1 else ""
        return (
            f"SELECT {', '.join([self._key_columns, *features])}, epoch_us({ts}) AS {EVENT_TIME} "
            f"FROM (SELECT *, {known} AS known FROM {source.relation}) "
            f"WHERE {self._condition} {within}"
            f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {order}) = 1"
        )

    @cached_property
    def _source(self) -> MappedSource:
        return MappedSource.of(self.view.batch_source)

    @cached_property
    def _versioned(self) -> bool:
        return LOG_VERSION in self._source.schema.names

    @cached_property
    def _condition(self) -> str:
        present = [f"{quote(name)} IS NOT NULL" for name in (*self.keys, self._source.timestamp_field)]
        versions = [f"log_version > {self.above}", f"log_version <= {self.upto}"] if self._versioned else []
        return " AND ".join([*versions, *present])

    @cached_property
    def _key_columns(self) -> str:
        kinds = {
            column.name: sql
            for column in self.view.entity_columns
            for dtype, sql in _KEY_TYPES
            if column.dtype == dtype
        }
        return ", ".join(
            f"CAST({quote(key)} AS {kinds[key]}) AS {quote(key)}" if key in kinds else quote(key) for key in self.keys
        )
