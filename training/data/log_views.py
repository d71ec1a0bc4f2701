"""The event log at one version per table: what labels and features of one dataset are both read from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import duckdb

from feature_repo.core.settings import Settings
from feature_repo.events.log import LOG_VERSION, Snapshot, read_snapshot, reading
from feature_repo.events.schema import TABLES, table_path

Versions = dict[str, int]

SPAN = "log_span"


def tables_in(query: str) -> set[str]:
    """Return the tables of the log a query names.

    >>> sorted(tables_in("SELECT * FROM purchase JOIN coupon_redeem USING (user_id)"))
    ['coupon_redeem', 'purchase']
    """
    return set(re.findall(r"\w+", query)) & TABLES.keys()


def head_versions(settings: Settings, tables: Iterable[str]) -> Versions:
    """Return the head version of each table.

    Raises
    ------
    LogError
        A table is missing or damaged.
    """
    return {name: _head(settings.log_root, name).version for name in sorted(tables)}


def open_tables(
    connection: duckdb.DuckDBPyConnection, settings: Settings, versions: Mapping[str, int]
) -> tuple[Snapshot, ...]:
    """Make each table a view of the connection, under its own name: its rows up to the given version.

    A row that was erased since is not there, whatever the version says.

    Returns
    -------
    tuple[Snapshot, ...]
        What the views read: enclose every query on them in :func:`feature_repo.events.log.reading`.

    Raises
    ------
    LogError
        A table is missing or damaged.
    """
    snapshots = tuple(_head(settings.log_root, name) for name in versions)
    for snapshot, (name, version) in zip(snapshots, versions.items(), strict=True):
        with reading(snapshot):  # DuckDB opens a file to know the view's columns
            connection.execute(f'CREATE VIEW "{name}" AS FROM {snapshot.sql()} WHERE {LOG_VERSION} <= {int(version)}')
    return snapshots


def open_span(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Make ``log_span(first_at, last_at)``, the first and last event of a table: one row, NULLs if there is none."""
    connection.execute(
        f"CREATE TEMP TABLE {SPAN} AS "
        f'SELECT min(event_timestamp) AS first_at, max(event_timestamp) AS last_at FROM "{table}"'
    )


def _head(log_root: Path, name: str) -> Snapshot:
    return read_snapshot(table_path(log_root, name))
