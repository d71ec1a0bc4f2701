"""The stream of events that some settings name: Kafka where its servers are set, Redis Streams otherwise."""

from __future__ import annotations

from importlib import import_module

from feature_repo.core.clock import Clock
from feature_repo.core.deadlines import Deadline
from feature_repo.core.settings import Settings
from feature_repo.events.stream.channel import Channel, Reader

# By name: the extra `kafka` is needed only where Kafka is.
_KAFKA = "feature_repo.events.stream.kafka_channel"


def open_channel(settings: Settings, *, deadline: Deadline | None = None) -> Channel:
    """Open the writing end.

    Parameters
    ----------
    deadline
        Of what is sent: Redis is not waited for any longer. Kafka's client has time-outs of its own.

    Raises
    ------
    StoreUnavailableError
        The broker does not answer.
    SettingsError
        The stream has another number of partitions than ``PORTRAIT_PARTITIONS`` says.
    """
    if settings.kafka_bootstrap:
        channel: Channel = import_module(_KAFKA).KafkaChannel(settings)
        return channel
    from feature_repo.events.stream.redis_channel import RedisChannel  # noqa: PLC0415

    return RedisChannel(settings, deadline=deadline)


def open_reader(settings: Settings, clock: Clock, *, name: str) -> Reader:
    """Open a reading end of a consumer process; ``name`` says which, to those who look at the broker.

    Raises
    ------
    StoreUnavailableError
        The broker does not answer.
    SettingsError
        The stream has another number of partitions than ``PORTRAIT_PARTITIONS`` says.
    """
    if settings.kafka_bootstrap:
        reader: Reader = import_module(_KAFKA).KafkaReader(settings, clock, name=name)
        return reader
    from feature_repo.events.stream.redis_channel import RedisReader  # noqa: PLC0415

    return RedisReader(settings, name=name)
