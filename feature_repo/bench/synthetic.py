"""Seeded synthetic shoppers: the same rows on every machine, but for the instant they end at.

Every value is a hash of the seed, the row's number and the column, so that threads may compute them in any order.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureView, Field, FileSource
from feast.types import Float64

from feature_repo.core.clock import DAY, HOUR
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.definitions.entities import user

SEED = 20_260_101
# A prime below 2**53: every remainder is exact as a double, and two rows of a shopper hardly ever share an instant.
_PRIME = 9_007_199_254_740_881
_UNIT = "CAST(hash({row}, '{column}', {seed}) % {prime} AS DOUBLE) / {prime}"


@dataclass(frozen=True)
class Span:
    """From ``days`` days before ``end`` (us) to it."""

    end: int
    days: int

    def sql(self, row: str, column: str) -> str:
        """SQL of an instant in the span, to the microsecond, that looks random."""
        length = self.days * DAY
        return f"make_timestamptz({self.end - length} + CAST({unit(row, f'{column}.at')} * {length} AS BIGINT))"


def unit(row: str, column: str) -> str:
    """SQL of a number in [0, 1) that looks random; equal for equal rows and columns."""
    return _UNIT.format(row=row, column=column, seed=SEED, prime=_PRIME)


def ranked_sql(value: str, exponent: float, size: int) -> str:
    """SQL of a rank below ``size``, of a number in [0, 1): rank k comes about as often as ``(k + 1) ** -exponent``.

    >>> import duckdb
    >>> ranks = ", ".join(ranked_sql(each, 1.3, 1_000) for each in ("0.0", "0.5", "0.999999"))
    >>> duckdb.sql(f"SELECT {ranks}").fetchall()
    [(0, 5, 998)]
    """
    rest = 1 - exponent
    return f"CAST(floor(pow(1 - {value} * (1 - pow({size}, {rest:.3f})), {1 / rest:.6f})) AS BIGINT) - 1"


def pseudonym_sql(row: str) -> str:
    """SQL of a shopper's id by number: the shape of a pseudonym."""
    return f"'u_' || md5('{SEED}:' || {row})"


def write_facts(settings: Settings, name: str, *, entities: int, columns: int, now: int) -> Path:
    """Write one row of doubles ``f0, f1, ...`` per shopper, an hour old, as ``<home>/<name>.parquet``."""
    doubles = ", ".join(f"{unit('i', f'{name}.f{j}')} AS f{j}" for j in range(columns))
    stamp = f"make_timestamptz({now - HOUR})"
    query = f"SELECT {pseudonym_sql('i')} AS user_id, {doubles}, {stamp} AS event_timestamp FROM range({entities}) t(i)"
    path = settings.home / f"{name}.parquet"
    pq.write_table(queried(settings, query), path)
    return path


def fact_view(name: str, path: Path, *, columns: int, ttl: timedelta) -> FeatureView:
    """Declare an ordinary view of :func:`write_facts`; a new object each time, for Feast changes those it applies."""
    return FeatureView(
        name=name,
        entities=[user],
        source=FileSource(name=f"{name}_rows", path=str(path), timestamp_field="event_timestamp"),
        ttl=ttl,
        schema=[Field(name=f"f{j}", dtype=Float64) for j in range(columns)],
    )


def queried(settings: Settings, query: str) -> pa.Table:
    """Run a query in a DuckDB of the bench's bounds."""
    with closing(connect_duckdb(settings)) as connection:
        return connection.sql(query).to_arrow_table()


def write_history(settings: Settings, name: str, *, entities: int, rows: int, columns: int, span: Span) -> Path:
    """Write ``rows`` rows of doubles per shopper, spread over a span, as ``<home>/<name>.parquet``."""
    doubles = ", ".join(f"{unit('i', f'{name}.f{j}')} AS f{j}" for j in range(columns))
    query = (
        f"SELECT {pseudonym_sql(f'i // {rows}')} AS user_id, {doubles}, {span.sql('i', name)} AS event_timestamp "
        f"FROM range({entities * rows}) t(i)"
    )
    path = settings.home / f"{name}.parquet"
    pq.write_table(queried(settings, query), path)
    return path


def write_spine(settings: Settings, name: str, *, entities: int, rows: int, span: Span) -> Path:
    """Write ``rows`` observations of shoppers taken in turn, spread over a span, as ``<home>/<name>.parquet``."""
    query = (
        f"SELECT {pseudonym_sql(f'i % {entities}')} AS user_id, {span.sql('i', name)} AS event_timestamp, i AS row "
        f"FROM range({rows}) t(i) ORDER BY i"
    )
    path = settings.home / f"{name}.parquet"
    pq.write_table(queried(settings, query), path)
    return path
