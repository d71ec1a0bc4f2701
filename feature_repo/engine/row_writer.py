"""Ordinary views in Redis, brought to the head of their tables in order of event time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from feast import FeatureView

from feature_repo.engine.builder import (
    CHANGED,
    EVERYTHING,
    FIRST,
    FULL,
    RECREATED,
    Action,
    Materialized,
    is_recreated,
    refuse_backwards,
)
from feature_repo.engine.duckdb_sql import quote
from feature_repo.engine.entity_keys import entity_key_array, entity_keys, entity_of, entity_pattern
from feature_repo.engine.folds import Progress
from feature_repo.engine.positions import Position, Positions
from feature_repo.engine.redis_writer import Batch, RedisWriter, drop_fields, key_pages
from feature_repo.engine.row_encoder import RowEncoder
from feature_repo.engine.row_sql import RowQueries
from feature_repo.engine.sources import is_delta, located, snapshot_of
from feature_repo.engine.verification import RowSample

ROWS_PER_BATCH = 2_048
KEYS_PER_PAGE = 50_000
# Entities are written in parts, so that memory does not grow with their number; each part reads the table once.
ROWS_PER_PART = 100_000
MAX_PARTS = 16

_PYTHON_TYPES = {
    pa.string(): (str, pa.string()),
    pa.binary(): (bytes, pa.binary()),
    pa.int32(): (int, pa.int64()),
    pa.int64(): (int, pa.int64()),
}


@dataclass(frozen=True)
class _Plan:
    """What a run does: which rows it writes, and whether it replaces (``anew``) what Redis holds of others."""

    action: Action
    head: Position
    queries: RowQueries
    anew: bool = False
    why: str = ""


class RowMaterializer:
    """Brings ordinary views to the head of their tables.

    A run that was killed left rows that are right by themselves, and no new position: the next one writes them again.
    """

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

        All entities, if none were seen by the view's present features and ttl. Rows that were pushed meanwhile, later
        than the table's, stay; unless ``full``, or the table was recreated: then what Redis holds is replaced, and
        removed where the table has nothing.

        Raises
        ------
        LogError
            The table has lost commits, or is another than Redis was fed from and has no rows; ``full`` writes anyway.
        """
        plan = self._planned(view, full=full)
        if plan.action is Action.NOTHING:
            return Materialized(view.name, plan.action.done, plan.head.version, 0)
        written = self._write(plan.queries, progress, anew=plan.anew)
        if plan.anew:
            self._remove_others(plan.queries)
        self._positions.record_rows(view, plan.head)
        return Materialized(view.name, plan.action.done, plan.head.version, written, plan.why)

    def plan(self, view: FeatureView, *, full: bool = False) -> Materialized:
        """Say what :meth:`bring_to_head` would do, and to how many entities; write nothing.

        Raises
        ------
        LogError
            As :meth:`bring_to_head`.
        """
        plan = self._planned(view, full=full)
        query = f"SELECT count(*) FROM ({plan.queries.latest()})"
        entities = 0 if plan.action is Action.NOTHING else self._connection.execute(query).fetchall()[0][0]
        return Materialized(view.name, plan.action.planned, plan.head.version, entities, plan.why)

    def _planned(self, view: FeatureView, *, full: bool) -> _Plan:
        held = self._positions.held(view)
        head = head_of(view)  # read after what Redis holds: others may commit and write between the two
        if not full and held == head:
            return _Plan(Action.NOTHING, head, RowQueries(view, head.version, head.version))
        seen = [held] if held else self._earlier(view)
        other = next((position for position in seen if position.table_id != head.table_id), None)
        if not full and is_delta(view.batch_source):
            is_recreated(self._connection, view.name, other, snapshot_of(view.batch_source))
        if held is None or other or full:
            why = FULL if full else (RECREATED if other else (CHANGED if seen else FIRST))
            return _Plan(Action.BUILD, head, RowQueries(view, EVERYTHING, head.version), full or other is not None, why)
        refuse_backwards(held, head, view.batch_source.path)
        return _Plan(Action.APPLY, head, RowQueries(view, held.version, head.version))

    def _earlier(self, view: FeatureView) -> list[Position]:
        """How far the rows of earlier definitions were written."""
        fields = [field.decode().split(":") for field in self._positions.retired(view.name)]
        found = [self._positions.position(name, digest, int(generation)) for _, name, digest, generation in fields]
        return [position for position in found if position]

    def _write(self, queries: RowQueries, progress: Progress, *, anew: bool) -> int:
        encoder, done = RowEncoder.of(queries.view), 0
        sample = RowSample(encoder)
        [(rows,)] = self._connection.execute(queries.count()).fetchall()
        parts = max(1, min(-(-rows // ROWS_PER_PART), MAX_PARTS))
        for part in range(parts):
            self._connection.execute(f"CREATE OR REPLACE TEMP TABLE latest AS {queries.latest(part=(part, parts))}")
            [(total,)] = self._connection.execute("SELECT count(*) FROM latest").fetchall()
            start = done
            for taken in self._writer.rows(encoder.names, self._batches(queries.keys, encoder, sample), anew=anew):
                done += len(taken)
                progress((part + (done - start) / total) / parts)
            sample.verify(self._client)
        self._connection.execute("DROP TABLE latest")
        return done

    def _batches(self, keys: list[str], encoder: RowEncoder, sample: RowSample) -> Iterator[Batch]:
        for batch in self._connection.sql("FROM latest").to_arrow_reader(ROWS_PER_BATCH):
            entities = entity_key_array(self._project, keys, [batch.column(key) for key in keys])
            sample.remember(entities, batch)
            yield Batch(entities, encoder.arguments(batch))

    def _remove_others(self, queries: RowQueries) -> None:
        """Remove the view's rows of entities that its table does not have."""
        names = RowEncoder.of(queries.view).names
        waiting: list[bytes] = []
        for page in key_pages(self._client, entity_pattern(self._project, queries.keys)):
            waiting += page
            if len(waiting) >= KEYS_PER_PAGE:
                drop_fields(self._client, self._others(queries, waiting), names)
                waiting = []
        drop_fields(self._client, self._others(queries, waiting), names)

    def _others(self, queries: RowQueries, keys: list[bytes]) -> list[bytes]:
        """Those of some Redis keys whose entities the table does not have."""
        fields = list(self._connection.sql(f"{queries.entities()} LIMIT 0").to_arrow_table().schema)
        python, arrow = zip(*(_PYTHON_TYPES[field.type] for field in fields), strict=True)
        entities = [entity for entity in (entity_of(self._project, key) for key in keys) if entity]
        asked = [values for _, values in entities if all(map(isinstance, values, python))]
        columns = zip(*asked, strict=True) if asked else [()] * len(fields)
        page = pa.table(list(map(pa.array, columns, arrow)), queries.keys)
        self._connection.register("page", page)
        using = ", ".join(map(quote, queries.keys))
        query = f"SELECT DISTINCT {using} FROM ({queries.entities()}) SEMI JOIN page USING ({using})"
        known = self._connection.sql(query).to_arrow_table()
        self._connection.unregister("page")
        kept = set(entity_keys(self._project, queries.keys, known.columns))
        return [key for key in keys if key not in kept]


def head_of(view: FeatureView) -> Position:
    """Where a run that sees all of a view's source now ends; a file that was written again is another table."""
    if is_delta(view.batch_source):
        snapshot = snapshot_of(view.batch_source)
        return Position(snapshot.table_id, snapshot.version)
    facts = Path(located(view.batch_source.path)).stat()
    return Position(f"file-{facts.st_mtime_ns}-{facts.st_size}", 0)
