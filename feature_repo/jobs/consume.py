"""Follow the stream: commit what arrives to the log, fold it into Redis, acknowledge; until told to stop.

One process or many. What a process owns of the stream it holds by leases, and it may die at any instant: an entry is
acknowledged after it is in the log and folded, the log takes an entry once, and a state takes a commit once.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from threading import Event
from typing import Any

import redis

from feature_repo.core.clock import SECOND, Clock
from feature_repo.core.errors import CommitConflictError, FencedError, LogError, StoreUnavailableError
from feature_repo.core.fences import folding_client
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.events.stream.channel import Reader
from feature_repo.events.stream.open import open_reader
from feature_repo.events.stream_table import StreamTable
from feature_repo.jobs.consuming.keeping import keeping
from feature_repo.jobs.consuming.meter import Meter, Reading
from feature_repo.jobs.consuming.pipeline import Intake, Pipeline
from feature_repo.jobs.consuming.shortening import shorten
from feature_repo.jobs.consuming.views import Views
from feature_repo.privacy.tombstones import Tombstones

CONSUMERS = "portrait:consumers"

# At most so many entries are one micro-batch. A batch begins at least so long after the one before, unless that was
# full: about ten commits a second keep what is read fresh, and the log's files few.
ENTRIES = 20_000
PACE_US = 80_000
_WAIT_S = 0.05
_HEARTBEAT_US = SECOND
_RETRY_S = 1.0
# So many reads that found nothing say that nothing waits.
_IDLE = 3
# So many say that it has been quiet for seconds, and something else may be done.
_QUIET = 40

_log = logging.getLogger("portrait")

Progress = Callable[[Reading], None]


@dataclass
class Consumer:
    """One consuming process.

    Parameters
    ----------
    settings, clock
        Of the home whose log is written.
    stop
        Set from a signal handler: the batch under way is finished, then everything owned is given up.
    until_empty
        Stop when nothing waits in the stream, and what others committed is folded.
    progress
        Told about once a second.
    """

    settings: Settings
    clock: Clock
    stop: Event = field(default_factory=Event)
    until_empty: bool = False
    progress: Progress = lambda _: None
    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}")

    def __post_init__(self) -> None:
        self._views = Views(self.settings)
        self._tombstones = Tombstones(self.settings.home)
        self._tables: dict[str, StreamTable] = {}
        self._meter = Meter(self.clock.now_us())
        self._beaten = 0
        self._due = 0
        self._idle = 0
        self._worked = False
        self._lag = 0

    def run(self) -> Reading:
        """Consume until stopped; return what was done.

        Redis or the broker may go away and come back, and people may be erased: then everything starts again from what
        is there.

        Raises
        ------
        StoreUnavailableError
            Redis or the broker cannot be used at the start; with ``until_empty``, later too.
        LogError
            A table of the log is damaged.
        """
        with _few_collections():
            while not self.stop.is_set():
                erased = self._tombstones.count
                try:
                    self._session()
                    break
                except FencedError as error:
                    _log.info("The consumer starts again: %s", error.what)
                except (StoreUnavailableError, CommitConflictError, redis.RedisError) as error:
                    if self.until_empty or not self._worked:
                        raise
                    _log.warning("The consumer starts again: %s", error)
                    self.stop.wait(_RETRY_S)
                except LogError:
                    if self._tombstones.count == erased:
                        raise  # else an erasure replaced files that were listed, and not read yet
        return self._meter.read(self.clock.now_us(), self._lag)

    def _session(self) -> None:
        """Consume on one connection, until stopped or all is done."""
        self._views.refresh()
        with ExitStack() as stack:
            client = stack.enter_context(folding_client(self.settings))
            connection = stack.enter_context(closing(connect_duckdb(self.settings)))
            reader = stack.enter_context(closing(open_reader(self.settings, self.clock, name=self.name)))
            stack.enter_context(keeping(reader))
            pipeline = Pipeline(
                self.settings,
                self.clock,
                connection=connection,
                client=client,
                views=self._views,
                tables=self._tables,
                partitions=reader.partitions,
                meter=self._meter,
            )
            stack.enter_context(closing(pipeline))
            stack.callback(_quietly, client.hdel, CONSUMERS, self.name)
            # What comes next is read while this is folded. The pool ends first: then nobody reads any more.
            intake = stack.enter_context(ThreadPoolExecutor(1))
            coming = intake.submit(self._read, reader)
            while True:
                batch = coming.result()
                if self.stop.is_set():
                    return
                coming = intake.submit(self._read, reader)
                self._take(client, reader, pipeline, batch)
                if self.until_empty and self._idle >= _IDLE and reader.drained():
                    self._lag = 0
                    return

    def _read(self, reader: Reader) -> Intake:
        """Wait until the next batch is due, and read it."""
        left = self._due - self.clock.now_us()
        if left > 0:
            self.stop.wait(left / SECOND)
        began = self.clock.now_us()
        batch = Intake.of(reader, most=ENTRIES, wait_s=_WAIT_S)
        self._due = began + (PACE_US if batch.count < ENTRIES // 2 else 0)
        return batch

    def _take(self, client: Any, reader: Reader, pipeline: Pipeline, batch: Intake) -> None:
        """Commit and fold a batch, and what others have committed."""
        if batch.count:
            reader.acknowledge(pipeline.take(batch))
        else:
            pipeline.follow(batch.owned)
        self._worked = True
        # A broker may take seconds to say what is owned, and a read to see what waits.
        self._idle = 0 if batch.count or not batch.owned else self._idle + 1
        self._beat(client, reader, pipeline, batch.owned)

    def _beat(self, client: Any, reader: Reader, pipeline: Pipeline, owned: frozenset[int]) -> None:
        """Say once a second what is known: to whoever watches, and to who waits for erased shoppers to be kept out."""
        now = self.clock.now_us()
        if now - self._beaten < _HEARTBEAT_US:
            return
        self._beaten = now
        self._lag = reader.lag()
        self._views.refresh()
        reading = self._meter.read(now, self._lag)
        said = {
            "at_us": now,
            "seen_tombstones": pipeline.seen_tombstones,
            "partitions": sorted(owned),
            "reading": asdict(reading),
        }
        client.hset(CONSUMERS, self.name, json.dumps(said))
        if self._idle >= _QUIET and not self.settings.redis_url:
            shorten(client)
        self.progress(reading)


def _quietly(work: Callable[..., object], *arguments: object) -> None:
    with suppress(redis.RedisError, StoreUnavailableError):
        work(*arguments)


@contextmanager
def _few_collections() -> Iterator[None]:
    """Keep Python from looking through all that was imported, 50 ms long, in the middle of a batch."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
