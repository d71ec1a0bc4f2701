"""Bring what recommendations are made from to the log's head: who bought which items, and how the items sell."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

from feature_repo.candidates.history import histories, history_rows
from feature_repo.candidates.kept import SHELF_AT_KEY, SHELF_KEY, write_histories
from feature_repo.candidates.shelf import shelf_at
from feature_repo.core.clock import Clock, from_us
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb, connect_redis, redis_answers
from feature_repo.events.log import read_snapshot, reading
from feature_repo.events.schema import table_path
from feature_repo.jobs.materialize import materialize
from feature_repo.privacy.tombstones import Tombstones

VIEW = "user_item_purchases"
CHUNK = 500


@dataclass(frozen=True)
class HistoriesReport:
    """How many shoppers' histories were written and how many items are on the shelf, as of an instant; seconds."""

    shoppers: int
    items: int
    as_of: str
    seconds: float


def bring_histories(
    settings: Settings, clock: Clock, *, progress: Callable[[str, float], None] = lambda _step, _done: None
) -> HistoriesReport:
    """Build or bring up the view of shoppers and items, and write histories and the shelf. Twice is once.

    Raises
    ------
    DeclarationError
        Nothing was applied yet.
    LogError
        The table of purchases is missing or damaged.
    StoreUnavailableError
        Redis cannot be used.
    """
    started = clock.now_us()
    progress(VIEW, 0.0)
    materialize(settings, clock, views=[VIEW], progress=lambda _view, done: progress(VIEW, 0.7 * done))
    progress("histories", 0.7)
    at = clock.now_us()
    snapshot = read_snapshot(table_path(settings.log_root, "purchase"))
    with closing(connect_duckdb(settings)) as connection, reading(snapshot):
        rows = history_rows(connection, snapshot.sql(), at)
        shelf = shelf_at(connection, snapshot.sql(), at)
    tombstones, found = Tombstones(settings.home), iter(histories(rows, at))
    shoppers = 0
    with connect_redis(settings) as client, redis_answers():
        client.set(SHELF_KEY, shelf.to_json())
        client.set(SHELF_AT_KEY, str(at))
        while chunk := list(islice(found, CHUNK)):
            with tombstones.unchanged():  # whoever is erased from here on is found in what was written
                standing = [(user, history) for user, history in chunk if not tombstones.holds(user)]
                write_histories(client, standing)
            shoppers += len(standing)
    progress("histories", 1.0)
    return HistoriesReport(shoppers, len(shelf.items), from_us(at).isoformat(), (clock.now_us() - started) / 1e6)
