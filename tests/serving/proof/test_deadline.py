"""However Redis fails to answer, a question ends at its deadline."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from feature_repo.core.clock import SystemClock
from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.events.stream.collector import Collector
from feature_repo.jobs import services
from hung_redis import Hung, paused
from serving.breaker import Breaker
from serving.session import RedisSession

TIMEOUT_S = 1.5
# Two cores, shared: what is to be told apart is one time-out from two.
SLACK_S = 1.2


@contextmanager
def in_time() -> Iterator[None]:
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        yield
    assert time.monotonic() - began < TIMEOUT_S + SLACK_S


def session_of(settings: Settings) -> RedisSession:
    """One whose breaker never opens: each question is asked."""
    return RedisSession(settings, timeout_s=TIMEOUT_S, breaker=Breaker(failures=10**9))


def ping(client: Any) -> bool:
    return bool(client.ping())


@pytest.fixture
def server(home: Path) -> Iterator[Settings]:
    settings = load_settings()
    services.up(settings, SystemClock())
    yield settings
    services.down(settings)


@pytest.fixture
def hung() -> Iterator[Hung]:
    with Hung() as found:
        yield found


def test_a_server_that_takes_connections_and_says_nothing_is_waited_for_once(home: Path, hung: Hung) -> None:
    session = session_of(load_settings(redis_url=hung.url))
    for _ in range(2):
        with in_time():
            session.ask(ping)
    session.close()


def test_a_server_that_says_a_little_at_a_time_is_waited_for_once(home: Path) -> None:
    with Hung(every_s=TIMEOUT_S / 5) as trickling:
        session = session_of(load_settings(redis_url=trickling.url))
        with in_time():
            session.ask(ping)
        session.close()


def test_a_server_that_stops_in_the_middle_is_waited_for_once(server: Settings) -> None:
    session = session_of(server)
    assert session.ask(ping)

    def slow(client: Any) -> bool:
        with paused(server):
            return ping(client)

    for _ in range(2):
        with in_time():
            session.ask(slow)
    assert session.ask(ping)
    session.close()


def test_replies_that_each_come_in_time_end_at_the_deadline(server: Settings) -> None:
    session = session_of(server)

    def many(client: Any) -> None:
        for _ in range(1_000):
            client.eval(f"local t = 0; while t < {WORK} do t = t + 1 end return t", 0)

    with in_time():
        session.ask(many)
    session.close()


WORK = 10_000_000  # a tenth of a second and more


def test_questions_asked_together_have_the_time_of_one(home: Path, hung: Hung) -> None:
    session = session_of(load_settings(redis_url=hung.url))

    def both() -> None:
        with session.together():
            with pytest.raises(StoreUnavailableError):
                session.ask(ping)
            session.ask(ping)

    with in_time():
        both()
    session.close()


def test_what_is_done_aside_takes_no_time_of_the_question(server: Settings) -> None:
    session = session_of(server)

    def load() -> None:
        until = time.monotonic() + TIMEOUT_S
        while time.monotonic() < until:
            pass

    with session.together():
        with session.aside():
            load()
        assert session.ask(ping)
    with session.together():
        load()
        with pytest.raises(StoreUnavailableError):
            session.ask(ping)
    session.close()


def test_threads_that_wait_for_the_same_connection_end_at_their_own_deadlines(home: Path, hung: Hung) -> None:
    session = session_of(load_settings(redis_url=hung.url))
    took: list[float] = []

    def ask() -> None:
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            session.ask(ping)
        took.append(time.monotonic() - began)

    run([ask] * 4)
    assert len(took) == 4
    assert max(took) < TIMEOUT_S + SLACK_S
    session.close()


def test_events_are_refused_at_the_deadline(home: Path, hung: Hung) -> None:
    settings = load_settings(redis_url=hung.url)
    collector = Collector(settings, SystemClock(), timeout_s=TIMEOUT_S)
    event = {"event_type": "purchase", "user_id": "ada", "amount": 1.0}
    for _ in range(2):
        with in_time():
            collector.collect(event)
    collector.close()


def test_events_are_refused_at_the_deadline_when_the_server_stops_meanwhile(server: Settings) -> None:
    collector = Collector(server, SystemClock(), timeout_s=TIMEOUT_S)
    event = {"event_type": "purchase", "user_id": "ada", "amount": 1.0}
    assert collector.collect(event).accepted == 1
    with paused(server):
        for _ in range(2):
            with in_time():
                collector.collect(event)
    assert collector.collect(event).accepted == 1
    collector.close()


def run(tasks: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=each) for each in tasks]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def test_a_port_that_drops_what_is_sent_is_waited_for_once(home: Path) -> None:
    # A listener whose queue is full: connections are not taken.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        held = [socket.socket() for _ in range(3)]
        for each in held:
            each.setblocking(False)
            each.connect_ex(address)
        session = session_of(load_settings(redis_url=f"redis://127.0.0.1:{address[1]}/0"))
        with in_time():
            session.ask(ping)
        session.close()
        for each in held:
            each.close()
