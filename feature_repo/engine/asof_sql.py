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
) -> str:
    """Return a query giving one row per spine row: ``__row`` and an ordinary view's latest row at or before ``__at``.

    Of rows with the same event time the latest commit's is taken, of those the one created last. A row older than
    ``ttl`` (us; 0 = never) is NULL.

    Parameters
    ----------
    columns
        Source column -> output name.
    """
    ts = quote(timestamp_field)
    created = quote(created_field) if created_field else "NULL::TIMESTAMPTZ"
    picked = ", ".join(f"{quote(column)} AS c{i}" for i, column in enumerate(columns))
    alive = f"r.ts >= s.instant - {ttl}" if ttl else "true"
    values = ", ".join(f"CASE WHEN {alive} THEN r.c{i} END AS {quote(name)}" for i, name in enumerate(columns.values()))
    join = " AND ".join(f"s.k{i} = r.k{i}" for i in range(len(keys)))
    key_list = ", ".join(f"k{i}" for i in range(len(keys)))
    version = "log_version, " if source.versioned else ""
    rows = f"""
    SELECT {aliased(map(quote, keys))}, epoch_us({ts}) AS ts, epoch_us({created}) AS known, {version} {picked}
    FROM {source.relation} WHERE {source.condition} AND {ts} IS NOT NULL"""
    spine_cte = f"SELECT {ROW} AS id, {AT} AS instant, {aliased(keys.values())} FROM {spine}"
    if source.known_by_at:
        return f"""
WITH s AS ({spine_cte}), r AS ({rows}),
best AS (
    SELECT s.id, r.* FROM s JOIN r ON {join} AND r.ts <= s.instant AND r.known <= s.instant
    QUALIFY row_number() OVER (PARTITION BY s.id ORDER BY r.ts DESC, {source.tie}) = 1
)
SELECT s.id AS {ROW}, {values} FROM s LEFT JOIN best r ON r.id = s.id""".strip()
    return f"""
WITH s AS ({spine_cte}),
r AS (
    SELECT * FROM ({rows})
    QUALIFY row_number() OVER (PARTITION BY {key_list}, ts ORDER BY {source.tie}) = 1
)
SELECT s.id AS {ROW}, {values} FROM s ASOF LEFT JOIN r ON {join} AND s.instant >= r.ts""".strip()
