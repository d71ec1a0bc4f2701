"""What the events in the log are enough for: which declared views and tasks they support, and what the others lack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb
from feast import Entity, FeatureView, OnDemandFeatureView

from feature_repo.core.contributions import contributions
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.feature_store import quiet_feast
from feature_repo.engine.sources import is_delta
from feature_repo.engine.spec import is_windowed, windowed_view_of
from feature_repo.events.log import read_snapshot, reading
from feature_repo.events.schema import TABLES, arrow_schema, table_path
from feature_repo.jobs.log_tables import present_tables

# Entry points of functions (settings, join key of each entity) -> what each task lacks, empty if nothing: only the
# package that trains them knows tasks.
GROUP = "portrait.support"

Tasks = Callable[[Settings, Mapping[str, str]], dict[str, str]]
Filled = Callable[[str], Mapping[str, int]]


@dataclass(frozen=True)
class Support:
    """One view or task.

    Attributes
    ----------
    supported
        Whether the log has what it needs at all.
    reasons
        Why not; of a supported view, which of its columns the log never fills.
    """

    name: str
    supported: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class SupportReport:
    """Views and tasks, by name."""

    views: tuple[Support, ...]
    tasks: tuple[Support, ...]


def check_support(settings: Settings) -> SupportReport:
    """Compare the declarations with what the log holds; nothing needs to be applied.

    Raises
    ------
    LogError
        A table of the log is damaged.
    DeclarationError
        A declaration contradicts itself.
    """
    with quiet_feast():
        from feature_repo import feature_definitions  # noqa: PLC0415 - declarations are built while Feast is quiet

        declared = [getattr(feature_definitions, name) for name in feature_definitions.__all__]
    with closing(connect_duckdb(settings)) as connection:
        filled = cache(lambda table: _filled(connection, settings, table))
        views = _views(declared, filled)
    keys = {each.name: str(each.join_key) for each in declared if isinstance(each, Entity)}
    return SupportReport(tuple(sorted(views, key=lambda each: each.name)), _tasks(settings, keys))


def _views(declared: Sequence[object], filled: Filled) -> list[Support]:
    stored = [_stored(each, filled) for each in declared if isinstance(each, FeatureView)]
    found = {each.name: each for each in stored}
    return [*stored, *(_derived(each, found) for each in declared if isinstance(each, OnDemandFeatureView))]


def _stored(view: FeatureView, filled: Filled) -> Support:
    source = view.batch_source
    table = Path(source.path).name
    if not is_delta(source) or table not in TABLES:
        return Support(view.name, True, ("It reads a source outside the log.",))
    if is_windowed(view):
        spec = windowed_view_of(view)
        keys, columns = spec.join_keys, {feature.column for feature in spec.features} - {""}
        needed = bool(columns) and all(feature.column for feature in spec.features)
    else:
        names = set(arrow_schema(table).names)
        keys, columns, needed = (), {field.name for field in view.features if field.name in names}, True
    return _judged(view.name, table, filled(table), keys, columns, needed)


def _judged(
    view: str, table: str, filled: Mapping[str, int], keys: Sequence[str], columns: set[str], needed: bool
) -> Support:
    """Judge a view by how often its columns are filled; ``needed``: it says nothing if none of them is."""
    if not filled.get("", 0):
        return Support(view, False, (f"The log has no '{table}' events.",))
    without = [key for key in keys if not filled.get(key, 0)]
    if without:
        return Support(view, False, (f"No '{table}' event has a '{without[0]}'.",))
    empty = sorted(column for column in columns if not filled.get(column, 0))
    if needed and len(empty) == len(columns):
        return Support(view, False, (f"No '{table}' event has any of its columns.",))
    return Support(view, True, (f"Never known: {', '.join(empty)}.",) if empty else ())


def _derived(view: OnDemandFeatureView, found: Mapping[str, Support]) -> Support:
    read = [projection.name for projection in view.source_feature_view_projections.values()]
    lacking = [name for name in read if name in found and not found[name].supported]
    return Support(view.name, not lacking, tuple(f"It reads '{name}', which is not supported." for name in lacking))


def _filled(connection: duckdb.DuckDBPyConnection, settings: Settings, table: str) -> Mapping[str, int]:
    """Rows of a table (under the empty name), and of each column those that are not NULL; nothing of a missing one."""
    if table not in present_tables(settings):
        return {}
    snapshot = read_snapshot(table_path(settings.log_root, table))
    names = snapshot.schema.names
    counts = ", ".join(f'count("{name}") AS "{name}"' for name in names)
    with reading(snapshot):
        [row] = connection.sql(f"SELECT count(*) AS _rows, {counts} FROM {snapshot.sql()}").to_arrow_table().to_pylist()
    return {"": int(row["_rows"]), **{name: int(row[name]) for name in names}}


def _tasks(settings: Settings, keys: Mapping[str, str]) -> tuple[Support, ...]:
    lacks: dict[str, str] = {}
    for contribution in contributions(GROUP):
        ask: Tasks = contribution.load()
        lacks |= ask(settings, keys)
    return tuple(Support(name, not lack, (lack,) if lack else ()) for name, lack in sorted(lacks.items()))
