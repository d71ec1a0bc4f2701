"""Plays the simulated shop into the stream of events, at a steady rate, as if it happened now."""

from __future__ import annotations

import json
import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from feature_repo.core.clock import HOUR, SECOND, Clock
from feature_repo.core.errors import BufferFullError, DataError
from feature_repo.core.settings import Settings
from feature_repo.events.log import EVENT_ID, EVENT_TIMESTAMP, INGESTED_AT
from feature_repo.events.simulation_model import AHEAD
from feature_repo.events.simulation_plan import Plan
from feature_repo.events.simulation_stream import in_time_order
from feature_repo.events.stream.channel import Channel, Message, partition_of
from feature_repo.privacy.pseudonyms import is_pseudonym

Progress = Callable[[str, float], None]

# `json.dumps` makes an encoder for each event whenever it is told anything.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_TICK_S = 0.05
_MOST = 5_000
_NAMED = (EVENT_ID, "session_id", "order_id")  # what must not come again in another run, or in another pass of it
_INSTANTS = (EVENT_TIMESTAMP, "client_timestamp")


@dataclass(frozen=True)
class PlayReport:
    """What was sent into the stream.

    Attributes
    ----------
    sent
        Events the broker took; the flawed among them too.
    seconds, events_per_s
        Time it took, waiting for a full stream included, and events in a second of it.
    late
        Events that are told an hour or more after they happened.
    duplicates, malformed
        Those that were sent before, and those without an id or a time, which who reads them fills in, or with a raw id,
        which belong into quarantine.
    """

    sent: int
    seconds: float
    events_per_s: float
    late: int
    duplicates: int
    malformed: int


@dataclass(frozen=True)
class Coming:
    """An event that waits for its turn.

    Attributes
    ----------
    event_type
        Event type.
    event
        Columns of the type that are known, without the time of arrival; instants in microseconds before arrival.
    again
        It is the event before it once more.
    """

    event_type: str
    event: dict[str, Any]
    again: bool

    @property
    def malformed(self) -> bool:
        """Whether no log can keep it."""
        event = self.event
        return None in (event.get(EVENT_ID), event.get(EVENT_TIMESTAMP)) or not is_pseudonym(str(event.get("user_id")))

    @property
    def late(self) -> bool:
        """Whether it is told an hour or more after it happened."""
        return (self.event.get(EVENT_TIMESTAMP) or 0) >= HOUR


def coming(settings: Settings, plan: Plan, *, run: str) -> Iterator[Coming]:
    """Yield events without end: the week behind the plan's now, then all of the plan again and again.

    ``run`` becomes part of their ids, and so does the number of the pass: nothing comes twice but what is to.
    """
    since_us, number = plan.end_us + 1, 0
    while True:
        batches = in_time_order(settings, plan, since_us=since_us, until_us=plan.end_us + AHEAD)
        found = False
        for event in _events(batches, f"-{run}-{number}"):
            found = True
            yield event
        if not found and since_us == plan.begin_us:
            raise DataError("This shop has no events.", hint="ask for more --users and --events.")
        since_us, number = plan.begin_us, number + 1


def _events(batches: Iterator[pa.RecordBatch], name: str) -> Iterator[Coming]:
    before: tuple[Any, ...] = ()
    for batch in batches:
        dues = batch["due"].cast(pa.int64()).to_pylist()
        for row in zip(dues, batch["event_type"].to_pylist(), batch["event"].to_pylist(), strict=True):
            # In this order a copy stands next to what it was made of.
            yield Coming(row[1], _told(json.loads(row[2]), row[0], name), again=row == before)
            before = row


def _told(event: dict[str, Any], due_us: int | None, name: str) -> dict[str, Any]:
    del event[INGESTED_AT]
    for column in _NAMED:
        if event.get(column) is not None:
            event[column] += name
    for column in _INSTANTS:
        if event.get(column) is not None:
            event[column] = (due_us or 0) - event[column]
    return event


def play(
    events: Iterator[Coming],
    channel: Channel,
    clock: Clock,
    *,
    rate: float,
    wait: Callable[[float], bool],
    seconds: float = math.inf,
    progress: Progress | None = None,
) -> PlayReport:
    """Send events in their order, ``rate`` a second, each as if it arrived now.

    An event happened as long before its arrival as in the shop. What could not be sent in time is caught up with, but
    not what a full stream kept back: there the clock of the player stands still.

    Parameters
    ----------
    clock
        Says when it is.
    wait
        Waits for some seconds; tells whether to stop, at once when asked to: ``threading.Event().wait``.
    seconds
        How long; ``rate * seconds`` events are sent unless the stream is full.

    Raises
    ------
    StoreUnavailableError
        The broker does not answer.
    """
    player = _Player(channel, clock, wait)
    while not player.stopped:
        elapsed = player.elapsed_s
        due = int(min(elapsed, seconds) * rate) - player.taken
        player.send(list(islice(events, min(due, _MOST))))
        if progress:
            progress(f"{player.sent:,} sent, {player.rate:,.0f} a second", min(elapsed / seconds, 1.0))
        behind = due > _MOST
        player.stopped = player.stopped or (elapsed >= seconds and not behind)
        pause = 0.0 if behind else min(_TICK_S, max(0.0, seconds - elapsed))
        player.stopped = player.stopped or wait(pause)  # asked also by one that is always behind
    return player.report()


class _Player:
    def __init__(self, channel: Channel, clock: Clock, wait: Callable[[float], bool]) -> None:
        self._channel, self._clock, self._wait = channel, clock, wait
        self._started_us = clock.now_us()
        self._held_us = 0
        self._last: Message | None = None
        self.stopped = False
        self.taken = self.sent = 0
        self._late = self._duplicates = self._malformed = 0

    @property
    def elapsed_s(self) -> float:
        return (self._clock.now_us() - self._started_us - self._held_us) / SECOND

    @property
    def rate(self) -> float:
        return self.sent / max((self._clock.now_us() - self._started_us) / SECOND, 1e-6)

    def send(self, events: list[Coming]) -> None:
        now_us = self._clock.now_us()
        messages = [self._message(event, now_us) for event in events]
        self.taken += len(events)
        while messages and not self.stopped:
            try:
                self._channel.send(messages)
            except BufferFullError as full:
                self._count(events[: full.accepted])
                events, messages = events[full.accepted :], messages[full.accepted :]
                self._hold(full.retry_after_s)
            else:
                self._count(events)
                return

    def _hold(self, seconds: float) -> None:
        since_us = self._clock.now_us()
        self.stopped = self._wait(seconds)
        self._held_us += self._clock.now_us() - since_us

    def _message(self, coming: Coming, now_us: int) -> Message:
        if coming.again and self._last is not None:
            return self._last
        event = coming.event | {INGESTED_AT: now_us}
        for column in _INSTANTS:
            if event.get(column) is not None:
                event[column] = now_us - event[column]
        key = str(event.get("user_id") or event.get(EVENT_ID))
        body = _encode(event).encode()
        self._last = Message(coming.event_type, partition_of(key, self._channel.partitions), body)
        return self._last

    def _count(self, events: list[Coming]) -> None:
        self.sent += len(events)
        self._duplicates += sum(event.again for event in events)
        for event in events:
            malformed = event.malformed
            self._malformed += malformed
            self._late += event.late and not event.again and not malformed

    def report(self) -> PlayReport:
        seconds = (self._clock.now_us() - self._started_us) / SECOND
        return PlayReport(self.sent, seconds, self.rate, self._late, self._duplicates, self._malformed)


def play_live(
    settings: Settings,
    plan: Plan,
    channel: Channel,
    clock: Clock,
    *,
    rate: float,
    seconds: float = math.inf,
    progress: Progress | None = None,
) -> PlayReport:
    """Play a shop until the time is over, or SIGINT or SIGTERM comes: what was begun is sent to its end.

    Raises
    ------
    DataError
        The rate or the time is not above 0, or the shop has no events.
    StoreUnavailableError
        The broker does not answer.
    """
    with closing(channel), stop_signals() as stop:
        for name, value in (("--live", rate), ("--seconds", seconds)):
            if not value > 0:
                raise DataError(f"{name} is {value:g}.", hint="choose it above 0.")
        events = coming(settings, plan, run=f"{clock.now_us():x}")
        events = chain([next(events)], events)  # what making the first takes is not the player's time
        return play(events, channel, clock, rate=rate, wait=stop.wait, seconds=seconds, progress=progress)


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set instead of ending the process. For the main thread."""
    stop = threading.Event()
    before = {each: signal.signal(each, lambda *_: stop.set()) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
