"""The synthetic shop: a clickstream of any size, made in DuckDB and let in by the same door as everything else."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from feature_repo.core.settings import Settings, ensure_home
from feature_repo.core.stores import connect_duckdb
from feature_repo.events.door import Admitted, admit
from feature_repo.events.quarantine import quarantine_table
from feature_repo.events.schema import log_table
from feature_repo.events.simulation_events import QUERIES
from feature_repo.events.simulation_plan import Plan, settle
from feature_repo.events.simulation_sending import Parcel, parcels
from feature_repo.events.simulation_visits import prepare
from feature_repo.privacy.pseudonyms import load_pseudonymiser

SOURCE = "simulation"
Progress = Callable[[str, float], None]

_DOORS = 2


@dataclass(frozen=True)
class SimulationReport:
    """What was sent to the door and what became of it.

    Attributes
    ----------
    plan
        The shop; its ``end_us`` is that of the home's first run.
    read, events
        Rows sent, and those of them that are good: the others are duplicates and malformed copies.
    late
        Good events that arrived an hour or more after they happened.
    published, duplicates, quarantined
        Rows written by table, rows that were known, rows refused by reason: as the door found them.
    sent_twice, sent_broken
        What the simulator added: duplicates, and malformed copies by the reason they are to be refused for.
    seconds, events_per_s
        Time it took, and good events in a second of it.
    """

    plan: Plan
    read: int
    events: int
    late: int
    published: dict[str, int]
    duplicates: int
    quarantined: dict[str, int]
    sent_twice: int
    sent_broken: dict[str, int]
    seconds: float
    events_per_s: float


def simulate(settings: Settings, plan: Plan, *, progress: Progress | None = None) -> SimulationReport:
    """Write a simulated shop into the event log. Twice is once: a second run finds only duplicates.

    The plan is kept in ``<home>/simulation/<seed>.json``; a later run ends where the first did. Shoppers go through
    in chunks that fit ``settings.memory``; each table of a chunk is one commit, and the rows do not depend on it.

    Raises
    ------
    DataError
        The home holds another shop of the seed.
    SettingsError
        The home or its key cannot be used.
    """
    started = time.monotonic()
    ensure_home(settings)
    pseudonymiser = load_pseudonymiser(settings.home)
    plan = settle(settings.home, plan)
    _open_tables(settings.log_root)
    admit(settings.log_root, "items", _items(settings, plan), source=SOURCE)
    tally = _Tally()
    making = parcels(settings, plan, pseudonymiser, since_us=plan.begin_us, until_us=plan.end_us + 1)
    with closing(making), closing(_ahead(making)) as ready, closing(_admitted(settings, ready)) as results:
        for parcel, admitted in results:
            tally.add(parcel, admitted)
            if progress:
                progress(parcel.event_type, parcel.done)
    return tally.report(plan, time.monotonic() - started)


def _open_tables(log_root: Path) -> None:
    # Two doors must not meet at the creation of one table.
    quarantine_table(log_root).ensure()
    for name in QUERIES:
        log_table(log_root, name).ensure()


def _ahead(made: Iterator[Parcel]) -> Generator[Parcel, None, None]:
    """Make the next parcel while the doors are busy: DuckDB and Arrow let other threads run."""
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, made, None)
        while (parcel := coming.result()) is not None:
            coming = maker.submit(next, made, None)
            yield parcel


def _admitted(settings: Settings, ready: Iterator[Parcel]) -> Generator[tuple[Parcel, Admitted], None, None]:
    """Let parcels in, two at a time: neighbours are of different types, so each has a table of its own."""
    with ThreadPoolExecutor(_DOORS) as doors:
        waiting: deque[tuple[Parcel, Future[Admitted]]] = deque()
        for parcel in ready:
            rows = parcel.sent.rows
            waiting.append((parcel, doors.submit(admit, settings.log_root, parcel.event_type, rows, source=SOURCE)))
            if len(waiting) == _DOORS:
                yield _awaited(*waiting.popleft())
        while waiting:
            yield _awaited(*waiting.popleft())


def _awaited(parcel: Parcel, coming: Future[Admitted]) -> tuple[Parcel, Admitted]:
    return parcel, coming.result()


def _items(settings: Settings, plan: Plan) -> pa.Table:
    with closing(connect_duckdb(settings)) as connection:
        prepare(connection, plan)
        return connection.sql(f"""
            SELECT 'sim-' || item_id AS event_id, make_timestamptz({plan.begin_us}) AS event_timestamp,
                make_timestamptz({plan.begin_us}) AS ingested_at, * EXCLUDE (item, cents) FROM item ORDER BY item
        """).to_arrow_table()


class _Tally:
    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.published: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.known = 0

    def add(self, parcel: Parcel, found: Admitted) -> None:
        sent = parcel.sent
        self.sent.update(read=sent.rows.num_rows, events=sent.good, late=sent.late, sent_twice=sent.duplicates)
        self.broken.update(sent.malformed)
        self.published[parcel.event_type] += found.published
        self.refused.update(found.quarantined)
        self.known += found.duplicates

    def report(self, plan: Plan, seconds: float) -> SimulationReport:
        return SimulationReport(
            plan=plan,
            read=self.sent["read"],
            events=self.sent["events"],
            late=self.sent["late"],
            published=dict(self.published),
            duplicates=self.known,
            quarantined=dict(sorted(self.refused.items())),
            sent_twice=self.sent["sent_twice"],
            sent_broken=dict(sorted(self.broken.items())),
            seconds=seconds,
            events_per_s=self.sent["events"] / seconds,
        )
