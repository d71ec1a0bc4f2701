"""The append-only file is written anew while nothing happens, and not by the server in the middle of events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest

from feature_repo.core.clock import SystemClock
from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import connect_redis
from feature_repo.jobs import consume, services
from feature_repo.jobs.consuming import shortening
from feature_repo.jobs.features import apply


@pytest.fixture
def own(home: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A home with an embedded server of its own, in which little is worth its while."""
    monkeypatch.setattr(shortening, "WORTH", 1 << 20)
    settings = load_settings()
    services.up(settings, SystemClock())
    yield settings
    services.down(settings)


def overwrite(client: Any, megabytes: int) -> None:
    for _ in range(megabytes):
        client.set("state", b"x" * (1 << 20))


def size(client: Any) -> int:
    return int(client.info("persistence")["aof_current_size"])


def until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_was_overwritten_goes_and_what_is_short_stays(own: Settings) -> None:
    with connect_redis(own) as client:
        assert not shortening.shorten(client)
        overwrite(client, 5)
        assert shortening.shorten(client)
        until(lambda: size(client) < 2 << 20)
        until(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
        assert not shortening.shorten(client)
        assert client.get("state") == b"x" * (1 << 20)


def test_a_consumer_that_has_nothing_to_do_has_it_done_and_a_busy_one_does_not(own: Settings) -> None:
    apply()
    consumer = consume.Consumer(own, SystemClock())
    thread = Thread(target=consumer.run)
    with connect_redis(own) as client:
        overwrite(client, 5)
        consumer._idle = -10_000  # busy
        thread.start()
        try:
            until(lambda: client.hlen(consume.CONSUMERS))
            time.sleep(2)  # two beats
            assert size(client) > 5 << 20
            consumer._idle = 0
            until(lambda: size(client) < 2 << 20)
        finally:
            consumer.stop.set()
            thread.join()


def test_a_server_of_others_is_left_alone(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    apply()
    with connect_redis(own) as client:
        overwrite(client, 5)
        monkeypatch.setattr(consume, "_QUIET", 0)
        found = services.read_embedded(own)
        assert found is not None
        monkeypatch.setenv("PORTRAIT_REDIS_URL", found.url)
        consumer = consume.Consumer(load_settings(), SystemClock(), until_empty=True)
        consumer.run()
        assert size(client) > 5 << 20
