"""One simulated shopper's visit, and the shopper's profile while it happens.

The events go the way of all events: tracked, through the stream, read by a consumer that is a process of its own, into
the log and the state in Redis. What changes is what any reader of the profile sees at that moment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, Any

import numpy as np
import pandas as pd

from feature_repo.core.clock import Clock, SystemClock
from feature_repo.core.errors import CheckFailedError, PortraitError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.jobs.status import stream_status
from serving.sdk import ProfileClient
from serving.tracking import Event, NewEvent

VISITOR = "demo-visitor"

_START_S = 180.0  # a consumer imports Feast first
_SEEN_S = 30.0
_STOP_S = 30.0
_POLL_S = 0.01

# A reading is shown again when it moved by so much: interest fades a little between any two.
_MOVED = 0.01
_FADES = 0.5

_CATEGORIES = ("bread", "coffee")
_OF_SHOPPER = (
    "user_views_live__count_1h",
    "user_views_live__item_id_count_distinct_1h",
    "user_views_live__session_id_count_distinct_1d",
    "user_searches_live__count_1h",
    "user_clicks_live__count_1h",
    "user_carts_live__count_1h",
    "user_purchases__count_28d",
    "user_payments__count_28d",
    "user_payments__amount_sum_28d",
)
_OF_CATEGORY = ("user_category_views__decayed_count_6h", "user_category_carts__decayed_count_6h")

# A feature of every view that an event of the type must be seen in. By the day: an event of an earlier visit may leave
# the hour meanwhile.
_PROOF = {
    "view": ("user_views_live__count_1d", _OF_CATEGORY[0]),
    "search": ("user_searches_live__count_1d",),
    "click": ("user_clicks_live__count_1d",),
    "cart": ("user_carts_live__count_1d", _OF_CATEGORY[1]),
    "purchase": ("user_purchases__count_28d",),
    "payment": ("user_payments__count_28d",),
}
_NOT_SHOWN = {name for names in _PROOF.values() for name in names} - {*_OF_SHOPPER, *_OF_CATEGORY}


@dataclass(frozen=True)
class Change:
    """A feature that changed.

    Attributes
    ----------
    event
        What the shopper did.
    feature
        Full name; with the category in brackets, where the feature is about one.
    before, after
        Values.
    visible_ms
        From before the event was sent until the value was read.
    """

    event: str
    feature: str
    before: float
    after: float
    visible_ms: float


@dataclass(frozen=True)
class VisitReport:
    """What a visit did.

    Attributes
    ----------
    user_id
        Pseudonym of the shopper.
    events
        Events sent.
    changes
        Features that changed, in the order they were seen.
    freshness_ms
        ``p50`` and ``p99`` over the events: sent until all features about it were read changed.
    consumed
        Report of the consumer.
    seconds
        From the first event to the end of the last.
    """

    user_id: str
    events: int
    changes: tuple[Change, ...]
    freshness_ms: dict[str, float]
    consumed: Any
    seconds: float


Show = Callable[[Mapping[str, float], Sequence[Change]], None]


def visit(*, seconds: float, show: Show = lambda _values, _changes: None, clock: Clock | None = None) -> VisitReport:
    """Start a consumer, let the shopper come by, and stop the consumer again.

    Parameters
    ----------
    seconds
        How long the visit takes, roughly.
    show
        Told the features once at the start, and with each change.

    Raises
    ------
    CheckFailedError
        An event was not visible within 30 s.
    NotMaterializedError, StoreUnavailableError, BufferFullError
        The home has no state in Redis, Redis or the broker is away, or the stream is full.
    """
    settings, now = load_settings(), clock or SystemClock()
    with ProfileClient(settings=settings) as portrait:
        watch = _Watch(portrait, now, portrait.key(VISITOR), show)
        watch.begin()  # what cannot be read is told before a consumer is started
        with _consumer(settings, now) as consumed:
            steps = _steps(watch.user_id)
            started = now.now_us()
            for n, events in enumerate(steps):
                watch.follow(events)
                _wait_until(now, started + int((n + 1) * seconds / len(steps) * 1e6))
            took = (now.now_us() - started) / 1e6
    p50, p99 = np.percentile(watch.freshness_ms, [50, 99]).round(1).tolist()
    return VisitReport(
        user_id=watch.user_id,
        events=sum(map(len, steps)),
        changes=tuple(watch.changes),
        freshness_ms={"p50": p50, "p99": p99},
        consumed=dict(consumed),
        seconds=round(took, 1),
    )


def _steps(user_id: str) -> list[list[NewEvent]]:
    """What the shopper does, step by step; events of one step are sent together."""
    order = str(uuid.uuid4())
    visitor = {"user_id": user_id}
    visiting = {**visitor, "session_id": str(uuid.uuid4()), "device": "mobile"}
    loaf = {"item_id": "demo-rye-bread", "category": "bread"}
    beans = {"item_id": "demo-coffee-beans", "category": "coffee"}
    pot = {"item_id": "demo-coffee-pot", "category": "coffee"}
    return [
        [Event.view(**visiting, category="bread")],
        [Event.search(**visiting, query="rye bread", results=4)],
        [Event.click(**visiting, **loaf, source="search", position=1)],
        [Event.view(**visiting, **loaf, price=3.2, dwell_s=12.0)],
        [Event.cart(**visiting, **loaf, action="add", quantity=1, price=3.2)],
        [Event.search(**visiting, query="coffee", results=9)],
        [Event.view(**visiting, **beans, price=8.9, dwell_s=20.0)],
        [Event.view(**visiting, **pot, price=24.0, dwell_s=5.0)],
        [Event.cart(**visiting, **beans, action="add", quantity=2, price=8.9)],
        [
            Event.purchase(**visitor, **loaf, order_id=order, quantity=1, amount=3.2),
            Event.purchase(**visitor, **beans, order_id=order, quantity=2, amount=17.8),
            Event.payment(**visitor, order_id=order, method="card", amount=21.0, lines=2),
        ],
    ]


@dataclass
class _Watch:
    """Sends events and reads the profile until it has followed."""

    portrait: ProfileClient
    clock: Clock
    user_id: str
    show: Show
    changes: list[Change] = field(default_factory=list)
    freshness_ms: list[float] = field(default_factory=list)
    _shown: dict[str, float] = field(default_factory=dict)

    def begin(self) -> None:
        """Show what is known before the visit."""
        self._shown = {name: value for name, value in self._read().items() if name not in _NOT_SHOWN}
        self.show(self._shown, [])

    def follow(self, events: Sequence[NewEvent]) -> None:
        """Send events and wait until the profile tells of each."""
        before = self._read()
        what = ", ".join(dict.fromkeys(event["event_type"] for event in events))
        waiting = [_proof(event) for event in events]
        expected = {name: before[name] + count - _FADES for name, count in Counter(chain(*waiting)).items()}
        sent = self.clock.now_us()
        self.portrait.track(events)
        while waiting:
            values = self._read()
            passed_ms = round((self.clock.now_us() - sent) / 1_000, 1)
            self._note(what, values, passed_ms)
            left = [proof for proof in waiting if any(values[name] < expected[name] for name in proof)]
            self.freshness_ms += [passed_ms] * (len(waiting) - len(left))
            waiting = left
            if waiting and passed_ms > _SEEN_S * 1_000:
                raise CheckFailedError(
                    f"The profile did not follow within {_SEEN_S:.0f} s: {what}.",
                    hint="see `portrait jobs status`: what waits, and which views are behind.",
                )
            time.sleep(_POLL_S)

    def _note(self, what: str, values: Mapping[str, float], passed_ms: float) -> None:
        new = [
            Change(what, name, self._shown[name], value, passed_ms)
            for name, value in values.items()
            if name not in _NOT_SHOWN and abs(value - self._shown[name]) >= _MOVED
        ]
        if new:
            self._shown |= {change.feature: change.after for change in new}
            self.changes += new
            self.show(self._shown, new)

    def _read(self) -> dict[str, float]:
        values = _values(self.portrait.features([self.user_id]).to_arrow().to_pylist()[0], [*_OF_SHOPPER, *_NOT_SHOWN])
        asked = pd.DataFrame({"user_id": [self.user_id] * len(_CATEGORIES), "category": _CATEGORIES})
        rows = self.portrait.features(asked, service="user_category_live_v1").to_arrow().to_pylist()
        for row in rows:
            found = _values(row, _OF_CATEGORY)
            values |= {f"{name}[{row['category']}]": value for name, value in found.items()}
        return values


def _values(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, float]:
    return {name: row[name] or 0 for name in names}


def _proof(event: NewEvent) -> list[str]:
    names = _PROOF[event["event_type"]]
    return [f"{name}[{event['category']}]" if name in _OF_CATEGORY else name for name in names]


def _wait_until(clock: Clock, at: int) -> None:
    time.sleep(max(0, at - clock.now_us()) / 1e6)


@contextmanager
def _consumer(settings: Settings, clock: Clock) -> Iterator[dict[str, Any]]:
    """Run a consumer beside this process; its report is in the yielded mapping at the end.

    Raises
    ------
    PortraitError
        It ended by itself, or does not come up.
    """
    report: dict[str, Any] = {}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "feature_repo.cli", "jobs", "consume", "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process, which ends the consumer
        )
        try:
            _wait_for(process, settings, clock)
            yield report
        finally:
            printed = _stopped(process)
        report |= _report(printed, said)


def _wait_for(process: subprocess.Popen[str], settings: Settings, clock: Clock) -> None:
    deadline = clock.now_us() + int(_START_S * 1e6)
    mark = f"-{process.pid}-"
    while not any(mark in each.name for each in stream_status(settings, clock).consumers):
        if process.poll() is not None or clock.now_us() > deadline:
            raise PortraitError(
                "The consumer beside the visit did not come up.", hint="run `portrait jobs consume` to see why."
            )
        time.sleep(0.1)


def _stopped(process: subprocess.Popen[str]) -> str:
    """Ask a process to end, and return what it printed."""
    if process.poll() is None:
        os.kill(process.pid, signal.SIGTERM)
    try:
        return process.communicate(timeout=_STOP_S)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0]


def _report(printed: str, said: IO[bytes]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(printed)
    except ValueError:
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").strip().splitlines()
        raise PortraitError(
            f"The consumer beside the visit did not end in order: {lines[-1] if lines else 'it said nothing'}",
            hint="nothing is lost: `portrait jobs consume --until-empty` reads what waits.",
        ) from None
    return found
