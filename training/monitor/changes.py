"""Changes that drift must notice, made to a week or more of a log: what the tests and `portrait bench drift` inject."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import pyarrow as pa

from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.duckdb_sql import quote
from feature_repo.events.log import read_snapshot, reading
from feature_repo.events.schema import TABLES, arrow_schema, log_table, table_path

WHOLE = "SELECT * FROM rows"


@dataclass(frozen=True)
class Change:
    """Something that happens to a log.

    Attributes
    ----------
    name
        What happens, in words.
    tables
        Table -> SQL over ``rows``, its rows since the change; ``*`` for tables of shoppers that are not named.
    weeks
        How long it has been going on when it is looked for.
    """

    name: str
    tables: Mapping[str, str]
    weeks: int = 1


_TWICE = "SELECT * FROM rows UNION ALL SELECT * REPLACE (event_id || '-again' AS event_id) FROM rows"
_LATER = "SELECT * REPLACE (event_timestamp + INTERVAL 6 HOUR AS event_timestamp) FROM rows"
_NEW = (
    "SELECT * REPLACE (CASE WHEN hash(user_id) % 2 = 0 THEN 'u_' || md5(user_id) ELSE user_id END AS user_id) FROM rows"
)

CHANGES = (
    Change(
        "prices are three times as high",
        {
            "purchase": "SELECT * REPLACE (3 * amount AS amount, 3 * list_amount AS list_amount) FROM rows",
            "payment": "SELECT * REPLACE (3 * amount AS amount) FROM rows",
        },
    ),
    Change(
        "the largest category is gone",
        {
            "purchase": "SELECT * FROM rows WHERE category IS DISTINCT FROM "
            "(SELECT category FROM rows GROUP BY category ORDER BY count(category) DESC, category LIMIT 1)"
        },
    ),
    Change(
        "a column is all NULL",
        {
            "purchase": "SELECT * REPLACE (NULL AS retail_discount) FROM rows",
            "payment": "SELECT * REPLACE (NULL AS retail_discount) FROM rows",
        },
    ),
    Change(
        "coupon events are missing",
        {
            "coupon_redeem": "SELECT * FROM rows WHERE false",
            "purchase": "SELECT * REPLACE (NULL AS coupon_discount, NULL AS coupon_match_discount) FROM rows",
            "payment": "SELECT * REPLACE (NULL AS coupon_discount, NULL AS coupon_match_discount, 0 AS coupon_lines) "
            "FROM rows",
        },
    ),
    Change("the clock is six hours ahead", {"*": _LATER}),
    Change("every event comes twice", {"purchase": _TWICE, "payment": _TWICE}),
    Change("half of the shoppers are new", {"*": _NEW}, weeks=2),
    Change(
        "quantities are in grams",
        {
            "purchase": "SELECT * REPLACE (1000 * quantity AS quantity) FROM rows",
            "payment": "SELECT * REPLACE (1000 * items AS items) FROM rows",
        },
    ),
)


def events_between(settings: Settings, table: str, since: int, until: int) -> pa.Table:
    """Return the rows of a table with ``since <= event_timestamp < until`` (microseconds), without log version."""
    snapshot = read_snapshot(table_path(settings.log_root, table))
    names = ", ".join(map(quote, arrow_schema(table).names))
    query = f"SELECT {names} FROM {snapshot.sql()} WHERE epoch_us(event_timestamp) BETWEEN {since} AND {until - 1}"
    with closing(connect_duckdb(settings)) as connection, reading(snapshot):
        return connection.sql(query).to_arrow_table()


def changed(settings: Settings, change: Change, table: str, rows: pa.Table) -> pa.Table:
    """Return rows of a table as the change leaves them."""
    others = change.tables.get("*", WHOLE) if "user_id" in rows.column_names else WHOLE
    query = change.tables.get(table, others)
    with closing(connect_duckdb(settings)) as connection:
        connection.register("rows", rows)
        return connection.sql(query).to_arrow_table()


def play(source: Settings, target: Settings, since: int, until: int, change: Change | None = None) -> None:
    """Commit what happened in ``source`` in ``[since, until)`` (microseconds) to ``target``, as the change left it."""
    for table in TABLES:
        if not (table_path(source.log_root, table) / "_delta_log").is_dir():
            continue
        rows = events_between(source, table, since, until)
        after = rows if change is None else changed(target, change, table, rows).cast(rows.schema)
        log_table(target.log_root, table).commit(after)
