"""Rows of one commit, in memory, on their way into several views: what views have in common is worked out once.

A commit of a stream is small, and planning a query of it would take longer than folding it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.engine.duckdb_sql import needs_event_id
from feature_repo.engine.entity_keys import entity_keys
from feature_repo.engine.folds import Fold
from feature_repo.engine.monoids import Events, Ints, Monoid
from feature_repo.engine.shards import owned_mask
from feature_repo.engine.sources import refuse_missing
from feature_repo.engine.spec import WindowedView
from feature_repo.events.log import EVENT_ID


@dataclass(frozen=True)
class Entities:
    """Entities that rows are about.

    Attributes
    ----------
    keys
        Redis key of each.
    values
        Values of the join keys, a list per key.
    owner
        Position among the keys, of each row; -1 where a join key is NULL.
    """

    keys: list[bytes]
    values: list[list[object]]
    owner: Ints


class Landed:
    """What a commit appended to a table.

    Parameters
    ----------
    rows
        As the table has them, of whatever order.
    version
        Log version they were committed as.
    project
        Feast project: part of every key.
    """

    def __init__(self, rows: pa.Table, version: int, project: str) -> None:
        self.rows = rows
        self._version = version
        self._project = project
        self._columns: dict[str, pa.Array] = {}
        self._entities: dict[tuple[str, ...], Entities] = {}

    def only(self, mask: pa.Array) -> Landed:
        """Return some of the rows, by a mask; NULL leaves a row out."""
        if pc.all(mask, skip_nulls=False, min_count=0).as_py():
            return self
        return Landed(self.rows.filter(mask), self._version, self._project)

    def fold(self, view: WindowedView, *, since: int, shards: Collection[int], of: int) -> Fold | None:
        """Return the rows of entities in some shards and at or after ``since`` (us); None if there are none.

        Raises
        ------
        DataError
            The table lacks a column that the view's source maps.
        """
        names = {name: column for column, name in view.mapping}
        refuse_missing(names.values(), self.rows.column_names, view.source_name)
        columns = {name: names.get(name, name) for name in _read(view)}
        ts = self._instants(columns[view.timestamp_field])
        entities = self._about(view.join_keys, [columns[key] for key in view.join_keys])
        chosen = (entities.owner >= 0) & (ts >= since)
        chosen[chosen] = owned_mask(view.join_keys, entities.values, shards, of=of)[entities.owner[chosen]]
        if not chosen.any():
            return None
        rows = np.flatnonzero(chosen)
        rows = rows[np.argsort(entities.owner[rows], kind="stable")]
        some, owner = np.unique(entities.owner[rows], return_inverse=True)
        ts = ts[rows]
        tile = ts // view.hop
        ids = self._taken(columns[EVENT_ID], rows).cast(pa.string()) if EVENT_ID in columns else None
        events = Events(ts, (tile + 1) * view.hop, ids)
        return Fold(
            keys=[entities.keys[i] for i in some.tolist()],
            owner=owner,
            tile=tile,
            version=np.full(len(rows), self._version),
            columns={each.key: each.lifted(self._input(each, columns, rows), events) for each in view.monoids},
        )

    def _input(self, monoid: Monoid, columns: dict[str, str], rows: Ints) -> pa.Array | None:
        return self._taken(columns[monoid.column], rows) if monoid.column else None

    def _taken(self, name: str, rows: Ints) -> pa.Array:
        return self._column(name).take(pa.array(rows))

    def _instants(self, name: str) -> Ints:
        found: Ints = self._column(name).cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
        return found

    # Threads may work the same out at the same time: then one result is kept.
    def _column(self, name: str) -> pa.Array:
        if name not in self._columns:
            self._columns[name] = self.rows[name].combine_chunks()
        return self._columns[name]

    def _about(self, join_keys: Sequence[str], columns: Sequence[str]) -> Entities:
        key = (*join_keys, *columns)
        if key not in self._entities:
            self._entities[key] = _entities(self._project, join_keys, [self._column(name) for name in columns])
        return self._entities[key]


def _read(view: WindowedView) -> list[str]:
    """Names of the columns a view reads."""
    ids = [EVENT_ID] if needs_event_id(view.monoids) else []
    inputs = [monoid.column for monoid in view.monoids if monoid.column]
    return [*view.join_keys, view.timestamp_field, *ids, *inputs]


def _entities(project: str, join_keys: Sequence[str], columns: Sequence[pa.Array]) -> Entities:
    encoded = [column.dictionary_encode() for column in columns]
    known = np.logical_and.reduce([column.is_valid().to_numpy(zero_copy_only=False) for column in columns])
    codes = np.zeros(int(known.sum()), np.int64)
    for each in encoded:
        codes = codes * len(each.dictionary) + each.indices.filter(pa.array(known)).to_numpy()
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    owner = np.full(len(known), -1)
    owner[known] = inverse
    firsts = pa.array(np.flatnonzero(known)[first])
    values = [column.take(firsts) for column in columns]
    return Entities(entity_keys(project, join_keys, values), [column.to_pylist() for column in values], owner)
