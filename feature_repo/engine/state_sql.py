"""Compile a windowed view to the SQL that folds the log into its state: one row per entity."""

from __future__ import annotations

from feature_repo.engine.duckdb_sql import Source, StateColumns, events_sql
from feature_repo.engine.spec import WindowedView
from feature_repo.engine.tiles import floor_sql


def tiles_sql(view: WindowedView, *, source: str, since_tile: int, versions: tuple[int, int]) -> str:
    """Return a query giving one row per entity: its keys ``k0..``, and lists ``version``, ``tile`` and ``s0..``.

    The lists run in parallel, one element per tile and log version with events in it, tiles ascending. Rows with
    ``versions[0] < log_version <= versions[1]`` are folded, tiles below ``since_tile`` left out. A build, which folds
    everything at once (``versions[0] < 0``), has one element per tile, of version ``versions[1]``.
    """
    state = StateColumns(view.monoids)
    key_list = ", ".join(f"k{i}" for i in range(len(view.join_keys)))
    present = " AND ".join(f"k{i} IS NOT NULL" for i in range(len(view.join_keys)))
    # Ties are ordered too: the lists run in parallel, and each is sorted on its own.
    lists = ", ".join(
        f"list({name} ORDER BY tile, version) AS {name}" for name in ("version", "tile", *state.names.split(", "))
    )
    end = f"(tile + 1) * {view.hop}"
    version = str(versions[1]) if versions[0] < 0 else "log_version"
    rows = Source(f"(FROM {source} WHERE log_version > {versions[0]})", upto_version=versions[1])
    return f"""
WITH events AS ({events_sql(view, view.join_keys, view.monoids, rows, None, 0, extra=f"{version} AS version")}),
tiles AS (
    SELECT {key_list}, version, {floor_sql("ts", view.hop)} AS tile, {state.lifted(end)}
    FROM events WHERE {present} AND ts >= {since_tile * view.hop} GROUP BY ALL
)
SELECT {key_list}, {lists}
FROM tiles GROUP BY {key_list}""".strip()
