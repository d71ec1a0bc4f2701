"""What the event log holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.events.log import Snapshot, read_snapshot, reading
from feature_repo.events.quarantine import QUARANTINE
from feature_repo.events.schema import TABLES, table_path


@dataclass(frozen=True)
class TableStats:
    """One table of the log.

    Attributes
    ----------
    name
        Event type or dimension.
    rows, users
        Rows, and shoppers with at least one; ``users`` is None for a table without shoppers.
    first, last
        Smallest and largest ``event_timestamp``; None for an empty table.
    version, files, bytes
        Delta version, its Parquet files and their size.
    quarantined
        Rows refused, by reason.
    """

    name: str
    rows: int
    users: int | None
    first: datetime | None
    last: datetime | None
    version: int
    files: int
    bytes: int
    quarantined: dict[str, int]


def log_stats(settings: Settings) -> list[TableStats]:
    """Describe every table that exists, in the schema's order; an empty list where nothing was imported.

    Raises
    ------
    LogError
        A table's transaction log or a file of it is damaged.
    """
    with connect_duckdb(settings) as connection:
        refused = _refused(connection, settings.log_root)
        names = [name for name in TABLES if _exists(table_path(settings.log_root, name))]
        return [_stats(connection, settings.log_root, name, refused.get(name, {})) for name in names]


def campaigns(settings: Settings) -> pa.Table:
    """Campaigns in order of their start.

    Returns
    -------
    pa.Table
        ``campaign_id``, ``campaign_type`` (strings), ``starts_at`` (included), ``ends_at`` (excluded), ``users``
        (int64: shoppers addressed), ``censored`` (bool: starts before the first purchase in the log or ends after the
        last, so that its redemptions are not all known; NULL without purchases).

    Raises
    ------
    LogError
        The log has no exposures or no purchases, or they cannot be read.
    """
    exposures = read_snapshot(table_path(settings.log_root, "campaign_exposure"))
    purchases = read_snapshot(table_path(settings.log_root, "purchase"))
    with connect_duckdb(settings) as connection, reading(exposures, purchases):
        return connection.sql(f"""
            SELECT campaign_id, campaign_type, starts_at, ends_at, count(DISTINCT user_id) AS users,
                starts_at < any_value(first) OR ends_at > any_value(last) AS censored
            FROM {exposures.sql()}, (
                SELECT min(event_timestamp) AS first, max(event_timestamp) AS last FROM {purchases.sql()}
            )
            GROUP BY campaign_id, campaign_type, starts_at, ends_at
            ORDER BY starts_at, campaign_id
        """).to_arrow_table()


def _exists(path: Path) -> bool:
    return bool(DeltaTable.is_deltatable(str(path)))


def _stats(connection: duckdb.DuckDBPyConnection, log_root: Path, name: str, refused: dict[str, int]) -> TableStats:
    snapshot = read_snapshot(table_path(log_root, name))
    users = "count(DISTINCT user_id)" if "user_id" in snapshot.schema.names else "NULL::BIGINT"
    with reading(snapshot):
        counts = connection.sql(f"""
            SELECT count(*) AS rows, {users} AS users, min(event_timestamp) AS first, max(event_timestamp) AS last
            FROM {snapshot.sql()}
        """).to_arrow_table()
    [row] = counts.to_pylist()
    return TableStats(
        name=name,
        **row,
        version=snapshot.version,
        files=len(snapshot.files),
        bytes=_size(snapshot),
        quarantined=refused,
    )


def _size(snapshot: Snapshot) -> int:
    added = DeltaTable(snapshot.path, version=snapshot.version).get_add_actions(flatten=True)
    return sum(pa.table(added)["size_bytes"].to_pylist())


def _refused(connection: duckdb.DuckDBPyConnection, log_root: Path) -> dict[str, dict[str, int]]:
    if not _exists(log_root / QUARANTINE):
        return {}
    snapshot = read_snapshot(log_root / QUARANTINE)
    with reading(snapshot):
        rows = connection.sql(f"""
            SELECT event_type, reason, count(*) AS n FROM {snapshot.sql()}
            GROUP BY event_type, reason ORDER BY event_type, reason
        """).to_arrow_table()
    refused: dict[str, dict[str, int]] = {}
    for row in rows.to_pylist():
        refused.setdefault(row["event_type"], {})[row["reason"]] = row["n"]
    return refused
