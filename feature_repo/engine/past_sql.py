"""The SQL that brings rows of a spine and what happened to their entities into one order. Text in, text out.

Entities are numbered, so that what is sorted and compared afterwards is an integer, whatever the keys are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from feature_repo.engine.duckdb_sql import AT, ROW, Source, aliased, events_sql, needs_event_id, quote
from feature_repo.engine.monoids import Monoid
from feature_repo.engine.spec import WindowedView

NOBODY = -1


def entities_sql(spine: str, keys: Sequence[str]) -> str:
    """Return a query of the entities of a spine: ``entity`` and their keys ``k0..``; a NULL key is nobody's."""
    present = " AND ".join(f"{key} IS NOT NULL" for key in keys)
    return (
        f"SELECT CAST(row_number() OVER () - 1 AS INTEGER) AS entity, * FROM "
        f"(SELECT DISTINCT {aliased(keys)} FROM {spine} WHERE {present})"
    )


def rows_sql(spine: str, entities: str, keys: Sequence[str]) -> str:
    """Return a query of a spine's rows by entity and instant: ``entity, instant, __row``; nobody is -1."""
    matched = " AND ".join(f"e.k{i} = {key}" for i, key in enumerate(keys))
    return (
        f"SELECT coalesce(entity, {NOBODY}) AS entity, {AT} AS instant, {ROW} "
        f"FROM {spine} LEFT JOIN {entities} e ON {matched} ORDER BY 1, 2"
    )


def history_sql(
    view: WindowedView,
    monoids: Sequence[Monoid],
    units: Mapping[str, str],
    *,
    source: Source,
    entities: str,
    keys: Sequence[str],
    span: tuple[int, int],
    longest: int,
) -> str:
    """Return a query of the events windows may hold, by entity and time: ``entity, ts``, ``known``, the units.

    Parameters
    ----------
    monoids
        What is aggregated.
    units
        Name -> expression over the columns of the events.
    span
        Smallest and largest instant of the spine (us): events that none of its windows can hold are left out.
    longest
        How far back the windows look (us).
    """
    events = events_sql(view, keys, monoids, source, span, longest)
    known = ["known"] if source.known_by_at else []
    columns = ["entity", "ts", *known, *(f"{expression} AS {name}" for name, expression in units.items())]
    order = ["entity", "ts", *(["event_id"] if needs_event_id(monoids) else [])]
    return _of_entities(columns, events, entities, len(keys), order)


def facts_sql(
    columns: Sequence[str],
    *,
    source: Source,
    entities: str,
    keys: Sequence[str],
    timestamp_field: str,
    created_field: str,
    ttl: int,
    span: tuple[int, int],
) -> str:
    """Return a query of an ordinary view's rows by entity and time: ``entity, ts``, ``known``, ``c0..``.

    Of rows with one event time the one that holds comes last: of the latest commit, of those the one created last.

    Parameters
    ----------
    columns
        Of the source.
    ttl
        How long a row is alive (us; 0 = for ever).
    span
        Smallest and largest instant of the spine (us): rows that none of its rows can see are left out.
    """
    ts = quote(timestamp_field)
    known = [f"epoch_us({quote(created_field)}) AS known"] if created_field else []
    picked = [f"{quote(column)} AS c{i}" for i, column in enumerate(columns)]
    versions = ["log_version"] if source.versioned else []
    conditions = [source.condition, f"{ts} <= make_timestamptz({span[1]})"]
    conditions += [f"{ts} >= make_timestamptz({span[0] - ttl})"] if ttl else []
    conditions += [f"{quote(created_field)} IS NOT NULL"] if source.known_by_at else []
    read = [aliased(map(quote, keys)), f"epoch_us({ts}) AS ts", *known, *picked, *versions]
    rows = f"SELECT {', '.join(read)} FROM {source.relation} WHERE {' AND '.join(conditions)}"
    shown = ["entity", "ts", *(["known"] if source.known_by_at else []), *(f"c{i}" for i in range(len(columns)))]
    order = ["entity", "ts", *versions, *(["known NULLS FIRST"] if known else [])]
    return _of_entities(shown, rows, entities, len(keys), order)


def _of_entities(columns: Sequence[str], rows: str, entities: str, keys: int, order: Sequence[str]) -> str:
    using = ", ".join(f"k{i}" for i in range(keys))
    return f"SELECT {', '.join(columns)}\nFROM ({rows})\nJOIN {entities} USING ({using})\nORDER BY {', '.join(order)}"
