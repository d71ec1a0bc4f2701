"""A sample of what is served, kept to be proven: a queue with a bound, and a thread that writes it down.

The request puts a reference into the queue, and no more. What comes faster than it can be written is lost, and counted.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event, Lock, Thread
from typing import Any

import pyarrow as pa

from feature_repo.core.clock import Clock, from_us
from feature_repo.core.errors import PortraitError
from feature_repo.core.settings import Settings
from feature_repo.engine.feature_vectors import instant_of
from feature_repo.engine.positions import Layout, Position, Positions, Recorded
from feature_repo.engine.sources import head_of
from feature_repo.engine.state import NO_VERSION
from feature_repo.jobs.served import AT, HEAD, HELD, POSITION, ServedFacts, ServedRows, write_served
from serving.online_features import Reading, ServicePlan
from serving.service_views import INSTANT, Entities, OrdinaryPart, WindowedPart, as_arrow

MOST_ROWS = 20_000
EVERY_S = 5.0

_log = logging.getLogger("portrait")


@dataclass(frozen=True, eq=False)
class _Served:
    """One request's features; ``recorded`` is how far the views were fed some time before they were read."""

    reading: Reading
    entities: Entities
    features: tuple[str, ...]
    model: str
    at: int
    recorded: Recorded | None


class ServedSample:
    """Keeps the features of a share of requests. Threads may share one.

    Parameters
    ----------
    clock
        The one that says when features are read.
    recorded
        Asks Redis how far the views of a project are fed; called by the writing thread alone.
    chance
        Says for each request a number from 0 to 1; the share below ``settings.served_sample`` is kept.
    most_rows
        Rows that may wait to be written.
    every_s
        How long rows wait to be written together.

    Attributes
    ----------
    lost
        Rows that were chosen and not kept, since it was last told to a file.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        recorded: Callable[[str], Recorded],
        *,
        chance: Callable[[], float] = random.random,
        most_rows: int = MOST_ROWS,
        every_s: float = EVERY_S,
    ) -> None:
        self._settings, self._clock, self._ask, self._chance = settings, clock, recorded, chance
        self._most_rows, self._every_s = most_rows, every_s
        self._changing, self._writing = Lock(), Lock()
        self._queue: deque[_Served] = deque()
        self._waiting = 0
        self._recorded: tuple[int, Recorded] | None = None
        self._thread: Thread | None = None
        self._ending = Event()
        self.lost = 0

    def note(self, reading: Reading, entities: Entities, features: Sequence[str], at: int, *, model: str = "") -> None:
        """Keep what a request was answered from, if it is one of the sample.

        Parameters
        ----------
        features
            Full names of what was asked for.
        at
            Instant the features were read at (us).
        """
        if not self._settings.served_sample or self._chance() >= self._settings.served_sample:
            return
        with self._changing:
            if self._waiting + reading.length > self._most_rows:
                self.lost += reading.length
                return
            self._waiting += reading.length
            self._queue.append(_Served(reading, entities, tuple(features), model, at, self._recorded_before(at)))
            if self._thread is None:
                self._ending = Event()
                self._thread = Thread(
                    target=self._run,
                    args=(self._ending, reading.plan.reader.project),
                    name="served features",
                    daemon=True,
                )
                self._thread.start()

    def close(self) -> None:
        """Write what waits, and end the thread; a later request starts it again."""
        with self._changing:
            thread, self._thread = self._thread, None
            self._ending.set()
        if thread is not None:
            thread.join()
        self.flush()

    def flush(self) -> None:
        """Write what waits now."""
        with self._writing:
            with self._changing:
                batch, self._queue = list(self._queue), deque()
                lost, self.lost = self.lost, 0
            written = 0
            try:
                for rows in _together(batch, self._recorded and self._recorded[1]):
                    write_served(self._settings, ServedRows(replace(rows.facts, lost=lost), rows.table))
                    written += rows.table.num_rows
                    lost = 0
            except (OSError, PortraitError) as error:
                lost += sum(each.reading.length for each in batch) - written
                _log.warning("Served features could not be kept: %s", type(error).__name__)
            with self._changing:
                self.lost += lost
                self._waiting -= sum(each.reading.length for each in batch)

    def look(self, project: str) -> None:
        """Ask Redis how far the views of a project are fed, which tells of what is read later."""
        try:
            recorded = self._ask(project)
            self._recorded = self._clock.now_us(), recorded
        except PortraitError:
            self._recorded = None

    def _recorded_before(self, at: int) -> Recorded | None:
        """How far the views were fed for certain before an instant (us)."""
        known = self._recorded
        return known[1] if known is not None and known[0] < at else None

    def _run(self, ending: Event, project: str) -> None:
        while True:
            self.look(project)
            if ending.wait(self._every_s):
                return
            self.flush()


def positions_of(project: str, client: Any) -> Recorded:
    """Return how far the views of a project are fed."""
    return Positions(client, project).recorded()


def _together(batch: Sequence[_Served], later: Recorded | None) -> Iterator[ServedRows]:
    """Join requests that have everything but their rows in common.

    Parameters
    ----------
    later
        How far views are fed by now.
    """
    groups: dict[Any, tuple[ServedFacts, list[pa.Table]]] = {}
    plans = {id(each.reading.plan): each.reading.plan for each in batch}
    heads = {key: _heads(plan) for key, plan in plans.items()}
    for each in batch:
        facts, plan = _facts(each), id(each.reading.plan)
        key = (facts.service, facts.model, facts.features, tuple(facts.unanswered.items()), plan)
        groups.setdefault(key, (facts, []))[1].append(_table(each, later, heads[plan]))
    for facts, tables in groups.values():
        yield ServedRows(facts, pa.concat_tables(tables))


def _facts(served: _Served) -> ServedFacts:
    reading, plan = served.reading, served.reading.plan
    return ServedFacts(
        service=plan.service,
        model=served.model,
        entities=plan.entity_columns,
        features=tuple(_columns(served)),
        contract=plan.definitions,
        windowed=tuple(part.prefix for part in plan.windowed),
        unanswered=dict(_unanswered(reading)),
    )


def _columns(served: _Served) -> dict[str, pa.DataType]:
    """What was read from the stores, and what was asked for of the rest."""
    plan = served.reading.plan
    parts: tuple[WindowedPart | OrdinaryPart, ...] = (*plan.windowed, *plan.ordinary)
    stored = {name: kind for part in parts for name, kind in part.types.items()}
    return stored | {name: plan.types[name] for name in served.features if name not in stored}


def _unanswered(reading: Reading) -> Iterator[tuple[str, bool]]:
    for part, states in zip(reading.plan.windowed, reading.answers.states, strict=True):
        for feature in part.features:
            if states.layout is None or not states.layout.serves(part.view, feature):
                yield f"{part.prefix}__{feature.name}", states.layout is not None
    for each, (stamps, *columns) in zip(reading.plan.ordinary, reading.answers.fields, strict=True):
        for name, column in zip(each.types, columns, strict=True):
            # A row has every feature its view had when it was written: NULL is empty, and not absent.
            if each.name in reading.unwritten or any(s and v is None for s, v in zip(stamps, column, strict=True)):
                yield name, each.name not in reading.unwritten


def _table(served: _Served, later: Recorded | None, heads: Mapping[str, str | None]) -> pa.Table:
    reading, n = served.reading, served.reading.length
    columns = reading.columns if set(served.features) - set(reading.stored) else reading.stored
    found = {AT: pa.array([from_us(served.at)] * n, INSTANT)}
    found |= {name: pa.array(served.entities[name], pa.string()) for name in reading.plan.entity_columns}
    found |= {name: as_arrow(columns[name], kind) for name, kind in _columns(served).items()}
    for name, held, position in _held(served, later):
        found[HELD + name] = held
        found[POSITION + name] = pa.array([str(position) if position else None] * n, pa.string())
        found[HEAD + name] = pa.array([heads[name]] * n, pa.string())
    return pa.table(found)


def _heads(plan: ServicePlan) -> dict[str, str | None]:
    """Of each view the table it stands on, and how far that goes by now."""
    parts: tuple[WindowedPart | OrdinaryPart, ...] = (*plan.windowed, *plan.ordinary)
    heads = {each.declared.batch_source.path: head_of(each.declared.batch_source) for each in parts}
    return {_prefix(each): heads[each.declared.batch_source.path] for each in parts}


def _prefix(part: WindowedPart | OrdinaryPart) -> str:
    if isinstance(part, WindowedPart):
        return part.prefix
    return next(iter(part.types)).split("__", 1)[0] if part.types else part.name


def _held(served: _Served, later: Recorded | None) -> Iterator[tuple[str, pa.Array, Position | None]]:
    """Of each view its name, what was held of each row's entity, and how far the view was fed."""
    reading, recorded = served.reading, served.recorded
    plan = reading.plan
    rows = [reading.rows[i] for i in plan.about]
    windowed = zip(plan.windowed, rows[: len(plan.windowed)], reading.answers.states, strict=True)
    for part, of, states in windowed:
        layout = states.layout
        held = pa.array(states.versions()) if layout else pa.nulls(len(of.keys), pa.int64())
        yield part.prefix, of.spread(held), _fed(layout, recorded, later)
    ordinary = zip(plan.ordinary, rows[len(plan.windowed) :], reading.answers.fields, strict=True)
    for each, of, fields in ordinary:
        stamps = pa.array([instant_of(stamp) if stamp else None for stamp in fields[0]], pa.int64())
        yield _prefix(each), of.spread(stamps), recorded.rows(each.declared) if recorded else None


def _fed(layout: Layout | None, before: Recorded | None, later: Recorded | None) -> Position | None:
    """How far a state was fed; of one of which that is not known, at least the table: a state is of one for good."""
    if layout is None:
        return None
    found = before.fed(layout, ()) if before else None
    since = later.fed(layout, ()) if later and not found else None
    return Position(since.table_id, NO_VERSION) if since else found
