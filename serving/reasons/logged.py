"""A shopper's events as the log holds them, read up to the version a value was computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

from feature_repo.core.clock import from_us
from feature_repo.engine.duckdb_sql import quote
from feature_repo.engine.sources import MappedSource
from feature_repo.events.log import CLIENT_TIMESTAMP, EVENT_ID, EVENT_TIMESTAMP, INGESTED_AT, LOG_VERSION
from serving.reasons.answers import LoggedEvent

# Who, and when the platform knew: not what happened.
_NOT_SHOWN = {"user_id", EVENT_ID, EVENT_TIMESTAMP, CLIENT_TIMESTAMP, INGESTED_AT, LOG_VERSION}


@dataclass(frozen=True, eq=False)
class History:
    """Events of one entity in a table.

    Attributes
    ----------
    table
        Its name.
    source
        The table by the names a view reads it by.
    keys
        Columns and values that make the entity.
    upto
        Log version up to which rows are read; None for all.
    """

    connection: duckdb.DuckDBPyConnection
    table: str
    source: MappedSource
    keys: Mapping[str, str]
    upto: int | None

    def values(self, column: str, since: int, until: int) -> list[dict[str, Any]]:
        """Return the events of ``[since, until)`` (us) as the oracle reads them."""
        ts, picked = quote(self.source.timestamp_field), f", {quote(column)}" if column else ""
        rows = self._rows(f"epoch_us({ts}), CAST({EVENT_ID} AS VARCHAR){picked}", since, until, "")
        names = [self.source.timestamp_field, EVENT_ID, *([column] if column else [])]
        return [dict(zip(names, row, strict=True)) for row in rows]

    def count(self, column: str, since: int, until: int) -> int:
        """Return how many events there are, of those with a value in ``column`` unless it is empty."""
        [(found,)] = self._rows(f"count({quote(column)})" if column else "count(*)", since, until, "")
        return int(found)

    def newest(self, column: str, since: int, until: int, most: int) -> tuple[LoggedEvent, ...]:
        """Return the latest of them, the newest first."""
        return self._events(f" AND {quote(column)} IS NOT NULL" if column else "", [], since, until, most)

    def weekly(self, since: int, until: int) -> list[tuple[datetime, int]]:
        """Return how many events of ``[since, until)`` (us) each week has, by its Monday, but those that have none."""
        ts = quote(self.source.timestamp_field)
        rows = self._rows(f"epoch_us(date_trunc('week', {ts}))::BIGINT, count(*)", since, until, " GROUP BY 1")
        return [(from_us(week), int(count)) for week, count in rows]

    def having(self, column: str, values: Sequence[str], until: int, most: int) -> tuple[LoggedEvent, ...]:
        """Return the latest events before an instant (us) with one of some values, the newest first."""
        if column not in self.source.schema.names or not values:
            return ()
        marks = ", ".join("?" for _ in values)
        return self._events(f" AND CAST({quote(column)} AS VARCHAR) IN ({marks})", [*values], 0, until, most)

    def _events(
        self, condition: str, given: Sequence[str], since: int, until: int, most: int
    ) -> tuple[LoggedEvent, ...]:
        ts = quote(self.source.timestamp_field)
        shown = [name for name in self.source.schema.names if name not in {*_NOT_SHOWN, self.source.timestamp_field}]
        picked = ", ".join([f"CAST({EVENT_ID} AS VARCHAR)", f"epoch_us({ts})", *map(quote, shown)])
        order = f"{condition} ORDER BY {ts} DESC, {EVENT_ID} DESC LIMIT {int(most)}"
        return tuple(
            LoggedEvent(
                self.table,
                event_id,
                from_us(at),
                {name: value for name, value in zip(shown, facts, strict=True) if value is not None},
            )
            for event_id, at, *facts in self._rows(picked, since, until, order, given)
        )

    def _rows(self, picked: str, since: int, until: int, rest: str, given: Sequence[str] = ()) -> list[tuple[Any, ...]]:
        ts = quote(self.source.timestamp_field)
        named = " AND ".join(f"CAST({quote(key)} AS VARCHAR) = ?" for key in self.keys)
        versioned = self.upto is not None and LOG_VERSION in self.source.schema.names
        known = f" AND {LOG_VERSION} <= {self.upto}" if versioned else ""
        self.connection.execute("SET TimeZone = 'UTC'")
        found: list[tuple[Any, ...]] = self.connection.execute(
            f"SELECT {picked} FROM {self.source.relation} WHERE {named}{known} "
            f"AND {ts} >= make_timestamptz(?) AND {ts} < make_timestamptz(?){rest}",
            [*self.keys.values(), since, until, *given],
        ).fetchall()
        return found


def listed(events: Sequence[LoggedEvent]) -> str:
    """Return how many events of which tables there are, in words.

    >>> at = from_us(0)
    >>> listed([LoggedEvent("payment", "a", at, {}), LoggedEvent("purchase", "b", at, {})])
    '1 payment, 1 purchase'
    """
    tables = [event.table for event in events]
    return ", ".join(f"{tables.count(table)} {table}" for table in dict.fromkeys(tables))
