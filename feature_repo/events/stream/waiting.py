"""What waits in the stream, asked from outside: nothing is read, claimed or made by asking Redis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from feature_repo.core.settings import Settings
from feature_repo.core.stores import redis_answers
from feature_repo.events.stream.redis_keys import ACKNOWLEDGED, FACTS

_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Partition:
    """One partition of the stream.

    Attributes
    ----------
    partition
        Partition.
    waiting
        Entries that were not acknowledged.
    acknowledged
        The last entry that was, as the broker names it; None if none ever was.
    oldest_us
        When the oldest waiting entry arrived (microseconds); None if none waits, or the broker is not asked for it.
    """

    partition: int
    waiting: int
    acknowledged: str | None
    oldest_us: int | None


@dataclass(frozen=True)
class Waiting:
    """What waits in the stream.

    Attributes
    ----------
    broker
        ``redis`` or ``kafka``.
    partitions
        Each partition; none before the first event.
    bound
        How many entries may wait in all; None where the broker's retention bounds the stream.
    """

    broker: str
    partitions: tuple[Partition, ...]
    bound: int | None


def waiting(settings: Settings, client: Any) -> Waiting:
    """Ask the broker that some settings name.

    Parameters
    ----------
    client
        Of Redis; used where the stream is there.

    Raises
    ------
    StoreUnavailableError
        The broker does not answer.
    """
    return _kafka(settings) if settings.kafka_bootstrap else _redis(settings, client)


def _redis(settings: Settings, client: Any) -> Waiting:
    with redis_answers():
        partitions = range(int(client.hget(FACTS, "partitions") or 0))
        acknowledged = {int(p): at.decode() for p, at in client.hgetall(ACKNOWLEDGED).items()}
        with client.pipeline(transaction=False) as pipeline:
            for partition in partitions:
                pipeline.xlen(f"{FACTS}:{partition}")
                pipeline.xrange(f"{FACTS}:{partition}", count=1)
            replies = pipeline.execute()
    found = (
        Partition(partition, replies[2 * partition], acknowledged.get(partition), _arrival(replies[2 * partition + 1]))
        for partition in partitions
    )
    return Waiting("redis", tuple(found), settings.stream_limit)


def _arrival(first: list[tuple[bytes, Any]]) -> int | None:
    return int(first[0][0].split(b"-")[0]) * 1_000 if first else None


def _kafka(settings: Settings) -> Waiting:
    """Ends as the broker names them: one that names only where the last batch begins (Tansu) hides the rest of it."""
    from feature_repo.events.stream.kafka_channel import GROUP  # noqa: PLC0415
    from feature_repo.events.stream.kafka_topic import (  # noqa: PLC0415
        TopicAdmin,
        client_configuration,
        kafka_answers,
    )

    topic = TopicAdmin(settings, timeout_s=_TIMEOUT_S).ensure()
    from confluent_kafka import Consumer, TopicPartition  # noqa: PLC0415

    # It asks for the group's offsets and subscribes to nothing, so the group does not notice.
    asking = Consumer(client_configuration(settings) | {"group.id": GROUP, "enable.auto.commit": False})
    try:
        with kafka_answers(settings):
            asked = [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
            committed = asking.committed(asked, timeout=_TIMEOUT_S)
            ends = [asking.get_watermark_offsets(each, timeout=_TIMEOUT_S) for each in asked]
    finally:
        asking.close()
    # Offsets of a topic that was deleted and made anew are of no use; tools that set offsets write no metadata.
    known = [each.offset if each.metadata in {None, "", topic.incarnation} else -1 for each in committed]
    found = (
        Partition(partition, max(0, end - max(start, low)), None if start < 0 else str(start), None)
        for partition, (start, (low, end)) in enumerate(zip(known, ends, strict=True))
    )
    return Waiting("kafka", tuple(found), None)
