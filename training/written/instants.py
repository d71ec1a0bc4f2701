"""Instants such models look at: the end of the log, and weeks before one."""

from __future__ import annotations

from contextlib import closing

from feature_repo.core.clock import DAY, to_us
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.events.log import reading
from training.data.log_views import SPAN, head_versions, open_span, open_tables
from training.task import TaskUnavailableError

PULSE = "payment"
WEEK = 7 * DAY


def log_end(settings: Settings) -> int:
    """Return the instant right behind the last visit (us), at which the whole log is known.

    Raises
    ------
    TaskUnavailableError
        The log has no visits.
    LogError
        The table is missing or damaged.
    """
    with closing(connect_duckdb(settings)) as connection:
        snapshots = open_tables(connection, settings, head_versions(settings, [PULSE]))
        with reading(*snapshots):
            open_span(connection, PULSE)
        [(end,)] = connection.execute(f"SELECT last_at FROM {SPAN}").fetchall()
    if end is None:
        raise TaskUnavailableError(
            f"The log has no '{PULSE}' events, by which shoppers are told apart.",
            hint="import some (`portrait events demo` for the demo's).",
        )
    return to_us(end) + 1


def weeks_before(at: int, weeks: int) -> tuple[int, ...]:
    """Return an instant (us) and as many weekly ones before it, ascending.

    >>> weeks_before(2 * WEEK, 1) == (WEEK, 2 * WEEK)
    True
    """
    return tuple(at - WEEK * n for n in range(weeks, -1, -1))
