"""Point-in-time joins of a mixed set of views to a spine, run in DuckDB.

The spine is written once as a temporary table with a row id; each view answers by row id, and the answers are joined
back in the spine's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
from feast import FeatureView

from feature_repo.core.clock import delta_us, to_us
from feature_repo.core.errors import DataError, did_you_mean
from feature_repo.engine.asof_sql import asof_sql
from feature_repo.engine.duckdb_sql import AT, ROW, Source, quote
from feature_repo.engine.sources import reading_from, relation_of, schema_of
from feature_repo.engine.spec import is_windowed, windowed_view_of
from feature_repo.engine.tile_plan import plan_for
from feature_repo.engine.windows_sql import TilePlan, windows_sql
from feature_repo.events.log import LOG_VERSION

EVENT_TIMESTAMP = "event_timestamp"
_SPINE = "spine_rows"
_SQL_TYPES = {pa.string(): "VARCHAR", pa.large_string(): "VARCHAR", pa.int64(): "BIGINT", pa.int32(): "INTEGER"}


@dataclass(frozen=True)
class ViewRequest:
    """One view of a request.

    Attributes
    ----------
    view
        Feast view.
    outputs
        Feature name in the view -> column of the result.
    keys
        Join key of the view -> column of the spine.
    """

    view: FeatureView
    outputs: dict[str, str]
    keys: dict[str, str]


@dataclass(frozen=True)
class Request:
    """What to join: views, their features, and how far the log may be read.

    Attributes
    ----------
    versions
        View name -> highest ``log_version`` to read; views not named are read to the head.
    """

    views: tuple[ViewRequest, ...]
    known_by_at: bool = False
    versions: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(
        cls,
        feature_views: Sequence[FeatureView],
        feature_refs: Sequence[str],
        *,
        full_feature_names: bool,
        known_by_at: bool = False,
        versions: dict[str, int] | None = None,
    ) -> Request:
        """Group feature references (``view:feature``) by view."""
        views = []
        for view in feature_views:
            name = view.projection.name_to_use()
            chosen = [ref.split(":", 1)[1] for ref in feature_refs if ref.split(":", 1)[0] == name]
            outputs = {feature: f"{name}__{feature}" if full_feature_names else feature for feature in chosen}
            renamed = view.projection.join_key_map or {}
            views.append(ViewRequest(view, outputs, {key: renamed.get(key, key) for key in view.join_keys}))
        return cls(tuple(view for view in views if view.outputs), known_by_at, tuple((versions or {}).items()))

    @property
    def join_keys(self) -> tuple[str, ...]:
        """Spine columns that must be there."""
        return tuple(sorted({column for view in self.views for column in view.keys.values()}))


@dataclass(frozen=True)
class Spine:
    """The rows features are joined to, held as the temporary table ``spine_rows``.

    Attributes
    ----------
    columns
        Columns of the result that come from the spine, in order.
    span
        Smallest and largest instant (us); None when there are no rows.
    rows
        How many there are.
    """

    columns: tuple[str, ...]
    span: tuple[int, int] | None
    rows: int

    @staticmethod
    def time_column(frame: pd.DataFrame) -> str:
        """``event_timestamp``, or the only column of times.

        Raises
        ------
        DataError
            There is none, or more than one.
        """
        if EVENT_TIMESTAMP in frame.columns:
            return EVENT_TIMESTAMP
        times = [str(column) for column in frame.columns if pd.api.types.is_datetime64_any_dtype(frame[column])]
        if len(times) == 1:
            return times[0]
        raise DataError(
            f"entity_df has {len(times)} columns of times and none is named '{EVENT_TIMESTAMP}'.",
            hint=f"name the column of observation times '{EVENT_TIMESTAMP}'.",
        )


def spine_times(frame: pd.DataFrame) -> pd.Series[pd.Timestamp]:
    """Return the instants of an entity_df's rows, in UTC.

    Raises
    ------
    DataError
        The time column is missing, or holds something else.
    """
    column = Spine.time_column(frame)
    try:
        times: pd.Series[pd.Timestamp] = pd.to_datetime(frame[column], utc=True)
    except (ValueError, TypeError) as error:
        raise DataError(f"entity_df column '{column}' is not a time: {error}", hint="pass UTC timestamps.") from None
    return times


class PointInTimeQuery:
    """A request, ready to run over any spine.

    Parameters
    ----------
    plan
        How windowed views fold events; without it each view's plan is chosen by a sample of the spine.
    """

    def __init__(self, request: Request, *, plan: TilePlan | None = None) -> None:
        self.request = request
        self._plan = plan

    def run(self, connection: duckdb.DuckDBPyConnection, spine: Spine) -> pa.Table:
        """Return the spine's columns and the features, in the spine's order.

        Raises
        ------
        LogError
            A table of the log is missing or damaged.
        """
        with reading_from(*[view.view.batch_source for view in self.request.views]):
            return self._run(connection, spine)

    def _run(self, connection: duckdb.DuckDBPyConnection, spine: Spine) -> pa.Table:
        kept = [f"s.{quote(column)}" for column in spine.columns]
        joins = []
        for i, view in enumerate(self.request.views):
            connection.execute(f"CREATE TEMP TABLE answer_{i} AS {self._answer(connection, view, spine)}")
            kept += [f"a{i}.{quote(output)}" for output in view.outputs.values()]
            joins.append(f"JOIN answer_{i} a{i} ON a{i}.{ROW} = s.{ROW}")
        query = f"SELECT {', '.join(kept)} FROM {_SPINE} s {' '.join(joins)} ORDER BY s.{ROW}"
        return connection.sql(query).to_arrow_table()

    def _answer(self, connection: duckdb.DuckDBPyConnection, requested: ViewRequest, spine: Spine) -> str:
        view = requested.view
        schema = schema_of(view.batch_source)
        keys = {key: _typed(column, schema.field(key).type) for key, column in requested.keys.items()}
        source = Source(
            relation_of(view.batch_source),
            dict(self.request.versions).get(view.name),
            self.request.known_by_at,
            versioned=LOG_VERSION in schema.names,
        )
        if is_windowed(view):
            return self._windows(connection, requested, source, keys, spine)
        mapping = {feature: column for column, feature in view.batch_source.field_mapping.items()}
        return asof_sql(
            source=source,
            spine=_SPINE,
            keys=keys,
            columns={mapping.get(name, name): output for name, output in requested.outputs.items()},
            timestamp_field=view.batch_source.timestamp_field,
            created_field=view.batch_source.created_timestamp_column or "",
            ttl=delta_us(view.ttl) if view.ttl else 0,
        )

    def _windows(
        self,
        connection: duckdb.DuckDBPyConnection,
        requested: ViewRequest,
        source: Source,
        keys: dict[str, str],
        spine: Spine,
    ) -> str:
        spec = windowed_view_of(requested.view)
        features = [spec.feature(name) for name in requested.outputs]
        keys = {key: keys[key] for key in spec.join_keys}
        span = spine.span or (0, 0)
        plan = self._plan or plan_for(
            connection, spec, features, source=source, spine=_SPINE, keys=keys, span=span, rows=spine.rows
        )
        outputs = list(requested.outputs.values())
        return windows_sql(
            spec, features, source=source, spine=_SPINE, keys=keys, span=span, outputs=outputs, plan=plan
        )


def spine_of(connection: duckdb.DuckDBPyConnection, rows: pd.DataFrame | str, join_keys: Sequence[str]) -> Spine:
    """Write the rows of an entity_df, or of a SQL query, as the spine.

    Raises
    ------
    DataError
        A join key or the time column is missing, a time is NULL or not a time, or the SQL fails.
    """
    table = _queried(connection, rows) if isinstance(rows, str) else _plain_frame(rows)
    time = Spine.time_column(table.slice(0, 1).to_pandas() if isinstance(rows, str) else rows)
    for key in join_keys:
        if key not in table.column_names:
            raise DataError(f"entity_df lacks the join key '{key}'", hint=did_you_mean(key, table.column_names))
    try:
        at = table[time].cast(pa.timestamp("us", "UTC"), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(f"entity_df column '{time}' holds {table[time].type}.", hint="pass UTC timestamps.") from None
    if at.null_count:
        raise DataError(f"entity_df column '{time}' is NULL in {at.null_count} rows.", hint="drop or date these rows.")
    table = table.set_column(table.column_names.index(time), time, at)
    return write_spine(connection, table, time)


def range_spine(
    connection: duckdb.DuckDBPyConnection, request: Request, start: datetime | None, end: datetime | None
) -> Spine:
    """Write every (entity, instant) at which one of the views has a row in ``[start, end]`` as the spine.

    Raises
    ------
    DataError
        The views do not share their join keys, or a bound is missing.
    """
    key_sets = {tuple(sorted(view.keys)) for view in request.views}
    if len(key_sets) != 1:
        raise DataError(
            "Without entity_df the spine comes from the views, and these have different join keys: "
            + "; ".join(", ".join(keys) for keys in sorted(key_sets)),
            hint="ask for views of one entity, or pass an entity_df.",
        )
    if start is None or end is None:
        raise DataError(
            "Without entity_df both start_date and end_date are needed.", hint="pass both, or an entity_df."
        )
    keys = key_sets.pop()
    columns = ", ".join(map(quote, keys))
    within = f"BETWEEN make_timestamptz({_instant(start)}) AND make_timestamptz({_instant(end)})"
    arms = {
        f"SELECT {columns}, {quote(source.timestamp_field)} AS {EVENT_TIMESTAMP} FROM {relation_of(source)} "
        f"WHERE {quote(source.timestamp_field)} {within}"
        for source in (view.view.batch_source for view in request.views)
    }
    query = f"SELECT DISTINCT * FROM ({' UNION ALL '.join(sorted(arms))}) ORDER BY {EVENT_TIMESTAMP}, {columns}"
    return write_spine(connection, connection.sql(query).to_arrow_table(), EVENT_TIMESTAMP)


def write_spine(connection: duckdb.DuckDBPyConnection, table: pa.Table, time: str) -> Spine:
    """Hold a table with a column of UTC microseconds as the spine of the connection."""
    at = table[time].cast(pa.int64())
    rows = pa.array(range(table.num_rows), pa.int64())
    connection.register("incoming", table.append_column(ROW, rows).append_column(AT, at))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {_SPINE} AS FROM incoming")
    connection.unregister("incoming")
    [(first, last)] = connection.execute(f"SELECT min({AT}), max({AT}) FROM {_SPINE}").fetchall()
    span = None if first is None else (first, last)
    return Spine(tuple(table.column_names), span, table.num_rows)


def _queried(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    try:
        return connection.sql(query).to_arrow_table()
    except duckdb.Error as error:
        raise DataError(f"The SQL of entity_df fails: {error}", hint="run it in DuckDB and correct it.") from None


def _plain_frame(frame: pd.DataFrame) -> pa.Table:
    times = spine_times(frame).dt.as_unit("us")
    return pa.Table.from_pandas(frame.assign(**{Spine.time_column(frame): times}), preserve_index=False)


def _typed(column: str, kind: Any) -> str:
    return f"CAST({quote(column)} AS {_SQL_TYPES[kind]})" if kind in _SQL_TYPES else quote(column)


def _instant(at: datetime) -> int:
    # Feast passes naive datetimes for "now" (datetime.now()); it means the machine's local time.
    return to_us(at if at.tzinfo else at.astimezone())
