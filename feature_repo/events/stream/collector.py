"""Where events of the shop come in: checked, without the shopper's name, and into the stream."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import to_json

from feature_repo.core.clock import Clock
from feature_repo.core.deadlines import Deadline
from feature_repo.core.errors import BufferFullError, DataError, StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.events.cleaning import USER_ID
from feature_repo.events.log import CLIENT_TIMESTAMP, EVENT_ID, EVENT_TIMESTAMP, INGESTED_AT
from feature_repo.events.schema import Record
from feature_repo.events.stream.channel import Channel, Message, partition_of
from feature_repo.events.stream.intake import Intake, RejectedError, check
from feature_repo.events.stream.open import open_channel
from feature_repo.privacy.pseudonyms import is_pseudonym, load_pseudonymiser
from feature_repo.privacy.tombstones import Tombstones

Standing = Callable[[pa.ChunkedArray], pa.Array | pa.ChunkedArray]
Said = Mapping[str, Any] | Record

_SESSION_ID = "session_id"


@dataclass(frozen=True)
class Rejected:
    """An event of a list that was not taken.

    Attributes
    ----------
    index
        Its place in the list, from 0.
    reason
        Short and countable: ``wrong_type_amount``.
    message
        What is wrong and what to do; quotes no value.
    """

    index: int
    reason: str
    message: str


@dataclass(frozen=True)
class Collected:
    """What became of a list of events.

    Attributes
    ----------
    accepted
        Events the stream holds now.
    rejected
        Events it does not, in order.
    erased
        Events of people who were erased: dropped.
    """

    accepted: int
    rejected: tuple[Rejected, ...]
    erased: int = 0


class _Ready(NamedTuple):
    place: int
    user_id: str | None
    message: Message


def listed(events: object) -> list[Any]:
    """Return events as a list, also where there is one.

    Raises
    ------
    DataError
        It is neither.
    """
    if isinstance(events, (Mapping, Record)):
        return [events]
    if isinstance(events, str | bytes) or not isinstance(events, Iterable):
        raise DataError("This is neither an event nor a list of events.", hint="track Event.purchase(...), or a list.")
    return list(events)


class Collector:
    """Takes events into the stream that some settings name. Threads may share one.

    Parameters
    ----------
    settings
        Name the home, whose key makes the pseudonyms, and the broker. It is connected to at the first event.
    clock
        Says when events arrive.
    standing
        Of a column of pseudonyms and NULLs: which are not of erased people; the home's tombstones say it if None.
    timeout_s
        For a list of events to be taken by Redis, with the second attempt.
    """

    def __init__(
        self, settings: Settings, clock: Clock, *, standing: Standing | None = None, timeout_s: float = 5.0
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._standing = standing or Tombstones(settings.home).standing
        self._timeout_s, self._deadline = timeout_s, Deadline()
        self._opening = Lock()
        self._channel: Channel | None = None
        self._pseudonym: Callable[[str], str] | None = None

    def collect(self, events: Said | Iterable[Said]) -> Collected:
        """Take events: one, or a list, of which a bad one does not keep the others out.

        Parameters
        ----------
        events
            Mappings with ``event_type`` and columns of that type, or instances of the classes of
            :mod:`events.schema`. ``user_id`` may be a raw id or a pseudonym. An event without ``event_id`` gets a
            random one: give it yours, if it may be sent twice. ``ingested_at`` is now, whatever was said; without a
            time of its own an event happened now.

        Raises
        ------
        DataError
            It is neither an event nor a list.
        BufferFullError
            The stream is at its bound. ``accepted`` counts the events, from the first on, that need not be sent
            again: they were taken, or dropped, or are among its ``rejected``. The others were not taken.
        StoreUnavailableError
            The broker does not answer; some events may have been taken.
        SettingsError
            The home's key or its tombstones cannot be read, or the stream has another number of partitions.
        """
        ready, rejected = self._checked(listed(events), self._clock.now_us())
        kept = self._without_erased(ready)
        self._send(kept, rejected)
        return Collected(len(kept), tuple(rejected), len(ready) - len(kept))

    def close(self) -> None:
        """Give the connections back; a later event opens new ones."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _checked(self, batch: Sequence[object], arrived: int) -> tuple[list[_Ready], list[Rejected]]:
        ready: list[_Ready] = []
        rejected: list[Rejected] = []
        people: dict[str, str] = {}
        partitions = self._settings.partitions
        for index, event in enumerate(batch):
            try:
                intake = check(event)
                user_id = self._person(intake, people)
            except RejectedError as error:
                rejected.append(Rejected(index, error.reason, error.message))
                continue
            row = _completed(intake.row, arrived)
            key = user_id or row.get(_SESSION_ID) or row[EVENT_ID]
            body = to_json(row)
            ready.append(_Ready(index, user_id, Message(intake.event_type, partition_of(key, partitions), body)))
        return ready, rejected

    def _person(self, intake: Intake, people: dict[str, str]) -> str | None:
        """Pseudonym of an event's shopper, also put into its row; each raw id of a list is hashed once."""
        given = intake.row.get(USER_ID)
        if given is None:
            return None
        found = people.get(given)
        if found is None:
            found = people[given] = given if is_pseudonym(given) else self._hashed(given)
        intake.row[USER_ID] = found
        return found

    def _hashed(self, raw_id: str) -> str:
        if self._pseudonym is None:
            self._pseudonym = load_pseudonymiser(self._settings.home).pseudonym
        return self._pseudonym(raw_id)

    def _without_erased(self, ready: list[_Ready]) -> list[_Ready]:
        if not ready:
            return ready
        users = pa.chunked_array([pa.array([each.user_id for each in ready], pa.string())])
        stands = pc.fill_null(self._standing(users), True).to_pylist()
        return [each for each, stays in zip(ready, stands, strict=True) if stays]

    def _send(self, ready: Sequence[_Ready], rejected: Sequence[Rejected]) -> None:
        if not ready:
            return
        messages = [each.message for each in ready]
        try:
            with self._deadline.within(self._timeout_s):
                self._attempt(messages)
        except BufferFullError as error:
            error.accepted = ready[error.accepted].place
            error.rejected = tuple(each for each in rejected if each.index < error.accepted)
            raise

    def _attempt(self, messages: Sequence[Message]) -> None:
        channel = self._opened()
        try:
            channel.send(messages)
        except BufferFullError:
            raise
        except StoreUnavailableError:
            # The broker may be elsewhere by now. Events carry ids, so what was taken already is not doubled.
            self._forget(channel)
            self._opened().send(messages)

    def _opened(self) -> Channel:
        if not self._opening.acquire(timeout=max(0.0, self._deadline.left_s)):
            raise StoreUnavailableError(
                f"The broker did not answer within {self._timeout_s:g} s.", hint="send the same events again."
            )
        try:
            if self._channel is None:
                self._channel = open_channel(self._settings, deadline=self._deadline)
            return self._channel
        finally:
            self._opening.release()

    def _forget(self, channel: Channel) -> None:
        with self._opening:
            if self._channel is channel:
                self._channel = None
        channel.close()


def _completed(row: dict[str, Any], arrived: int) -> dict[str, Any]:
    row[INGESTED_AT] = arrived
    if EVENT_ID not in row:
        row[EVENT_ID] = str(uuid.uuid4())
    if EVENT_TIMESTAMP not in row and CLIENT_TIMESTAMP not in row:
        row[EVENT_TIMESTAMP] = arrived
    return row
