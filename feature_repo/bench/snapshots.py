"""The daily snapshot table stock Feast needs: it joins rows that exist, and computes no windows.

A snapshot of day ``D`` holds each window's value at its midnight (UTC), of the events before it. Asked at midnight, our
windows give the same values, which the bench checks before it believes any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb

from feature_repo.core.clock import DAY, HOUR
from feature_repo.engine.duckdb_sql import quote
from feature_repo.engine.spec import WindowedFeature, WindowedView

# Of a day's tile, by column; a window merges days with them.
_TILES = {
    "rows": "count(*)",
    "present": "count({0})",
    "sum": "sum({0})",
    "min": "min({0})",
    "max": "max({0})",
}
_VALUES = {
    "count": "coalesce(sum({present}) OVER {w}, 0)",
    "sum": "coalesce(sum({sum}) OVER {w}, 0)",
    "mean": "sum({sum}) OVER {w} / nullif(sum({present}) OVER {w}, 0)",
    "min": "min({min}) OVER {w}",
    "max": "max({max}) OVER {w}",
}


def write_snapshots(
    connection: duckdb.DuckDBPyConnection, view: WindowedView, relation: str, days: range, path: Path
) -> None:
    """Write every shopper's features at the midnight of every day.

    Parameters
    ----------
    relation
        DuckDB table expression of the events.
    days
        Days since the epoch, consecutive.
    path
        Parquet file with ``user_id``, the features and ``event_timestamp``, the midnight.
    """
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE lines AS SELECT *, epoch_us({view.timestamp_field}) // {DAY} AS day "
        f"FROM {relation}"
    )
    connection.execute(f"COPY ({_snapshots_sql(view, days)}) TO '{path}' (FORMAT parquet)")
    connection.execute("DROP TABLE lines")


def _snapshots_sql(view: WindowedView, days: range) -> str:
    columns = sorted({feature.column for feature in view.features})
    tiles = ", ".join(
        f"{sql.format(quote(c))} AS {_tile(n, c)}" for c in columns for n, sql in _TILES.items() if _has(n, c)
    )
    plain = [feature for feature in view.features if feature.function in _VALUES]
    values = ", ".join(f"{_value(feature)} AS {quote(feature.name)}" for feature in plain)
    windows = ", ".join(dict.fromkeys(_frame(feature) for feature in plain))
    grid = f"SELECT user_id, day, true AS wanted FROM (SELECT DISTINCT user_id FROM lines), {_days(days)}"
    base = (
        f"SELECT user_id, day, wanted, {values} FROM (FROM tiles UNION ALL BY NAME FROM grid) WINDOW {windows} "
        "QUALIFY wanted"
    )
    joins = " ".join(f"LEFT JOIN ({sql}) USING (user_id, day)" for sql in _distinct(view, days))
    names = ", ".join(_named(feature) for feature in view.features)
    return (
        f"WITH tiles AS (SELECT user_id, day, {tiles} FROM lines GROUP BY ALL), grid AS ({grid}) "
        f"SELECT user_id, {names}, make_timestamptz(day * {DAY}) AS event_timestamp FROM ({base}) {joins}"
    )


def _distinct(view: WindowedView, days: range) -> Iterator[str]:
    """Distinct values have no tile to merge: the days of each window are gone through."""
    for feature in view.features:
        if feature.function == "count_distinct":
            column, length = quote(feature.column), feature.window // DAY
            yield (
                f"SELECT user_id, t.day, count(DISTINCT {column}) AS {quote(feature.name)} "
                f"FROM (SELECT DISTINCT user_id, day, {column} FROM lines) l "
                f"JOIN {_days(days)} ON l.day BETWEEN t.day - {length} AND t.day - 1 GROUP BY ALL"
            )


def _days(days: range) -> str:
    return f"range({days.start}, {days.stop}) t(day)"


def _named(feature: WindowedFeature) -> str:
    name = quote(feature.name)
    return f"coalesce({name}, 0) AS {name}" if feature.function == "count_distinct" else name


def _has(tile: str, column: str) -> bool:
    return (tile == "rows") == (not column) and (tile in {"rows", "present"} or column in {"amount", "quantity"})


def _tile(name: str, column: str) -> str:
    return quote(f"{name}_{column}")


def _value(feature: WindowedFeature) -> str:
    tiles = {name: _tile(name, feature.column) for name in _TILES}
    tiles["present"] = _tile("present" if feature.column else "rows", feature.column)
    return _VALUES[feature.function].format(**tiles, w=f"w{feature.window // HOUR}")


def _frame(feature: WindowedFeature) -> str:
    return (
        f"w{feature.window // HOUR} AS (PARTITION BY user_id ORDER BY day "
        f"RANGE BETWEEN {feature.window // DAY} PRECEDING AND 1 PRECEDING)"
    )
