"""Is what was served what the log says of that instant? Served features, computed again offline, and compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureStore

from feature_repo.core.clock import Clock, SystemClock
from feature_repo.core.errors import DeclarationError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.contract import service_contract
from feature_repo.engine.feature_store import open_store, quiet_feast
from feature_repo.engine.point_in_time import EVENT_TIMESTAMP, PointInTimeQuery, Request, write_spine
from feature_repo.engine.retrieval import DuckDBRetrievalJob
from feature_repo.engine.services import ServiceViews, StoredView, check_home, service_views
from feature_repo.engine.sources import reading_from
from feature_repo.engine.spec import is_windowed
from feature_repo.jobs.served import AT, ServedFacts, ServedRows, read_served
from feature_repo.jobs.skew_causes import SkewCause
from feature_repo.jobs.skew_removals import Removals
from feature_repo.jobs.skew_told import Causes, ServedView, causes_of
from feature_repo.jobs.skew_values import differ, values_of

# What the state could not say: by no definition of now could it have been right.
_SILENT = (SkewCause.NOT_MATERIALIZED, SkewCause.UNANSWERED)


@dataclass(frozen=True)
class FeatureSkew:
    """One feature: rows compared, values that differ, their share, and how many of them by which cause."""

    rows: int
    mismatches: int
    rate: float
    by_cause: dict[str, int]


@dataclass(frozen=True)
class SkewReport:
    """What was served, against the log.

    Attributes
    ----------
    rows, values
        Rows that were compared, and their values.
    lost
        Rows that were chosen to be kept and were not.
    since, until
        Instants of the first and the last row; None without rows.
    mismatches, by_cause
        Values that differ, and why, by the words of :class:`feature_repo.jobs.skew_causes.SkewCause`.
    unexplained
        How many of them nothing explains.
    features
        By full name, those of all services together.
    uncompared
        Features that were served and are not declared any more, with their rows.
    """

    rows: int
    values: int
    lost: int
    since: datetime | None
    until: datetime | None
    mismatches: int
    by_cause: dict[str, int]
    unexplained: int
    features: dict[str, FeatureSkew]
    uncompared: dict[str, int]


@dataclass
class _Tally:
    rows: Counter[str] = field(default_factory=Counter)
    causes: Counter[tuple[str, SkewCause]] = field(default_factory=Counter)
    uncompared: Counter[str] = field(default_factory=Counter)


def skew(
    settings: Settings,
    *,
    clock: Clock | None = None,
    progress: Callable[[str, float], None] = lambda _step, _done: None,
) -> SkewReport:
    """Compute every served row again at its instant, and tell why what differs does.

    A value that differs is computed once more over what the state held when it was served (the log version in its
    header), as a reader of it gets it. If that is what was served, the events beside it are the cause, and which of
    these is found by computing it without the others; if not, nothing explains it.

    Raises
    ------
    LogError
        A table of the log, or a file of served rows, is damaged.
    """
    check_home(settings)
    files = list(read_served(settings))
    groups, store, tally = _groups(files), open_store(), _Tally()
    removals = Removals.of(settings, clock or SystemClock())
    with closing(connect_duckdb(settings)) as connection:
        for n, group in enumerate(groups):
            progress(group.facts.service, n / len(groups))
            _compare(connection, store, group, removals, tally)
    instants = [bound for each in files if each.table.num_rows for bound in _span(each.table)]
    return _report(tally, files, min(instants, default=None), max(instants, default=None))


def _groups(files: Iterable[ServedRows]) -> list[ServedRows]:
    """Join files that have everything but their rows in common."""
    found: dict[str, tuple[ServedFacts, list[pa.Table]]] = {}
    for each in files:
        facts = each.facts
        common = (facts.service, facts.features, facts.entities, facts.unanswered, sorted(facts.contract.items()))
        found.setdefault(repr(common), (facts, []))[1].append(each.table.replace_schema_metadata())
    return [ServedRows(facts, pa.concat_tables(tables, promote_options="default")) for facts, tables in found.values()]


def _compare(
    connection: duckdb.DuckDBPyConnection, store: FeatureStore, group: ServedRows, removals: Removals, tally: _Tally
) -> None:
    facts, rows = group.facts, group.table
    try:
        with quiet_feast():
            contract, views = service_contract(store, facts.service, inputs=True), service_views(store, facts.service)
    except DeclarationError:
        tally.uncompared.update(dict.fromkeys(facts.features, rows.num_rows))
        return
    offline = _offline(connection, views, rows, facts.entities)
    known = [name for name in facts.features if name in offline.column_names]
    tally.uncompared.update({name: rows.num_rows for name in facts.features if name not in offline.column_names})
    tally.rows.update(dict.fromkeys(known, rows.num_rows))
    causes: Causes = {}
    for stored in views.stored:
        names = [f"{stored.prefix}__{name}" for name in stored.features]
        causes |= causes_of(
            ServedView(connection, stored, group, offline, removals), _differing(stored, names, rows, offline)
        )
    causes |= _of_computed(views, _differences([n for n in known if n not in causes], rows, offline), causes)
    changed = {name for name, text in facts.contract.items() if contract.get(name) != text}
    for name, found in causes.items():
        for cause in found.values():
            tally.causes[name, SkewCause.CHANGED if name in changed and cause not in _SILENT else cause] += 1


def _offline(
    connection: duckdb.DuckDBPyConnection, views: ServiceViews, rows: pa.Table, entities: Sequence[str]
) -> pa.Table:
    spine = rows.select([*entities]).append_column(EVENT_TIMESTAMP, rows[AT])
    request = Request.of([each.view for each in views.stored], views.refs, full_feature_names=True)
    with reading_from(*[each.view.batch_source for each in views.stored]):
        stored = PointInTimeQuery(request).run(connection, write_spine(connection, spine, EVENT_TIMESTAMP))
    if not views.on_demand:
        return stored.drop_columns([*entities, EVENT_TIMESTAMP])
    job = DuckDBRetrievalJob(lambda _: stored, on_demand=views.on_demand, full_feature_names=True)
    with quiet_feast():
        return job.to_arrow().drop_columns([*entities, EVENT_TIMESTAMP])


def _differing(stored: StoredView, names: Sequence[str], rows: pa.Table, offline: pa.Table) -> dict[str, list[int]]:
    known = [name for name in names if name in rows.column_names]
    return _differences(known, rows, offline, seconds=not is_windowed(stored.view))


def _differences(
    names: Sequence[str], rows: pa.Table, offline: pa.Table, *, seconds: bool = False
) -> dict[str, list[int]]:
    """Rows whose values differ, by feature; features without any are left out."""
    found = {}
    for name in names:
        pairs = zip(values_of(rows[name], seconds=seconds), values_of(offline[name], seconds=seconds), strict=True)
        found[name] = [i for i, both in enumerate(pairs) if differ(*map(_plain, both))]
    return {name: at for name, at in found.items() if at}


def _plain(value: Any) -> Any:
    """NULL of a computed feature is NaN where it comes from pandas."""
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 - NaN


def _of_computed(views: ServiceViews, differing: Mapping[str, list[int]], causes: Causes) -> Causes:
    """Causes of features that are computed from others: that of the first of their inputs that differs too."""
    found: Causes = {}
    for view in views.on_demand:
        prefix = view.projection.name_to_use()
        inputs = [
            f"{source.name_to_use()}__{each.name}"
            for source in view.source_feature_view_projections.values()
            for each in source.features
        ]
        for name, at in differing.items():
            if name.split("__", 1)[0] == prefix:
                found[name] = {i: _first([causes.get(each, {}).get(i) for each in inputs]) for i in at}
    return found


def _first(causes: Sequence[SkewCause | None]) -> SkewCause:
    told = [cause for cause in causes if cause is not None]
    return told[0] if told and SkewCause.UNEXPLAINED not in told else SkewCause.UNEXPLAINED


def _span(table: pa.Table) -> tuple[datetime, datetime]:
    bounds = pc.min_max(table[AT]).as_py()
    return bounds["min"], bounds["max"]


def _report(tally: _Tally, files: Sequence[ServedRows], since: datetime | None, until: datetime | None) -> SkewReport:
    by_cause: Counter[str] = Counter()
    for (_, cause), count in tally.causes.items():
        by_cause[cause.words] += count
    return SkewReport(
        rows=sum(each.table.num_rows for each in files),
        values=sum(tally.rows.values()),
        lost=sum(each.facts.lost for each in files),
        since=since,
        until=until,
        mismatches=sum(by_cause.values()),
        by_cause=dict(by_cause),
        unexplained=by_cause[SkewCause.UNEXPLAINED.words],
        features={name: _of_feature(name, rows, tally) for name, rows in sorted(tally.rows.items())},
        uncompared=dict(tally.uncompared),
    )


def _of_feature(name: str, rows: int, tally: _Tally) -> FeatureSkew:
    causes = {cause.words: count for (each, cause), count in tally.causes.items() if each == name}
    mismatches = sum(causes.values())
    return FeatureSkew(rows, mismatches, mismatches / rows if rows else 0.0, causes)
