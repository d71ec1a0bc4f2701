"""Point-in-time joins of a mixed set of views to a spine.

DuckDB reads, filters and sorts, and spills what does not fit; what a row sees of its entity's history is found by
binary search, some entities at a time. Each view answers by the spine's row number; the answers are joined back in the
spine's order, some rows at a time, so that a result may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa
from feast import FeatureView

from feature_repo.core.clock import delta_us, to_us
from feature_repo.core.errors import DataError
from feature_repo.engine.chunks import ROWS_PER_BATCH as STREAMED
from feature_repo.engine.chunks import chunks, in_threads, ints
from feature_repo.engine.duckdb_sql import ROW, Source, quote
from feature_repo.engine.past_rows import PastRows
from feature_repo.engine.past_sql import NOBODY, entities_sql, facts_sql, history_sql, rows_sql
from feature_repo.engine.past_windows import PastWindows
from feature_repo.engine.sources import MappedSource, lacking, reading_from
from feature_repo.engine.spec import is_windowed, windowed_view_of
from feature_repo.engine.spine import (
    EVENT_TIMESTAMP,
    SPINE,
    Spine,
    key_expression,
    spine_from,
    spine_of,
    spine_times,
    within_memory,
    write_spine,
)
from feature_repo.events.log import LOG_VERSION

__all__ = [
    "EVENT_TIMESTAMP",
    "PointInTimeQuery",
    "Request",
    "Spine",
    "ViewRequest",
    "range_spine",
    "spine_of",
    "spine_times",
    "write_spine",
]

ENTITIES = "spine_entities"
ROWS_PER_BATCH = 122_880
# Every batch looks its rows up among all of the answers: more batches would cost more than their memory is worth.
MOST_BATCHES = 64


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
    without
        View name -> ids of events that are read as if they had not happened.
    """

    views: tuple[ViewRequest, ...]
    known_by_at: bool = False
    versions: tuple[tuple[str, int], ...] = ()
    without: tuple[tuple[str, tuple[str, ...]], ...] = ()

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
            asked = [ref.split(":", 1)[1] for ref in feature_refs if ref.split(":", 1)[0] == name]
            # A stream view that was read from the registry counts its keys among its features.
            chosen = [feature for feature in asked if feature not in view.join_keys]
            outputs = {feature: f"{name}__{feature}" if full_feature_names else feature for feature in chosen}
            renamed = view.projection.join_key_map or {}
            views.append(ViewRequest(view, outputs, {key: renamed.get(key, key) for key in view.join_keys}))
        return cls(tuple(view for view in views if view.outputs), known_by_at, tuple((versions or {}).items()))

    @property
    def join_keys(self) -> tuple[str, ...]:
        """Spine columns that must be there."""
        return tuple(sorted({column for view in self.views for column in view.keys.values()}))


class PointInTimeQuery:
    """A request, ready to run over any spine."""

    def __init__(self, request: Request) -> None:
        self.request = request

    def run(self, connection: duckdb.DuckDBPyConnection, spine: Spine) -> pa.Table:
        """Return the spine's columns and the features, in the spine's order.

        Raises
        ------
        LogError
            A table of the log is missing or damaged.
        SettingsError
            Memory or the disk that is spilled to do not suffice.
        DataError
            A feature and a column of the spine share their name, or keys are not of the views' types.
        """
        return self.reader(connection, spine).read_all()

    def reader(self, connection: duckdb.DuckDBPyConnection, spine: Spine) -> pa.RecordBatchReader:
        """Return the same some rows at a time; the connection must stay open until the last batch is read."""
        check_outputs(spine, self.request)
        with reading_from(*[view.view.batch_source for view in self.request.views]), within_memory():
            for i, view in enumerate(self.request.views):
                self._write_answer(connection, f"answer_{i}", view, spine)
        first = self._rows(connection, spine, 0)
        return pa.RecordBatchReader.from_batches(first.schema, self._batches(connection, spine, first))

    def _batches(
        self, connection: duckdb.DuckDBPyConnection, spine: Spine, first: pa.Table
    ) -> Iterator[pa.RecordBatch]:
        yield from first.to_batches()
        step = _batch_rows(spine)
        for start in range(step, spine.rows, step):
            yield from self._rows(connection, spine, start).to_batches()

    def _rows(self, connection: duckdb.DuckDBPyConnection, spine: Spine, start: int) -> pa.Table:
        within = f"{ROW} >= {start} AND {ROW} < {start + _batch_rows(spine)}"
        kept = ", ".join(map(quote, spine.columns))
        table = connection.sql(f"SELECT {kept} FROM {SPINE} WHERE {within} ORDER BY {ROW}").to_arrow_table()
        for i in range(len(self.request.views)):
            answer = connection.sql(f"FROM answer_{i} WHERE {within}").to_arrow_table()
            place = np.full(table.num_rows, NOBODY)
            place[ints(answer, ROW) - start] = np.arange(answer.num_rows)
            answer = answer.drop_columns(ROW).combine_chunks().take(pa.array(place, mask=place == NOBODY))
            for name, column in zip(answer.column_names, answer.columns, strict=True):
                table = table.append_column(name, column)
        return table

    def _write_answer(
        self, connection: duckdb.DuckDBPyConnection, name: str, requested: ViewRequest, spine: Spine
    ) -> None:
        """Hold the answer of a view as a table, in any order."""
        answered = _Answered.of(self.request, connection, requested, spine)
        connection.execute(f"CREATE OR REPLACE TABLE {ENTITIES} AS {entities_sql(SPINE, answered.keys)}")
        for n, part in enumerate(answered.parts(connection)):
            connection.register("part", part)
            connection.execute(f"INSERT INTO {name} FROM part" if n else f"CREATE OR REPLACE TABLE {name} AS FROM part")
        connection.unregister("part")


def _batch_rows(spine: Spine) -> int:
    return max(ROWS_PER_BATCH, -(-spine.rows // MOST_BATCHES))


@dataclass(frozen=True)
class _Answered:
    """How a view is answered over a spine.

    Attributes
    ----------
    past
        Makes answers of chunks.
    keys
        Keys of the view as expressions over the spine.
    facts
        SQL of what happened to the entities.
    """

    past: PastWindows | PastRows
    keys: tuple[str, ...]
    facts: str

    @classmethod
    def of(
        cls, request: Request, connection: duckdb.DuckDBPyConnection, requested: ViewRequest, spine: Spine
    ) -> _Answered:
        view, mapped = requested.view, MappedSource.of(requested.view.batch_source)
        keys = {
            key: key_expression(connection, column, mapped.schema.field(key).type)
            for key, column in requested.keys.items()
        }
        source = Source(
            lacking(mapped.relation, dict(request.without).get(view.name, ())),
            dict(request.versions).get(view.name),
            request.known_by_at and bool(mapped.created_field),
            versioned=LOG_VERSION in mapped.schema.names,
        )
        make = cls._windows if is_windowed(view) else cls._rows
        return make(requested, mapped, source, keys, spine.span or (0, 0))

    @classmethod
    def _windows(
        cls,
        requested: ViewRequest,
        mapped: MappedSource,
        source: Source,
        keys: dict[str, str],
        span: tuple[int, int],
    ) -> _Answered:
        spec = mapped.read_by(windowed_view_of(requested.view))
        features = tuple(spec.feature(name) for name in requested.outputs)
        past = PastWindows(features, tuple(requested.outputs.values()), spec.hop, span)
        facts = history_sql(
            spec,
            past.monoids,
            past.units,
            source=source,
            entities=ENTITIES,
            keys=spec.join_keys,
            span=span,
            longest=past.reaches[0],
        )
        return cls(past, tuple(keys[key] for key in spec.join_keys), facts)

    @classmethod
    def _rows(
        cls,
        requested: ViewRequest,
        mapped: MappedSource,
        source: Source,
        keys: dict[str, str],
        span: tuple[int, int],
    ) -> _Answered:
        ttl = delta_us(requested.view.ttl) if requested.view.ttl else 0
        past = PastRows(tuple(requested.outputs.values()), ttl, span, source.known_by_at)
        facts = facts_sql(
            [*requested.outputs],
            source=source,
            entities=ENTITIES,
            keys=list(keys),
            timestamp_field=mapped.timestamp_field,
            created_field=mapped.created_field,
            ttl=ttl,
            span=span,
        )
        return cls(past, tuple(keys.values()), facts)

    def parts(self, connection: duckdb.DuckDBPyConnection) -> Iterator[pa.Table]:
        """Yield the answers of some entities after the other, at least one."""
        [(threads,)] = connection.execute("SELECT current_setting('threads')").fetchall()
        with closing(connection.cursor()) as rows, closing(connection.cursor()) as facts:
            streams = _streamed(rows, rows_sql(SPINE, ENTITIES, self.keys)), _streamed(facts, self.facts)
            cut = chunks(*streams, entities=self.past.line.capacity)
            for parts in in_threads(lambda chunk: [*self.past.answer(chunk)], cut, threads=threads):
                yield from parts


def _streamed(cursor: duckdb.DuckDBPyConnection, query: str) -> pa.RecordBatchReader:
    cursor.execute("SET TimeZone = 'UTC'")
    return cursor.sql(query).to_arrow_reader(STREAMED)


def range_spine(
    connection: duckdb.DuckDBPyConnection, request: Request, start: datetime | None, end: datetime | None
) -> Spine:
    """Hold every (entity, instant) at which one of the views has a row in ``[start, end]`` as the spine.

    Raises
    ------
    DataError
        The views do not share their join keys, or a bound is missing.
    """
    key_sets = {tuple(sorted(view.keys.values())) for view in request.views}
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
    within = f"BETWEEN make_timestamptz({_instant(start)}) AND make_timestamptz({_instant(end)})"
    arms = sorted({_instants_sql(view, keys, within) for view in request.views})
    columns = ", ".join(map(quote, keys))
    query = f"SELECT DISTINCT * FROM ({' UNION ALL '.join(arms)}) ORDER BY {EVENT_TIMESTAMP}, {columns}"
    with reading_from(*[view.view.batch_source for view in request.views]):
        return spine_from(connection, f"({query})", [*keys, EVENT_TIMESTAMP], EVENT_TIMESTAMP)


def _instants_sql(view: ViewRequest, keys: Sequence[str], within: str) -> str:
    source = MappedSource.of(view.view.batch_source)
    named = {column: key for key, column in view.keys.items()}
    columns = ", ".join(f"{quote(named[key])} AS {quote(key)}" for key in keys)
    ts = quote(source.timestamp_field)
    return f"SELECT {columns}, {ts} AS {EVENT_TIMESTAMP} FROM {source.relation} WHERE {ts} {within}"


def check_outputs(spine: Spine, request: Request) -> None:
    """Refuse a request whose result would have two columns of one name.

    Raises
    ------
    DataError
        A feature has the name of a column of the spine, or of another feature.
    """
    seen = {column.casefold(): "a column of entity_df" for column in spine.columns}
    for view in request.views:
        for feature, output in view.outputs.items():
            if output.casefold() in seen:
                raise DataError(
                    f"Feature '{feature}' of view '{view.view.name}' would be called '{output}', "
                    f"as {seen[output.casefold()]}.",
                    hint="ask with full_feature_names=True, or rename the column.",
                )
            seen[output.casefold()] = f"one of view '{view.view.name}'"


def _instant(at: datetime) -> int:
    # Feast passes naive datetimes for "now" (datetime.now()); it means the machine's local time.
    return to_us(at if at.tzinfo else at.astimezone())
