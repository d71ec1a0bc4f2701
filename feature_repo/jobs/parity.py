"""Does Redis say what the log says? Compare online values with offline ones, at one instant and one log version."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from feast import FeatureStore, FeatureView

from feature_repo.core.clock import Clock, from_us
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb, connect_redis, redis_answers
from feature_repo.engine.duckdb_sql import quote
from feature_repo.engine.entity_keys import entity_keys
from feature_repo.engine.feature_store import open_store, stored_views
from feature_repo.engine.kernels import Values
from feature_repo.engine.point_in_time import EVENT_TIMESTAMP, PointInTimeQuery, Request, write_spine
from feature_repo.engine.positions import Positions
from feature_repo.engine.sources import is_delta, reading_from, relation_of
from feature_repo.engine.spec import is_windowed, windowed_view_of
from feature_repo.engine.window_reader import ViewRead, WindowReader

USER = "user_id"
RELATIVE = 1e-9
ATTEMPTS = 3
PAIRS_PER_USER = 20


@dataclass(frozen=True)
class ParityReport:
    """How many values were compared, and which differ.

    Attributes
    ----------
    checked, mismatches
        Values compared, values that differ.
    by_view, by_feature, by_cause
        Mismatches; a cause is ``"value"`` (both known, different), ``"online null"``, ``"offline null"`` or
        ``"not materialized"`` (counted once per view).
    sampled
        Pseudonyms of the shoppers compared.
    at
        Instant of the comparison, microseconds.
    """

    checked: int
    mismatches: int
    by_view: dict[str, int]
    by_feature: dict[str, int]
    by_cause: dict[str, int]
    sampled: tuple[str, ...]
    at: int


class _Comparison:
    def __init__(self, settings: Settings, at: int) -> None:
        self.at = at
        self.store: FeatureStore = open_store()
        self.checked = 0
        self.found: list[tuple[str, str, str]] = []
        self.connection = connect_duckdb(settings)
        self.client = connect_redis(settings)
        self.positions = Positions(self.client, self.store.project)

    def view(self, view: FeatureView, users: Sequence[str]) -> None:
        for _ in range(ATTEMPTS):
            before = self.positions.held(view)
            if before is None:
                self.found.append((view.name, "", "not materialized"))
                return
            entities = self._entities(view, users)
            offline = self._offline(view, entities, before.version)
            online = self._online(view, entities)
            if self.positions.held(view) == before:
                break
        self._compare(view.name, offline, online)

    def _entities(self, view: FeatureView, users: Sequence[str]) -> pa.Table:
        """Keys of the users' rows, and one key nobody has."""
        keys = sorted(view.join_keys)
        relation = relation_of(view.batch_source)
        table = pa.table({USER: pa.array(users, pa.string())})
        if keys == [USER]:
            return pa.concat_tables([table, pa.table({USER: ["u_" + "0" * 32]})])
        self.connection.register("sampled", table)
        columns = ", ".join(map(quote, keys))
        present = " AND ".join(f"{quote(key)} IS NOT NULL" for key in keys)
        shoppers = f"SEMI JOIN sampled USING ({USER})" if self._has_users(relation) else ""
        query = f"SELECT DISTINCT {columns} FROM {relation} {shoppers} WHERE {present} ORDER BY {columns}"
        found = self.connection.sql(f"{query} LIMIT {PAIRS_PER_USER * len(users)}").to_arrow_table()
        return pa.concat_tables([found, pa.table({key: ["never seen"] for key in keys}).cast(found.schema)])

    def _has_users(self, relation: str) -> bool:
        return USER in self.connection.sql(f"FROM {relation} LIMIT 0").columns

    def _offline(self, view: FeatureView, entities: pa.Table, version: int) -> dict[str, list[Any]]:
        refs = [f"{view.name}:{name}" for name in _feature_names(view)]
        versions = {view.name: version} if is_delta(view.batch_source) else {}
        request = Request.of([view], refs, full_feature_names=False, versions=versions)
        times = pa.array([from_us(self.at)] * entities.num_rows, pa.timestamp("us", "UTC"))
        spine = write_spine(self.connection, entities.append_column(EVENT_TIMESTAMP, times), EVENT_TIMESTAMP)
        answer = PointInTimeQuery(request).run(self.connection, spine)
        self.connection.execute("DROP TABLE answer_0")
        return {name: _plain(answer[name]) for name in _feature_names(view)}

    def _online(self, view: FeatureView, entities: pa.Table) -> dict[str, list[Any]]:
        keys = sorted(view.join_keys)
        if not is_windowed(view):
            response = self.store.get_online_features(
                features=[f"{view.name}:{name}" for name in _feature_names(view)],
                entity_rows=entities.select(keys).to_pylist(),
            ).to_dict()
            return {name: response[name] for name in _feature_names(view)}
        spec = windowed_view_of(view)
        read = ViewRead(spec, spec.features, entity_keys(self.store.project, keys, [entities[key] for key in keys]))
        [columns] = WindowReader(self.store.project).read(self.client, [read], self.at)
        return {feature.name: _listed(column) for feature, column in zip(spec.features, columns, strict=True)}

    def _compare(self, view: str, offline: dict[str, list[Any]], online: dict[str, list[Any]]) -> None:
        for name, expected in offline.items():
            for right, found in zip(expected, online[name], strict=True):
                self.checked += 1
                cause = difference(right, found)
                if cause:
                    self.found.append((view, name, cause))

    def close(self) -> None:
        self.connection.close()
        self.client.close()


def parity(
    settings: Settings,
    clock: Clock,
    *,
    users: int = 200,
    views: list[str] | None = None,
    seed: int = 0,
    progress: Callable[[str, float], None] = lambda _step, _done: None,
) -> ParityReport:
    """Compare what Redis serves with what the offline store computes, for a sample of shoppers and now.

    Views of other entities are compared for what the sampled shoppers touched: their items, their categories, and a key
    that was never seen. The log is read at the version each view's state holds, so events that are committed but not
    applied yet are no mismatch.

    Raises
    ------
    StoreUnavailableError, LogError
        Redis or a table cannot be used.
    """
    with contextlib.closing(_Comparison(settings, clock.now_us())) as comparison, redis_answers():
        chosen = stored_views(comparison.store, views)
        with reading_from(*[view.batch_source for view in chosen]):
            sampled = _sample(comparison.connection, chosen, users, seed)
            for i, view in enumerate(chosen):
                progress(view.name, i / len(chosen))
                comparison.view(view, sampled)
    found = comparison.found
    return ParityReport(
        checked=comparison.checked,
        mismatches=len(found),
        by_view=dict(Counter(view for view, _, _ in found)),
        by_feature=dict(Counter(f"{view}:{name}" for view, name, _ in found if name)),
        by_cause=dict(Counter(cause for _, _, cause in found)),
        sampled=tuple(sampled),
        at=comparison.at,
    )


def difference(offline: Any, online: Any) -> str:
    """Name the cause by which two values differ; empty if they agree.

    >>> difference(1.0, 1.0 + 1e-12), difference(None, None), difference(1, 2), difference(1, None)
    ('', '', 'value', 'online null')
    """
    if offline is None or online is None:
        return "" if offline is online else ("offline null" if offline is None else "online null")
    if isinstance(offline, float):
        return "" if math.isclose(offline, online, rel_tol=RELATIVE, abs_tol=RELATIVE) else "value"
    return "" if offline == online else "value"


def _sample(connection: duckdb.DuckDBPyConnection, views: Sequence[FeatureView], users: int, seed: int) -> list[str]:
    """Shoppers of the log, the same ones for the same seed."""
    tables = {view.batch_source.path: relation_of(view.batch_source) for view in views if USER in view.join_keys}
    arms = " UNION ".join(f"SELECT {USER} FROM {relation} WHERE {USER} IS NOT NULL" for relation in tables.values())
    if not arms:
        return []
    known = connection.sql(f"SELECT DISTINCT {USER} FROM ({arms}) ORDER BY {USER}").to_arrow_table()[USER].to_pylist()
    picked = np.random.default_rng(seed).permutation(len(known))[:users]
    return [known[i] for i in sorted(picked.tolist())]


def _feature_names(view: FeatureView) -> list[str]:
    if is_windowed(view):
        return [feature.name for feature in windowed_view_of(view).features]
    return [feature.name for feature in view.features if feature.name not in view.join_keys]


def _plain(column: pa.ChunkedArray) -> list[Any]:
    values: list[Any] = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
    return values


def _listed(values: Values) -> list[Any]:
    data = values.data.tolist()
    if values.valid is None:
        return list(data)
    return [value if known else None for value, known in zip(data, values.valid.tolist(), strict=True)]
