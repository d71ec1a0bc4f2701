"""Exposures on their way to the stream: noted at once, sent by a thread of their own, so that no answer waits for them.

What cannot be sent is lost and counted. A loss hits all variants alike, so it costs a report shoppers, not its truth.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Any

from feature_repo.core.clock import DAY, Clock
from feature_repo.core.errors import BufferFullError, PortraitError, StoreUnavailableError
from feature_repo.events.log import EVENT_ID, EVENT_TIMESTAMP
from feature_repo.events.stream.collector import Collected
from feature_repo.events.stream.intake import EVENT_TYPE

_log = logging.getLogger("portrait")

MOST_WAITING = 10_000
_AT_ONCE = 1_000
_MOST_NOTED = 100_000
_ID_BYTES = 12

Counted = Callable[[str, int], None]


@dataclass(frozen=True)
class Exposure:
    """A shopper meets a variant: ``user_id`` is a pseudonym; ``model`` and its version where one scored."""

    user_id: str
    experiment: str
    variant: str
    placement: str | None = None
    model: str | None = None
    model_version: str | None = None


@dataclass(frozen=True)
class ExposureCounts:
    """What became of the exposures of a client.

    Attributes
    ----------
    sent
        The stream took them.
    lost
        By reason: ``queue_full``, ``stream_full``, ``stream_away``, ``refused``.
    erased
        Of people who were erased: dropped.
    waiting
        Not sent yet.
    """

    sent: int
    lost: dict[str, int]
    erased: int
    waiting: int


class Exposures:
    """Takes exposures and sends them, in the background. Threads may share one.

    A shopper's exposure to a variant has one id a day, by UTC: who comes again is not noted again, neither here nor,
    where another process noted it, in the log.

    Parameters
    ----------
    send
        Takes events into the stream, and may wait for it.
    counted
        Is told what became of how many: ``sent``, ``erased``, or a reason they were lost for. Must not fail.
    """

    def __init__(
        self,
        send: Callable[[list[dict[str, Any]]], Collected],
        clock: Clock,
        *,
        counted: Counted = lambda _what, _count: None,
        most: int = MOST_WAITING,
    ) -> None:
        self._send = send
        self._clock = clock
        self._counted = counted
        self._most = most
        self._changed = Condition()
        self._waiting: deque[dict[str, Any]] = deque()
        self._noted: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._sending = 0
        self._thread: Thread | None = None
        self._ending = False

    def note(self, exposures: Iterable[Exposure]) -> None:
        """Note exposures of this instant; never waits for the stream, and never fails for it."""
        at = self._clock.now_us()
        events = [_event(each, at) for each in exposures]
        with self._changed:
            lost = sum(not self._taken(event) for event in events)
            if self._waiting and self._thread is None:
                self._ending = False
                self._thread = Thread(target=self._run, name="exposures", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        self._count("queue_full", lost)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was noted is sent or lost; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._sending, timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what waits, for so long at most, and end the thread; a later exposure begins another one."""
        with self._changed:
            thread, self._thread, self._ending = self._thread, None, True
            self._changed.notify_all()
        if thread is not None:
            thread.join(timeout_s)

    def counts(self) -> ExposureCounts:
        """Return what became of them so far."""
        with self._changed:
            lost = {name: n for name, n in self._counts.items() if name not in {"sent", "erased"}}
            return ExposureCounts(
                self._counts["sent"], lost, self._counts["erased"], len(self._waiting) + self._sending
            )

    def counted_by(self, counted: Counted) -> None:
        """Tell another one what becomes of them, from now on."""
        self._counted = counted

    def _taken(self, event: dict[str, Any]) -> bool:
        """Put an event into the queue, unless it was noted before; False if there is no room."""
        if event[EVENT_ID] in self._noted:
            return True
        if len(self._waiting) >= self._most:
            return False
        if len(self._noted) >= _MOST_NOTED:
            self._noted.clear()
        self._noted.add(event[EVENT_ID])
        self._waiting.append(event)
        return True

    def _run(self) -> None:
        while batch := self._next():
            try:
                self._sent(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next ones have to be sent
                _log.error("Exposures could not be sent: %s.", type(error).__name__)
                self._lose(batch, "refused")
            with self._changed:
                self._sending -= len(batch)
                self._changed.notify_all()

    def _next(self) -> list[dict[str, Any]]:
        """Wait for events and take them; nothing at the end, when all are sent."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ending)
            batch = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            self._sending += len(batch)
        return batch

    def _sent(self, batch: list[dict[str, Any]]) -> None:
        try:
            done = self._send(batch)
        except BufferFullError as full:
            self._count("sent", full.accepted)
            self._lose(batch[full.accepted :], "stream_full")
        except StoreUnavailableError:
            self._lose(batch, "stream_away")
        except PortraitError as error:
            _log.warning("Exposures could not be sent: %s", error.what)
            self._lose(batch, "refused")
        else:
            self._count("sent", done.accepted)
            self._count("erased", done.erased)
            self._count("refused", len(done.rejected))

    def _lose(self, batch: list[dict[str, Any]], reason: str) -> None:
        with self._changed:  # whoever comes again today may be noted again
            self._noted.difference_update(event[EVENT_ID] for event in batch)
        self._count(reason, len(batch))

    def _count(self, what: str, number: int) -> None:
        if number:
            with self._changed:
                self._counts[what] += number
            self._counted(what, number)


def _event(exposure: Exposure, at: int) -> dict[str, Any]:
    facts = {name: value for name, value in vars(exposure).items() if value is not None}
    said = "\0".join([*map(str, facts.values()), str(at // DAY)])
    event_id = hashlib.blake2b(said.encode(), digest_size=_ID_BYTES).hexdigest()
    return {EVENT_TYPE: "experiment_exposure", EVENT_ID: event_id, EVENT_TIMESTAMP: at, **facts}
