"""A shopper's events as the log holds them, of all tables together, the newest first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from feature_repo.core.clock import to_us
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.sources import MappedSource
from feature_repo.events.log import EVENT_TIMESTAMP, INGESTED_AT, read_snapshot, reading
from feature_repo.events.schema import EVENTS, table_path
from feature_repo.jobs.log_tables import present_tables
from serving.entities import USER
from serving.reasons.answers import LoggedEvent
from serving.reasons.logged import History

_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Stretch:
    """Events of one shopper before an instant.

    Attributes
    ----------
    events
        The newest first; all there are of their stretch.
    rest
        Instant before which older ones may be; None if there are none.
    """

    events: tuple[LoggedEvent, ...]
    rest: datetime | None


def stretch(settings: Settings, user: str, until: datetime, *, most: int) -> Stretch:
    """Read the newest events of a shopper, by pseudonym, before an instant.

    Parameters
    ----------
    most
        Events that are read of each table.

    Raises
    ------
    LogError
        A table is damaged.
    """
    found = [each.newest("", 0, to_us(until), most) for each in _histories(settings, user)]
    events = sorted((event for part in found for event in part), key=lambda each: (each.at, each.table), reverse=True)
    # Of a table that holds more than was read nothing is known before its last event, nor all of that instant.
    known_from = max((part[-1].at for part in found if len(part) == most), default=None)
    if known_from is None:
        return Stretch(tuple(events), None)
    whole = tuple(each for each in events if each.at > known_from)
    if whole:
        return Stretch(whole, known_from + _INSTANT)
    return Stretch(tuple(each for each in events if each.at == known_from), known_from)


def weekly(settings: Settings, user: str, since: datetime, until: datetime) -> dict[datetime, int]:
    """Count a shopper's events by week, which begins on Monday; an order's lines are no events beside its payment.

    Raises
    ------
    LogError
        A table is damaged.
    """
    counts: dict[datetime, int] = {}
    for history in _histories(settings, user):
        if history.table != "purchase":
            for week, count in history.weekly(to_us(since), to_us(until)):
                counts[week] = counts.get(week, 0) + count
    return dict(sorted(counts.items()))


def _histories(settings: Settings, user: str) -> Iterator[History]:
    with closing(connect_duckdb(settings)) as connection:
        for name in present_tables(settings):
            if name in EVENTS:
                yield from _history(settings, connection, name, user)


def _history(settings: Settings, connection: Any, name: str, user: str) -> Iterator[History]:
    snapshot = read_snapshot(table_path(settings.log_root, name))
    source = MappedSource(snapshot.sql(), snapshot.schema, EVENT_TIMESTAMP, INGESTED_AT)
    with reading(snapshot):
        yield History(connection, name, source, {USER: user}, None)
