"""What the log says of a row's shopper besides the features: read to compare groups of rows, never to score them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import duckdb
import pandas as pd

from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.duckdb_sql import quote
from feature_repo.events.log import reading
from feature_repo.events.schema import arrow_schema, table_path
from training.data.dataset import Dataset
from training.data.labels import AT
from training.data.log_views import Versions, head_versions, open_tables

SHOPPER = "user_id"
USERS = "users"


@dataclass(frozen=True)
class Latest:
    """The value of a column in the shopper's latest event before the row's instant.

    Attributes
    ----------
    name
        Of the attribute.
    column
        Of the tables.
    tables
        Event types it is looked for in; those the log lacks say nothing.
    """

    name: str
    column: str
    tables: tuple[str, ...]

    def sql(self, tables: list[str]) -> str:
        """Return ``(row, value)`` over ``asked``; of two events at one instant the larger value counts."""
        told = " UNION ALL ".join(f"SELECT {SHOPPER}, {AT}, {quote(self.column)} AS value FROM {t}" for t in tables)
        return f"""
            SELECT row, value FROM asked ASOF LEFT JOIN (
                SELECT {SHOPPER}, {AT}, max(value) AS value FROM ({told})
                WHERE value IS NOT NULL AND {SHOPPER} IN (SELECT {SHOPPER} FROM asked) GROUP BY ALL
            ) AS told ON asked.{SHOPPER} = told.{SHOPPER} AND asked.asked_at > told.{AT}"""


@dataclass(frozen=True)
class Tenure:
    """Days from the shopper's first event to the row's instant, NULL before it; the log's start bounds it."""

    name: str
    tables: tuple[str, ...]

    def sql(self, tables: list[str]) -> str:
        """Return ``(row, value)`` over ``asked``."""
        told = " UNION ALL ".join(f"SELECT {SHOPPER}, {AT} FROM {table}" for table in tables)
        days = "(epoch_us(asked_at) - epoch_us(first_at)) / 86400e6"
        return f"""
            SELECT row, CASE WHEN first_at < asked_at THEN {days} END AS value
            FROM asked LEFT JOIN (
                SELECT {SHOPPER}, min({AT}) AS first_at FROM ({told}) GROUP BY ALL
            ) AS told USING ({SHOPPER})"""


@dataclass(frozen=True)
class Stated:
    """A column of the dimension table of shoppers: who somebody is, whenever it was stated; the latest row counts."""

    name: str
    column: str
    tables: tuple[str, ...] = (USERS,)

    def sql(self, tables: list[str]) -> str:
        """Return ``(row, value)`` over ``asked``."""
        [table] = tables
        return f"""
            SELECT row, value FROM asked LEFT JOIN (
                SELECT {SHOPPER}, arg_max({quote(self.column)}, ({AT}, event_id)) AS value FROM {table} GROUP BY ALL
            ) AS told USING ({SHOPPER})"""


Attribute: TypeAlias = Latest | Tenure | Stated


def versions_for(data: Dataset, asked: tuple[Attribute, ...], settings: Settings) -> Versions:
    """Return table -> version that attributes are looked up at: the dataset's, the head's of tables it did not read.

    Tables the log lacks are left out.
    """
    wanted = {table for each in asked for table in each.tables}
    present = {table for table in wanted if (table_path(settings.log_root, table) / "_delta_log").is_dir()}
    known = {table: version for table, version in data.log_versions.items() if table in present}
    return {**head_versions(settings, present), **known}


def attributes_of(
    data: Dataset, asked: tuple[Attribute, ...], settings: Settings, versions: Versions | None = None
) -> dict[str, pd.Series]:
    """Look attributes up in the log for every row of a dataset.

    Parameters
    ----------
    versions
        Table -> version to read, other tables being empty; those of :func:`versions_for` unless given.

    Returns
    -------
    dict
        Attribute -> one value per row, missing where the log does not say; without attributes of which no table has
        an event, or all if rows are not about shoppers.

    Raises
    ------
    LogError
        A table is damaged.
    """
    if data.key != SHOPPER:
        return {}
    instant = data.frame.groupby([SHOPPER, AT], sort=False).ngroup()  # rows of one shopper at one instant are alike
    pinned = versions_for(data, asked, settings) if versions is None else versions
    with _log(asked, settings, pinned) as connection:
        connection.register("asked", _asked(data.frame, instant))
        filled = {table for each in asked for table in each.tables if _has_rows(connection, table)}
        usable = {each: [table for table in each.tables if table in filled] for each in asked}
        found = {each.name: _values(connection, each.sql(tables)) for each, tables in usable.items() if tables}
    return {
        name: values.take(instant.to_numpy()).set_axis(data.frame.index)
        for name, values in found.items()
        if values.notna().any()
    }


@contextmanager
def _log(asked: tuple[Attribute, ...], settings: Settings, versions: Versions) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the tables asked for, those that have no version as empty ones."""
    wanted = {table for each in asked for table in each.tables}
    known = {table: version for table, version in versions.items() if table in wanted}
    with closing(connect_duckdb(settings)) as connection:
        snapshots = open_tables(connection, settings, known)
        for table in wanted - known.keys():
            connection.register(table, arrow_schema(table).empty_table())
        with reading(*snapshots):
            yield connection


def _asked(frame: pd.DataFrame, instant: pd.Series[int]) -> pd.DataFrame:
    rows = pd.DataFrame({"row": instant, SHOPPER: frame[SHOPPER], "asked_at": frame[AT]})
    return rows.drop_duplicates("row")


def _has_rows(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(connection.execute(f"SELECT count(*) FROM (FROM {quote(table)} LIMIT 1)").fetchall()[0][0])


def _values(connection: duckdb.DuckDBPyConnection, query: str) -> pd.Series:
    found = connection.sql(f"{query} ORDER BY row").to_arrow_table().to_pandas()
    return pd.Series(found["value"])
