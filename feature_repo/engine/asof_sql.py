"""Compile an ordinary view at the instants of a spine to a DuckDB query."""

from __future__ import annotations

from feature_repo.engine.duckdb_sql import AT, ROW, Source, aliased, quote


def asof_sql(
    *,
    source: Source,
    spine: str,
    keys: dict[str, str],
    columns: dict[str, str],
    timestamp_field: str,
    created_field: str,
    ttl: int,
    span: tuple[int, int],
) -> str:
    """Return a query giving ``__row`` and an ordinary view's latest row at or before ``__at``, for spine rows with one.

    Of rows with the same event time the latest commit's is taken, of those the one created last. A row older than
    ``ttl`` (us; 0 = never) is none. With ``known_by_at`` only rows count that were created at or before ``__at``.

    Parameters
    ----------
    columns
        Source column -> output name.
    span
        Smallest and largest ``__at`` of the spine: rows that none of its rows can see are not read.
    """
    names = ", ".join(f"k{i}" for i in range(len(keys)))
    matched = " AND ".join(f"e.k{i} = {key}" for i, key in enumerate(keys.values()))
    values = ", ".join(f"c{i} AS {quote(name)}" for i, name in enumerate(columns.values()))
    alive = f"ts >= instant - {ttl}" if ttl else "true"
    seen = "known <= instant" if source.known_by_at else "true"
    return f"""
WITH entities AS (
    SELECT min({ROW}) AS entity, {aliased(keys.values())} FROM {spine} GROUP BY ALL
),
spine AS (
    SELECT {ROW} AS id, entity, {AT} AS instant FROM {spine} JOIN entities e ON {matched}
),
facts AS NOT MATERIALIZED (
    SELECT * EXCLUDE ({names}) FROM ({_facts_sql(source, keys, columns, timestamp_field, created_field, ttl, span)})
    JOIN entities USING ({names})
),
latest AS (
    SELECT id, instant, entity, ts
    FROM spine ASOF JOIN ({_instants_sql(source)}) seen USING (entity, instant)
    WHERE {alive}
),
found AS (
    SELECT id, facts.* FROM latest JOIN facts USING (entity, ts) WHERE {seen}
    QUALIFY row_number() OVER (PARTITION BY id ORDER BY {source.tie}) = 1
)
SELECT id AS {ROW}, {values} FROM found""".strip()


def _facts_sql(
    source: Source,
    keys: dict[str, str],
    columns: dict[str, str],
    timestamp_field: str,
    created_field: str,
    ttl: int,
    span: tuple[int, int],
) -> str:
    ts = quote(timestamp_field)
    picked = [f"{quote(column)} AS c{i}" for i, column in enumerate(columns)]
    picked += ["log_version"] if source.versioned else []
    known = f"epoch_us({quote(created_field)})" if created_field else "NULL::BIGINT"
    oldest = [f"{ts} >= make_timestamptz({span[0] - ttl})"] if ttl else []
    where = " AND ".join([source.condition, f"{ts} <= make_timestamptz({span[1]})", *oldest])
    return (
        f"SELECT {aliased(map(quote, keys))}, epoch_us({ts}) AS ts, {known} AS known, {', '.join(picked)} "
        f"FROM {source.relation} WHERE {where}"
    )


def _instants_sql(source: Source) -> str:
    """Instants at which another row becomes an entity's latest, and that row's event time."""
    if not source.known_by_at:
        return "SELECT entity, ts AS instant, ts FROM facts"
    # A row is seen from the instant on at which it has happened and is known: the latest of those seen so far.
    return (
        "SELECT entity, greatest(ts, known) AS instant, "
        "max(ts) OVER (PARTITION BY entity ORDER BY greatest(ts, known)) AS ts FROM facts WHERE known IS NOT NULL"
    )
