"""Compile a windowed view to the SQL that folds the log into tiles, as they are stored online."""

from __future__ import annotations

from feature_repo.engine.duckdb_sql import Source, events_sql, input_column
from feature_repo.engine.spec import WindowedView
from feature_repo.engine.tiles import floor_sql


def tiles_sql(view: WindowedView, *, source: str, since: int, versions: tuple[int, int]) -> str:
    """Return a query giving the keys ``k0..``, ``version``, ``tile`` and the lifted states ``s0..``.

    One row per entity, tile and log version with events in it, in no order. Rows of the log with
    ``versions[0] < log_version <= versions[1]`` and ``since <= event_timestamp`` (us) are folded. A build, which folds
    everything at once (``versions[0] < 0``), has one row per entity and tile, of version ``versions[1]``.
    """
    lifted = ", ".join(
        f"{each.lift_sql(input_column(each), ts='ts', event_id='event_id', about=f'(tile + 1) * {view.hop}')} AS s{i}"
        for i, each in enumerate(view.monoids)
    )
    keys, events = _keys(view), _events_sql(view, source, since, versions)
    return f"""
SELECT {keys}, version, tile, {lifted}
FROM (SELECT *, {floor_sql("ts", view.hop)} AS tile FROM ({events}))
GROUP BY ALL""".strip()


def entities_sql(view: WindowedView, *, source: str, since: int, versions: tuple[int, int]) -> str:
    """Return a query that counts the entities :func:`tiles_sql` has rows of."""
    return f"SELECT count(*) FROM (SELECT DISTINCT {_keys(view)} FROM ({_events_sql(view, source, since, versions)}))"


def _events_sql(view: WindowedView, source: str, since: int, versions: tuple[int, int]) -> str:
    present = " AND ".join(f"{key} IS NOT NULL" for key in _keys(view).split(", "))
    version = str(versions[1]) if versions[0] < 0 else "log_version"
    rows = Source(f"(FROM {source} WHERE log_version > {versions[0]})", upto_version=versions[1])
    events = events_sql(view, view.join_keys, view.monoids, rows, None, 0, extra=f"{version} AS version")
    return f"SELECT * FROM ({events}) WHERE {present} AND ts >= {since}"


def _keys(view: WindowedView) -> str:
    return ", ".join(f"k{i}" for i in range(len(view.join_keys)))
