"""The stream of events in a Kafka topic: partitions of the topic are partitions of the stream.

An event is one record: value = JSON body, header ``type`` = event type, key = its partition as text. Readers are
members of the consumer group ``portrait``; what is acknowledged is the group's committed offset. A position is the
record's offset + 1, so that 0 is before all of them. Offsets of a topic that is deleted and made anew start again: an
app id names the topic by Kafka's id, and so does the metadata of every committed offset.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from feature_repo.core.clock import SECOND, Clock
from feature_repo.core.errors import BufferFullError, DataError, StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.events.stream.channel import Entries, Message
from feature_repo.events.stream.kafka_topic import Topic, TopicAdmin, client_configuration, kafka_answers, unavailable

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

Record: TypeAlias = Any  # confluent_kafka.Message: its methods are typed as if each record might lack everything

GROUP = "portrait"
TYPE_HEADER = "type"

_MILLISECOND = 1000
_STEP_S = 0.05
_RETRY_AFTER_S = 1.0


class KafkaChannel:
    """The writing end. Threads may share it.

    What bounds the topic is the retention the broker is set to, not ``settings.stream_limit``: full is the queue of
    this process, when the broker takes records more slowly than they are sent.

    Parameters
    ----------
    settings
        The topic is made with ``partitions`` if it is missing.
    timeout_s
        For the broker to confirm what is sent.
    queue
        Most records that wait in this process.

    Raises
    ------
    SettingsError
        The extra ``kafka`` is not installed, or the topic has another number of partitions than the settings say.
    StoreUnavailableError
        The broker does not answer.
    """

    def __init__(self, settings: Settings, *, timeout_s: float = 5.0, queue: int = 100_000) -> None:
        self._settings, self._timeout_s, self._queue = settings, timeout_s, queue
        self._admin = TopicAdmin(settings, timeout_s=timeout_s)
        self._topic: Topic = self._admin.ensure()
        self._producer: Producer | None = self._open()

    @property
    def partitions(self) -> int:
        """How many the topic has."""
        return self._topic.partitions

    def send(self, messages: Sequence[Message]) -> None:
        """Append messages; return when all in-sync replicas hold all of them.

        Raises
        ------
        BufferFullError
            No more fit this process's queue within the time-out; those ``accepted`` were confirmed.
        StoreUnavailableError
            Not all were confirmed in time, or one was refused.
        DataError
            One is larger than the broker takes; those before it were taken.
        """
        deadline = time.monotonic() + self._timeout_s
        if (producer := self._producer) is None:
            self._topic = self._admin.ensure()  # the broker was away, and may have come back without it
            producer = self._producer = self._open()
        sent = _Sent()
        try:
            queued = self._enqueue(producer, messages, sent, deadline)
        finally:
            self._settle(producer, sent)
        if queued < len(messages):
            raise BufferFullError(
                f"The queue before Kafka at {self._settings.kafka_bootstrap} is full with {self._queue} events.",
                accepted=queued,
                retry_after_s=_RETRY_AFTER_S,
                hint=f"send the others again in {_RETRY_AFTER_S:.0f} s, and in smaller batches.",
            )

    def close(self) -> None:
        """Give the connection back."""
        self._producer = None

    def _open(self) -> Producer:
        from confluent_kafka import Producer  # noqa: PLC0415

        wait_ms = int(self._timeout_s * 1000)
        return Producer(
            client_configuration(self._settings)
            | {
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 2,
                "delivery.timeout.ms": wait_ms,
                "request.timeout.ms": max(1, wait_ms - 10),
                "queue.buffering.max.messages": self._queue,
            }
        )

    def _enqueue(self, producer: Producer, messages: Sequence[Message], sent: _Sent, deadline: float) -> int:
        from confluent_kafka import KafkaException  # noqa: PLC0415

        try:
            for n, message in enumerate(messages):
                while not self._put(producer, message, sent):
                    if time.monotonic() > deadline:
                        return n
                    producer.poll(_STEP_S)
                sent.queued += 1
        except KafkaException as error:
            raise self._refused(error.args[0], len(messages[sent.queued].body)) from None
        return len(messages)

    def _put(self, producer: Producer, message: Message, sent: _Sent) -> bool:
        try:
            producer.produce(
                self._topic.name,
                value=message.body,
                key=str(message.partition),
                partition=message.partition,
                headers=[(TYPE_HEADER, message.event_type.encode())],
                on_delivery=sent.confirm,
            )
        except BufferError:
            return False
        return True

    def _refused(self, error: KafkaError, size: int) -> Exception:
        if error.code() == error.MSG_SIZE_TOO_LARGE:
            return DataError(
                f"An event of {size:,} bytes is larger than Kafka takes.", hint="shorten its texts, or send less."
            )
        self._producer = None
        return unavailable(self._settings, error.str())

    def _settle(self, producer: Producer, sent: _Sent) -> None:
        deadline = time.monotonic() + self._timeout_s + 1
        while sent.waiting and time.monotonic() < deadline:
            producer.poll(_STEP_S)
        if not sent.waiting and not sent.failure:
            return
        # One that has failed may be unusable for good, and must not deliver behind the caller's back.
        producer.purge()
        self._producer = None
        raise unavailable(self._settings, f"not all events were confirmed: {sent.failure or 'no answer'}")


class _Sent:
    """Records of one call of ``send`` on their way; what became of them is told to whichever thread asks next."""

    def __init__(self) -> None:
        self.queued = 0
        self.answers: list[KafkaError | None] = []

    @property
    def waiting(self) -> int:
        return self.queued - len(self.answers)

    @property
    def failure(self) -> str:
        return next((error.str() for error in self.answers if error is not None), "")

    def confirm(self, error: KafkaError | None, _record: Record) -> None:
        self.answers.append(error)


class KafkaReader:
    """The reading end: a member of the consumer group. One thread uses it.

    Partitions change hands while ``owned`` or ``read`` runs. A rebalance takes all of them from all members for a
    moment: what was read and not acknowledged comes again, also to the reader it was taken from.

    Parameters
    ----------
    settings
        See :class:`KafkaChannel`.
    clock
        Says when a record arrived that has no time of its own.
    name
        Of this process, as the broker's tools show it.
    timeout_s
        For each answer of the broker.

    Raises
    ------
    SettingsError
        The extra ``kafka`` is not installed, or the topic has another number of partitions than the settings say.
    StoreUnavailableError
        The broker does not answer.
    """

    def __init__(self, settings: Settings, clock: Clock, *, name: str, timeout_s: float = 5.0) -> None:
        self._settings, self._clock, self._timeout_s = settings, clock, timeout_s
        self._admin = TopicAdmin(settings, timeout_s=timeout_s)
        self._topic: Topic = self._admin.ensure()
        self._checked_at = clock.now_us()
        self._read: dict[int, int] = {}  # owned partition -> position of the last entry read
        self._acknowledged: dict[int, int] = {}
        self._ended: dict[int, int] = {}  # owned partition -> position behind its last entry, as a fetch found it
        self._waiting: list[Record] = []
        self._rebalances = 0
        self._joining = False
        self._failure = ""
        self._consumer: Consumer = self._join(name)
        self._asker: Consumer | None = None

    @property
    def partitions(self) -> int:
        """How many the topic has."""
        return self._topic.partitions

    def owned(self) -> frozenset[int]:
        """Partitions the group gives to this reader now.

        Raises
        ------
        StoreUnavailableError
            The broker does not answer, or the topic was made anew.
        """
        more = self._poll(1, 0.0)
        self._waiting += more  # behind the call: a rebalance in it empties the list
        if not 0 <= self._clock.now_us() - self._checked_at < SECOND:
            self._check_topic()
        return frozenset(self._read)

    def keep(self) -> None:
        """Nothing to do: the library tells the broker that this process lives, for five minutes without a poll."""

    def read(self, most: int, *, wait_s: float) -> list[Entries]:
        """Return up to ``most`` entries of owned partitions, behind the last ones read; wait for the first.

        Raises
        ------
        StoreUnavailableError
            The broker does not answer, or the topic was made anew. Go on with a new reader.
        """
        if not self._waiting:
            self._waiting = self._poll(1, wait_s)
        if len(self._waiting) < most:
            more = self._poll(most - len(self._waiting), 0.0)
            self._waiting += more
        records, self._waiting = self._waiting[:most], self._waiting[most:]
        by_partition: defaultdict[int, list[Record]] = defaultdict(list)
        for record in records:
            if not record.error():
                by_partition[record.partition()].append(record)
        entries = [self._entries(partition, found) for partition, found in sorted(by_partition.items())]
        # Behind the entries before them: whoever asks at the same time must not take those for read and done.
        self._ended |= {record.partition(): record.offset() for record in records if record.error()}
        return entries

    def acknowledge(self, upto: Mapping[int, int]) -> None:
        """Commit positions of partitions that are still owned; of others they are let go by their new owners.

        Raises
        ------
        StoreUnavailableError
            The broker does not answer.
        """
        risen = {p: n for p, n in upto.items() if p in self._read and n > self._acknowledged.get(p, 0)}
        if risen:
            self._commit([self._at(partition, position) for partition, position in risen.items()])
            self._acknowledged |= risen

    def lag(self) -> int:
        """Entries of owned partitions that were not acknowledged; of all partitions if none is owned.

        Raises
        ------
        StoreUnavailableError
            The broker does not answer.
        """
        self._check_broker()
        # The thread that reads may be given other partitions meanwhile.
        starts = {p: self._acknowledged.get(p, 0) for p in list(self._read)}
        with kafka_answers(self._settings):
            if not starts:
                everything = list(range(self._topic.partitions))
                starts = dict(zip(everything, self._starts(everything, self._asking()), strict=True))
            return sum(max(0, self._end(partition) - start) for partition, start in starts.items())

    def drained(self) -> bool:
        """Whether every partition was read to an end that a fetch found, and all of it acknowledged.

        Where a partition ends is not asked: some brokers tell where their last batch begins. What others own counts:
        a reader that died owns its partitions until the broker misses it. False if none is owned.

        Raises
        ------
        StoreUnavailableError
            The broker does not answer.
        """
        read = dict(self._read)
        done = (self._ended.get(p, -1) >= n and self._acknowledged.get(p, 0) >= n for p, n in read.items())
        return bool(read) and all(done) and self._nothing_waits([p for p in range(self.partitions) if p not in read])

    def _nothing_waits(self, partitions: Sequence[int]) -> bool:
        """Whether a fetch behind what the group acknowledged finds the end of each partition."""
        if not partitions:
            return True
        asker = self._asking()
        with kafka_answers(self._settings):
            starts = self._starts(partitions, asker)
            asker.assign([self._at(partition, start) for partition, start in zip(partitions, starts, strict=True)])
            try:
                found = asker.consume(len(partitions), timeout=self._timeout_s)
            finally:
                asker.unassign()
        return {each.partition() for each in found if _is_end(each)} == set(partitions)

    def close(self) -> None:
        """Leave the group, so that the others get the partitions at once."""
        # A member that leaves while it joins is waited for by some brokers, for long, and nobody reads meanwhile.
        deadline = time.monotonic() + self._timeout_s
        with contextlib.suppress(StoreUnavailableError):
            while self._joining and time.monotonic() < deadline:
                self._poll(1, _STEP_S)
        self._read, self._waiting = {}, []
        self._consumer.close()
        if self._asker is not None:
            self._asker.close()

    def _join(self, name: str) -> Consumer:
        from confluent_kafka import Consumer  # noqa: PLC0415

        consumer = Consumer(
            client_configuration(self._settings)
            | {
                "group.id": GROUP,
                "client.id": name,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "session.timeout.ms": 6000,
                "heartbeat.interval.ms": 1000,
                "fetch.wait.max.ms": 20,  # some brokers let a fetch that waits sleep on when a record comes
                "error_cb": self._note,
            }
        )
        consumer.subscribe([self._topic.name], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)
        return consumer

    def _assigned(self, consumer: Consumer, given: list[TopicPartition]) -> None:
        partitions = [each.partition for each in given]
        try:
            starts = self._starts(partitions, consumer)
        except Exception as error:  # noqa: BLE001 - the library would lose it: raised by the next read
            self._failure = str(error)
            return
        self._acknowledged = dict(zip(partitions, starts, strict=True))
        self._read, self._ended, self._waiting = dict(self._acknowledged), {}, []
        self._rebalances += 1
        self._joining = False
        self._go_on(consumer)

    def _revoked(self, _consumer: Consumer, _taken: list[TopicPartition]) -> None:
        self._read, self._ended, self._waiting = {}, {}, []
        self._rebalances += 1

    def _go_on(self, consumer: Consumer) -> None:
        consumer.assign([self._at(partition, position) for partition, position in self._read.items()])

    def _note(self, error: KafkaError) -> None:
        if error.code() == error._ALL_BROKERS_DOWN or error.fatal():  # noqa: SLF001 - the library's public name for it
            self._failure = error.str()

    def _poll(self, most: int, wait_s: float) -> list[Record]:
        before = self._rebalances
        self._joining = self._joining or not before
        with kafka_answers(self._settings):
            records = self._consumer.consume(most, timeout=wait_s)
            if self._rebalances != before:
                # Some may have been taken before the rebalance, and would be returned before those that come again.
                records = []
                self._go_on(self._consumer)
        self._failure = self._failure or next(filter(None, map(_failure, records)), "")
        self._check_broker()
        return records

    def _check_broker(self) -> None:
        if self._failure:
            raise unavailable(self._settings, self._failure)

    def _entries(self, partition: int, records: list[Record]) -> Entries:
        positions = np.array([record.offset() for record in records], np.int64) + 1
        if positions[0] <= self._read[partition]:
            raise self._made_anew()
        self._read[partition] = int(positions[-1])
        return Entries(
            partition=partition,
            app_id=f"{self._topic.incarnation}:{partition}",
            positions=positions,
            arrived=np.array([self._arrived(record.timestamp()) for record in records], np.int64),
            event_types=[_event_type(record.headers()) for record in records],
            bodies=[_bytes(record.value()) for record in records],
        )

    def _arrived(self, stamp: tuple[int, int]) -> int:
        kind, at_ms = stamp
        return at_ms * _MILLISECOND if kind else self._clock.now_us()

    def _asking(self) -> Consumer:
        """A consumer that is no member: while one joins, the broker answers nothing else on its connection."""
        if self._asker is None:
            from confluent_kafka import Consumer  # noqa: PLC0415

            facts = {"group.id": GROUP, "enable.auto.commit": False, "enable.partition.eof": True}
            self._asker = Consumer(client_configuration(self._settings) | facts)
        return self._asker

    def _starts(self, partitions: Sequence[int], consumer: Consumer) -> list[int]:
        """Positions acknowledged: 0 where the group has none of this incarnation of the topic."""
        asked = [self._at(partition) for partition in partitions]
        known = consumer.committed(asked, timeout=self._timeout_s)
        foreign = {None, "", self._topic.incarnation}  # tools that set offsets write no metadata
        return [max(0, each.offset) if each.metadata in foreign else 0 for each in known]

    def _end(self, partition: int) -> int:
        # Of owned partitions the last fetch says it too; brokers may tell only where the last batch begins.
        asked = self._at(partition)
        told = self._consumer.get_watermark_offsets(asked, timeout=self._timeout_s)
        fetched = self._consumer.get_watermark_offsets(asked, cached=True)
        return max(told[1] if told else 0, fetched[1] if fetched else 0, self._read.get(partition, 0))

    def _commit(self, offsets: list[TopicPartition]) -> None:
        from confluent_kafka import KafkaError, KafkaException  # noqa: PLC0415

        lost = {KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS}
        self._check_broker()
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() not in lost:  # lost: they come again, to whoever has them next
                raise unavailable(self._settings, error.args[0].str()) from None

    def _at(self, partition: int, offset: int = 0) -> TopicPartition:
        from confluent_kafka import TopicPartition  # noqa: PLC0415

        return TopicPartition(self._topic.name, partition, offset, self._topic.incarnation)

    def _check_topic(self) -> None:
        if self._admin.find().incarnation != self._topic.incarnation:
            raise self._made_anew()
        self._checked_at = self._clock.now_us()

    def _made_anew(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"Topic '{self._topic.name}' was deleted and made anew while it was read.",
            hint="go on with a new reader: it starts with the new topic's first event.",
        )


def _failure(record: Record) -> str:
    """What is wrong with a record; nothing with one that says where its partition ends."""
    return "" if record.error() is None or _is_end(record) else str(record.error().str())


def _is_end(record: Record) -> bool:
    error = record.error()
    return error is not None and error.code() == error._PARTITION_EOF  # noqa: SLF001 - as in `_note`


def _event_type(headers: Any) -> str:
    for name, value in headers or ():
        if name == TYPE_HEADER:
            return _bytes(value).decode("utf-8", "replace")
    return ""


def _bytes(value: bytes | str | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""
