"""Cursors of one DuckDB for the tests of a process: to open one takes a hundred times as long as most queries."""

from __future__ import annotations

from functools import cache

import duckdb


@cache
def _database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def duckdb_cursor() -> duckdb.DuckDBPyConnection:
    """Return a cursor in UTC, to be closed; temporary tables and what is registered are its own."""
    cursor = _database().cursor()
    cursor.execute("SET TimeZone = 'UTC'")
    return cursor
