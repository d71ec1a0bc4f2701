"""The Kafka topic of the stream: made if it is missing, and told from one of the same name made anew."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feature_repo.core.errors import SettingsError, StoreUnavailableError
from feature_repo.core.settings import Settings

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

_NO_ID = "A" * 22  # sixteen zero bytes, as Kafka's base64 without padding
_PAUSE_S = 0.05


@dataclass(frozen=True)
class Topic:
    """A topic as the broker holds it now.

    Attributes
    ----------
    name
        As set.
    incarnation
        Kafka's id of the topic: one deleted and made anew under the same name has another.
    partitions
        How many it has.
    """

    name: str
    incarnation: str
    partitions: int


class TopicAdmin:
    """Asks the broker about the topic of the settings.

    Parameters
    ----------
    settings
        ``kafka_bootstrap``, ``kafka_topic`` and ``partitions`` are read.
    timeout_s
        For each question.

    Raises
    ------
    SettingsError
        The client library is not installed, or no server is named.
    """

    def __init__(self, settings: Settings, *, timeout_s: float) -> None:
        self._settings, self._timeout_s = settings, timeout_s
        configuration = client_configuration(settings)
        from confluent_kafka.admin import AdminClient  # noqa: PLC0415

        self._admin: AdminClient = AdminClient(configuration)

    def ensure(self) -> Topic:
        """Return the topic; make it with ``settings.partitions`` if there is none.

        Raises
        ------
        SettingsError
            The topic has another number of partitions.
        StoreUnavailableError
            The broker does not answer, refuses to make the topic, or gives topics no ids.
        """
        deadline = time.monotonic() + self._timeout_s
        with kafka_answers(self._settings):
            found = self._look()
            if found is None:
                self._create()
            while found is None and time.monotonic() < deadline:
                # A broker may need a moment to tell of a topic it has made.
                self._admin.poll(_PAUSE_S)
                found = self._look()
        found = found or self._missing()
        if found.partitions != self._settings.partitions:
            raise SettingsError(
                f"PORTRAIT_PARTITIONS is {self._settings.partitions}, and Kafka's topic '{found.name}' has "
                f"{found.partitions} partitions.",
                hint=f"set PORTRAIT_PARTITIONS={found.partitions}: a shopper's events would change places midway.",
            )
        return found

    def find(self) -> Topic:
        """Return the topic.

        Raises
        ------
        StoreUnavailableError
            The broker does not answer, or the topic is gone.
        """
        with kafka_answers(self._settings):
            found = self._look()
        return found or self._missing()

    def _look(self) -> Topic | None:
        from confluent_kafka import KafkaError, KafkaException, TopicCollection  # noqa: PLC0415

        name = self._settings.kafka_topic
        asked = self._admin.describe_topics(TopicCollection([name]), request_timeout=self._timeout_s)
        try:
            found: Any = asked[name].result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise
        incarnation = str(found.topic_id or "")
        if incarnation in {"", _NO_ID}:
            raise StoreUnavailableError(
                f"Kafka at {self._settings.kafka_bootstrap} gives its topics no ids, so a topic made anew would go "
                "unnoticed and its events be taken for known ones.",
                hint="use a broker of Kafka's protocol 2.8 or newer.",
            )
        return Topic(name, incarnation, len(found.partitions))

    def _create(self) -> None:
        from confluent_kafka import KafkaError, KafkaException  # noqa: PLC0415
        from confluent_kafka.cimpl import NewTopic  # noqa: PLC0415 - where the type checker finds it

        name = self._settings.kafka_topic
        # Without a replication factor the broker's own default holds.
        wanted = NewTopic(name, num_partitions=self._settings.partitions)
        try:
            self._admin.create_topics([wanted], request_timeout=self._timeout_s)[name].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def _missing(self) -> Topic:
        raise StoreUnavailableError(
            f"Kafka at {self._settings.kafka_bootstrap} has no topic '{self._settings.kafka_topic}'.",
            hint="run the command again to make it, or set PORTRAIT_KAFKA_TOPIC to one that is there.",
        )


def client_configuration(settings: Settings) -> dict[str, Any]:
    """Return what every client of the broker is set to.

    Raises
    ------
    SettingsError
        The client library is not installed, or no server is named.
    """
    try:
        import confluent_kafka  # noqa: F401, PLC0415
    except ImportError:
        raise SettingsError(
            "PORTRAIT_KAFKA_BOOTSTRAP is set, and the library that speaks to Kafka is not installed.",
            hint="run `pip install 'user-portrait[kafka]'`, or unset it to stream through Redis.",
        ) from None
    if not settings.kafka_bootstrap:
        raise SettingsError("No Kafka server is named.", hint="set PORTRAIT_KAFKA_BOOTSTRAP=host:port[,host:port].")
    # What the library would write on stderr by itself comes back to the caller as an error.
    return {"bootstrap.servers": settings.kafka_bootstrap, "log_level": 2, "socket.timeout.ms": 5000}


@contextmanager
def kafka_answers(settings: Settings) -> Iterator[None]:
    """Turn what the client library raises into an error that says what to do."""
    from confluent_kafka import KafkaException  # noqa: PLC0415

    try:
        yield
    except KafkaException as error:
        raise unavailable(settings, str(error.args[0].str())) from None


def unavailable(settings: Settings, why: str) -> StoreUnavailableError:
    """Return the error of a broker that does not answer, or not as it should."""
    return StoreUnavailableError(
        f"Kafka at {settings.kafka_bootstrap}, topic '{settings.kafka_topic}': {why}.",
        hint="check that it runs and can be reached (PORTRAIT_KAFKA_BOOTSTRAP), then run the same again; it goes on "
        "where it stopped.",
    )
