"""A shop of a test's own, with a server of its own, and a sender that goes on beside what is tested."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from feature_repo.core.clock import SystemClock
from feature_repo.core.errors import BufferFullError, StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_redis, read_embedded
from feature_repo.events.door import admit
from feature_repo.events.schema import arrow_schema
from feature_repo.events.stream.channel import Channel, Message
from feature_repo.events.stream.open import open_channel
from feature_repo.events.stream.redis_keys import READERS
from feature_repo.jobs import services
from feature_repo.jobs.consume import Consumer
from feature_repo.jobs.consuming.meter import Reading
from feature_repo.jobs.features import apply
from feature_repo.jobs.materialize import materialize
from mortal_consumers import context
from shop_stream import Traffic


@contextmanager
def opened(settings: Settings) -> Iterator[Settings]:
    """The home with its declarations applied, its states built and its server running."""
    services.up(settings, SystemClock())
    apply()
    materialize(settings, SystemClock())
    try:
        yield settings
    finally:
        services.down(settings)


def kill_redis(settings: Settings) -> None:
    """Kill the home's server with SIGKILL."""
    server = read_embedded(settings)
    assert server is not None
    os.kill(server.pid, signal.SIGKILL)


def end_leases(settings: Settings) -> None:
    """Do at once what their time to live does within five seconds."""
    with connect_redis(settings) as client:
        names: Any = client.keys("portrait:lease:*")
        client.delete(READERS, *names)


def consume_all(settings: Settings) -> Reading:
    """One undisturbed run until nothing is left."""
    return Consumer(settings, SystemClock(), until_empty=True).run()


@dataclass
class Sender:
    """Sends batches of traffic again and again, and what was not taken once more.

    Attributes
    ----------
    again
        How often it sent messages that may have been taken.
    """

    settings: Settings
    traffic: Traffic
    size: int = 100
    every_s: float = 0.1
    again: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _failed: BaseException | None = None

    @contextmanager
    def sending(self) -> Iterator[Sender]:
        """Send until the end of the block, then what is held back."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()
        if self._failed is not None:
            raise self._failed
        self._send(self.traffic.rest())

    def rows(self, size: int) -> tuple[str, list[dict[str, Any]]]:
        """Return rows for an import, of which some are sent too."""
        with self._lock:
            return self.traffic.rows(size, SystemClock().now_us())

    def _run(self) -> None:
        try:
            due = time.monotonic()
            while not self._stop.wait(max(0.0, due - time.monotonic())):
                due = max(due + self.every_s, time.monotonic() - self.every_s)
                with self._lock:
                    batch = self.traffic.batch(self.size, SystemClock().now_us())
                self._send(batch)
        except BaseException as error:  # noqa: BLE001 - raised at the end of the block
            self._failed = error

    def _send(self, messages: list[Message]) -> None:
        channel: Channel | None = None
        while messages:
            try:
                channel = channel or open_channel(self.settings)
                channel.send(messages)
                messages = []
            except BufferFullError as full:
                messages = messages[full.accepted :]
            except StoreUnavailableError:
                self.again += 1
                channel = None
                self._stop.wait(0.05)
        with suppress(AttributeError):
            channel.close()  # type: ignore[union-attr]


@dataclass
class Importer:
    """Another process that imports rows, some of which are sent through the stream too."""

    settings: Settings
    sender: Sender
    every_s: float = 0.5
    imports: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def importing(self) -> Iterator[Importer]:
        """Import until the end of the block."""
        with ProcessPoolExecutor(1, mp_context=context()) as pool:
            thread = threading.Thread(target=self._run, args=(pool,))
            thread.start()
            try:
                yield self
            finally:
                self._stop.set()
                thread.join()

    def _run(self, pool: ProcessPoolExecutor) -> None:
        while not self._stop.wait(self.every_s):
            kind, rows = self.sender.rows(200)
            pool.submit(import_rows, self.settings.log_root, kind, rows).result()
            self.imports += 1


def import_rows(log_root: Path, kind: str, rows: list[dict[str, Any]]) -> None:
    """Import rows whose instants are microseconds."""
    schema = arrow_schema(kind)
    columns = {name: pa.array([row.get(name) for row in rows]) for name in schema.names if name in rows[0]}
    admit(
        log_root,
        kind,
        pa.table({name: each.cast(schema.field(name).type) for name, each in columns.items()}),
        source="import",
    )
