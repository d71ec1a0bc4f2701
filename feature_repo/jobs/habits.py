"""Writes how everybody shops, and where among all, into the table ``user_habits``: a feature like any other.

No model is fitted: the SQL is the definition, and a row's id changes with it, so a new definition writes anew.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from feature_repo.core.clock import DAY, Clock, from_us
from feature_repo.core.errors import DataError, DeclarationError, PortraitError
from feature_repo.core.locks import locked
from feature_repo.core.settings import Settings, ensure_home
from feature_repo.core.stores import connect_duckdb
from feature_repo.events.door import admit
from feature_repo.events.log import EVENT_ID, EVENT_TIMESTAMP, INGESTED_AT, Snapshot, read_snapshot, reading
from feature_repo.events.schema import table_path
from feature_repo.jobs.habits_sql import habits_sql
from feature_repo.jobs.materialize import materialize

TABLE = "user_habits"
_READ = ("purchase", "payment")
_WEEK = 7 * DAY
_INSTANT = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class HabitsReport:
    """What was written.

    Attributes
    ----------
    at
        Last instant that was looked back from.
    instants
        How many.
    rows, known, erased
        Rows written; those of an earlier run; those of erased people, which were not written.
    """

    at: datetime
    instants: int
    rows: int
    known: int
    erased: int
    seconds: float = field(compare=False)


def write_habits(settings: Settings, clock: Clock, *, at: int | None = None, weeks: int = 0) -> HabitsReport:
    """Write everybody's habits at an instant and so many weekly ones before it. Twice is once.

    Parameters
    ----------
    at
        Instant (us): what happened before it is known; right behind the log's last order unless given.

    Raises
    ------
    DataError
        The log has no orders.
    DeclarationError
        The instant is in the future.
    LogError
        A table is missing or damaged.
    """
    started, now = time.monotonic(), clock.now_us()
    if at is not None and at > now:
        raise DeclarationError(f"{from_us(at):%Y-%m-%d %H:%M} UTC is in the future.", hint="ask for an instant by now.")
    with locked(ensure_home(settings) / "run" / "habits.lock"):
        end = log_end(settings) if at is None else at
        instants = [end - _WEEK * n for n in range(weeks, -1, -1)]
        done = admit(settings.log_root, TABLE, _rows(settings, instants, now), source="habits")
    return HabitsReport(
        from_us(end), len(instants), done.published, done.duplicates, done.erased, time.monotonic() - started
    )


def refresh_habits(settings: Settings, clock: Clock, *, dry_run: bool) -> str:
    """Write habits if the log has gone on for a week since, and bring them to Redis; return what was done.

    Raises
    ------
    LogError
        A table is missing or damaged.
    """
    try:
        end = log_end(settings)
    except DataError as error:
        return error.what
    last = _last_at(settings, TABLE)
    if last is not None and end - last < _WEEK:
        return f"Habits are those of {from_us(last):%Y-%m-%d %H:%M} UTC: younger than a week."
    if dry_run:
        return f"Habits would be written as of {from_us(end):%Y-%m-%d %H:%M} UTC."
    done = write_habits(settings, clock, at=end)
    return f"{done.rows:,} rows written as of {done.at:%Y-%m-%d %H:%M} UTC.{_brought(settings, clock)}"


def _brought(settings: Settings, clock: Clock) -> str:
    try:
        materialize(settings, clock, views=[TABLE])
    except PortraitError as error:  # the rows are in the log, and the next run brings them
        return f" They are not in Redis yet: {error.what}"
    return ""


def log_end(settings: Settings) -> int:
    """Return the instant right behind the last order (us).

    Raises
    ------
    DataError
        The log has none.
    LogError
        A table is missing or damaged.
    """
    found = [last for last in (_last_at(settings, name) for name in _READ) if last is not None]
    if not found:
        raise DataError(
            "The log has no orders, by which habits are told.",
            hint="import some (`portrait events demo` for the demo's).",
        )
    return max(found) + 1


def _rows(settings: Settings, instants: Sequence[int], now: int) -> pa.Table:
    snapshots = _snapshots(settings)
    purchases, payments = (each.sql() for each in snapshots)
    tables = []
    with closing(connect_duckdb(settings)) as connection, reading(*snapshots):
        connection.execute("SET TimeZone = 'UTC'")
        for at in instants:
            query = habits_sql("{purchase}", "{payment}", at=at, zone=settings.zone)
            found = connection.sql(query.format(purchase=purchases, payment=payments)).to_arrow_table()
            tables.append(_stamped(found, at, now, definition=query))
    return pa.concat_tables(tables)


def _stamped(rows: pa.Table, at: int, now: int, *, definition: str) -> pa.Table:
    """Add what a row of the log says of itself; an id follows from whose habits it tells, and of what definition."""
    ids = [hashlib.sha256(f"{definition}|{user}".encode()).hexdigest()[:32] for user in rows["user_id"].to_pylist()]
    known, happened = (pa.array([each] * rows.num_rows, pa.int64()).cast(_INSTANT) for each in (now, at))
    for name, column in ((EVENT_ID, pa.array(ids, pa.string())), (EVENT_TIMESTAMP, happened), (INGESTED_AT, known)):
        rows = rows.append_column(name, column)
    return rows


def _last_at(settings: Settings, table: str) -> int | None:
    """Return when the last row of a table happened (us); None if it has none."""
    snapshot = read_snapshot(table_path(settings.log_root, table))
    with closing(connect_duckdb(settings)) as connection, reading(snapshot):
        [(last,)] = connection.sql(f"SELECT epoch_us(max({EVENT_TIMESTAMP})) FROM {snapshot.sql()}").fetchall()
    return None if last is None else int(last)


def _snapshots(settings: Settings) -> tuple[Snapshot, ...]:
    return tuple(read_snapshot(table_path(settings.log_root, name)) for name in _READ)
