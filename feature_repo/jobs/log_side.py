"""What the log says of some entities of a view: features by the offline store, and what explains a difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from feast import FeatureView

from feature_repo.core.clock import SECOND, delta_us, from_us
from feature_repo.engine.builder import EVERYTHING
from feature_repo.engine.duckdb_sql import Source, quote
from feature_repo.engine.point_in_time import EVENT_TIMESTAMP, PointInTimeQuery, Request, write_spine
from feature_repo.engine.row_encoder import row_features
from feature_repo.engine.row_sql import RowQueries
from feature_repo.engine.sources import MappedSource
from feature_repo.engine.spec import WindowedFeature, is_windowed, windowed_view_of
from feature_repo.engine.tiles import floor
from feature_repo.events.log import EVENT_ID, LOG_VERSION
from feature_repo.jobs.causes import Logged

USER = "user_id"
PAIRS_PER_USER = 20
NOWHERE = "u_" + "0" * 32
_ALL = 2**62
_NOBODY = {pa.string(): NOWHERE, pa.binary(): NOWHERE.encode(), pa.int32(): -(2**31), pa.int64(): -(2**63)}


@dataclass(frozen=True, eq=False)
class LogSide:
    """A view over the log, read at instant ``at`` (us)."""

    connection: duckdb.DuckDBPyConnection
    view: FeatureView
    at: int

    @cached_property
    def keys(self) -> list[str]:
        """Join keys, sorted as in Feast's entity key."""
        return sorted(self.view.join_keys)

    @cached_property
    def source(self) -> MappedSource:
        """The view's source, by the names the view reads it by."""
        return MappedSource.of(self.view.batch_source)

    @property
    def versioned(self) -> bool:
        """Whether rows say which commit brought them in."""
        return LOG_VERSION in self.source.schema.names

    def entities(self, users: Sequence[str]) -> pa.Table:
        """Return what the users' rows are about, and an entity nobody has."""
        table = pa.table({USER: pa.array(users, pa.string())})
        if self.keys != [USER]:
            self.connection.register("sampled", table)
            columns = ", ".join(map(quote, self.keys))
            present = " AND ".join(f"{quote(key)} IS NOT NULL" for key in self.keys)
            rows, known = self.source.relation, self.source.schema.names
            if not is_windowed(self.view):  # keyed by the declared types, whatever the file holds
                rows, known = f"({RowQueries(self.view, EVERYTHING, _ALL).entities()})", self.keys
            shoppers = f"SEMI JOIN sampled USING ({USER})" if USER in known else ""
            query = (
                f"SELECT DISTINCT {columns} FROM {rows} {shoppers} WHERE {present} "
                f"ORDER BY {columns} LIMIT {PAIRS_PER_USER * len(users)}"
            )
            table = self.connection.sql(query).to_arrow_table()
        nobody = {field.name: pa.array([_NOBODY[field.type]], field.type) for field in table.schema}
        return pa.concat_tables([table, pa.table(nobody)])

    def values(self, entities: pa.Table, versions: Sequence[int | None]) -> dict[str, list[Any]]:
        """Features of each entity from the rows up to its log version; times in microseconds, None reads all rows.

        Times of ordinary views are cut to seconds, as Feast stores them.
        """
        found: dict[str, list[Any]] = {name: [None] * entities.num_rows for name in self._names}
        for version in set(versions):
            rows = [i for i, each in enumerate(versions) if each == version]
            answer = self._answer(entities.take(pa.array(rows)), version)
            for name, column in found.items():
                for i, value in zip(rows, self._plain(answer[name]), strict=True):
                    column[i] = value
        return found

    def logged(self, entities: pa.Table, version: int | None) -> list[Logged]:
        """Return what the log holds of each entity that the view's values were made of."""
        ttl = delta_us(self.view.ttl) if self.view.ttl and not is_windowed(self.view) else 0
        repeated = f"count({EVENT_ID}) - count(DISTINCT {EVENT_ID})" if EVENT_ID in self.source.schema.names else "0"
        upto = f"max({LOG_VERSION})" if is_windowed(self.view) else f"max({self._ts})"
        rows = self._per_entity(entities, version, [f"count({self._ts})", repeated, upto], since=self._since)
        exact = not is_windowed(self.view)
        return [
            Logged(count, repeats, last, exact=exact, expires=last + ttl if ttl and last is not None else None)
            for count, repeats, last in rows
        ]

    def magnitudes(self, entities: pa.Table, feature: WindowedFeature, version: int | None) -> list[float]:
        """Sizes that the noise of a float feature is relative to: sum of ``|x|`` in the window, the largest for std.

        A decayed sum forgets nothing, so that its size is that of all events; days are relative to one.
        """
        decays = feature.function == "decayed_sum"
        if feature.function == "days_since" or not (feature.column or decays):
            return [1.0] * entities.num_rows
        since = floor(self.at - feature.reach, windowed_view_of(self.view).hop)
        each = f"abs(CAST({quote(feature.column)} AS DOUBLE))"
        size = f"{'max' if feature.function == 'std' else 'sum'}({each})" if feature.column else f"count({self._ts})"
        rows = self._per_entity(entities, version, [size], since=None if decays else since)
        return [float(found or 0.0) for (found,) in rows]

    def _answer(self, entities: pa.Table, version: int | None) -> pa.Table:
        refs = [f"{self.view.name}:{name}" for name in self._names]
        versions = {} if version is None else {self.view.name: version}
        request = Request.of([self.view], refs, full_feature_names=False, versions=versions)
        times = pa.array([from_us(self.at)] * entities.num_rows, pa.timestamp("us", "UTC"))
        spine = write_spine(self.connection, entities.append_column(EVENT_TIMESTAMP, times), EVENT_TIMESTAMP)
        answer = PointInTimeQuery(request).run(self.connection, spine)
        self.connection.execute("DROP TABLE answer_0")
        return answer

    def _per_entity(
        self, entities: pa.Table, version: int | None, aggregates: Sequence[str], *, since: int | None
    ) -> list[tuple[Any, ...]]:
        """Aggregates over the rows of each entity before the instant, in the entities' order."""
        numbered = entities.append_column("__n", pa.array(np.arange(entities.num_rows)))
        self.connection.register("asked", numbered)
        keys = ", ".join(map(quote, self.keys))
        source = Source("", upto_version=version, versioned=self.versioned)
        before = "<" if is_windowed(self.view) else "<="
        within = f"{self._ts} {before} {self.at}" + (f" AND {self._ts} >= {since}" if since is not None else "")
        rows = f"SELECT * FROM {self.source.relation} WHERE {source.condition} AND {within}"
        query = f"SELECT {', '.join(aggregates)} FROM asked LEFT JOIN ({rows}) USING ({keys}) GROUP BY __n ORDER BY __n"
        found: list[tuple[Any, ...]] = self.connection.execute(query).fetchall()
        self.connection.unregister("asked")
        return found

    @property
    def _ts(self) -> str:
        return f"epoch_us({quote(self.source.timestamp_field)})"

    @cached_property
    def _since(self) -> int | None:
        """Events before it are not folded."""
        if not is_windowed(self.view):
            return None
        spec = windowed_view_of(self.view)
        return floor(self.at - spec.lookback, spec.hop)

    @cached_property
    def _names(self) -> list[str]:
        if is_windowed(self.view):
            return [feature.name for feature in windowed_view_of(self.view).features]
        return [feature.name for feature in row_features(self.view)]

    def _plain(self, column: pa.ChunkedArray) -> list[Any]:
        if not pa.types.is_timestamp(column.type):
            return list(column.to_pylist())
        unit = 1 if is_windowed(self.view) else SECOND
        times = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist()
        return [None if at is None else at // unit * unit for at in times]


def sample(
    connection: duckdb.DuckDBPyConnection, views: Sequence[FeatureView], users: int, seed: int
) -> tuple[str, ...]:
    """Shoppers of the log, the same ones for the same seed."""
    tables = sorted({MappedSource.of(view.batch_source).relation for view in views if USER in view.join_keys})
    arms = " UNION ".join(f"SELECT {USER} FROM {relation} WHERE {USER} IS NOT NULL" for relation in tables)
    if not arms:
        return ()
    known = connection.sql(f"SELECT DISTINCT {USER} FROM ({arms}) ORDER BY {USER}").to_arrow_table()[USER].to_pylist()
    picked = np.random.default_rng(seed).permutation(len(known))[:users]
    return tuple(known[i] for i in sorted(picked.tolist()))
