"""Consumers as processes that can be killed at any instant, and that say until then what they are at.

A server process has imported everything once, and forks them: starting one takes a tenth of a second instead of ten.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

_IMPORTED = [
    "feature_repo.jobs.consume",
    "feature_repo.engine.online_store",
    "feature_repo.engine.offline_store",
    "feature_repo.events.stream.redis_channel",
    "feature_repo.events.stream.kafka_channel",
    "feature_repo.jobs.materialize",
    "confluent_kafka",
    "feast.infra.registry.registry",
    "feast.infra.provider",
    "feast.infra.passthrough_provider",
    "feast.stream_feature_view",
    "google.protobuf.json_format",
    "pyarrow.dataset",
    "pyarrow.json",
]

TAKING, ACKNOWLEDGED = "taking", "acknowledged"


def context() -> Any:
    """Return the context whose processes are forked by the server."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(_IMPORTED)
    return found


def chosen() -> dict[str, str]:
    """Return what the environment says of the home, for a process of the server's."""
    return {key: value for key, value in os.environ.items() if key.startswith("PORTRAIT_")}


def choose(environment: Mapping[str, str]) -> None:
    """Say that and nothing else of the home here: the server keeps what was said when the first test started it."""
    for key in chosen():
        del os.environ[key]
    os.environ.update(environment)


@dataclass
class MortalConsumer:
    """One consumer process; what it says it is at is known even after its death."""

    process: ForkServerProcess
    ear: Connection
    heard: list[str] = field(default_factory=list)

    @classmethod
    def start(cls, name: str, *, slow_s: float = 0.0) -> MortalConsumer:
        """Start one in the home and for the broker that the environment names; each batch takes it so long at least."""
        ear, mouth = context().Pipe(duplex=False)
        process = context().Process(target=_consume, args=(name, slow_s, chosen(), mouth), daemon=True)
        process.start()
        mouth.close()
        return cls(process, ear)

    @property
    def at(self) -> str:
        """What it is at; empty before its first batch."""
        self._listen(0)
        return self.heard[-1] if self.heard else ""

    def hears(self, word: str, within_s: float) -> bool:
        """Wait until it says a word that it has not said before, or is at its end."""
        seen = len(self.heard)
        while word not in self.heard[seen:]:
            if not self._listen(within_s):
                return False
        return True

    def kill(self) -> str:
        """Kill it with SIGKILL; return what it was at."""
        self.process.kill()
        self.process.join()
        return self.at

    def _listen(self, wait_s: float) -> bool:
        try:
            heard = self.ear.poll(wait_s)
            if heard:
                self.heard.append(self.ear.recv())
            while self.ear.poll(0):
                self.heard.append(self.ear.recv())
        except (EOFError, OSError):
            return False
        return heard


def _consume(name: str, slow_s: float, environment: Mapping[str, str], mouth: Connection) -> None:
    choose(environment)
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415 - by the server, once for all
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.jobs.consume import Consumer  # noqa: PLC0415

    class Told(Consumer):
        def _take(self, client: Any, reader: Any, pipeline: Any, batch: Any) -> bool:
            if batch.count:
                mouth.send(TAKING)
                time.sleep(slow_s)
            done = super()._take(client, reader, pipeline, batch)
            if batch.count:
                mouth.send(ACKNOWLEDGED)
            return done

    Told(load_settings(), SystemClock(), name=name).run()
