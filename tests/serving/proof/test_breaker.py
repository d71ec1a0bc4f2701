"""A Redis that does not answer is not waited for again and again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feature_repo.core.clock import SystemClock
from feature_repo.core.errors import DataError, StoreUnavailableError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.jobs import services
from hung_redis import paused
from own_shops import kill_redis
from serving.breaker import Breaker
from serving.session import RedisSession


class Hands:
    """A clock that is set."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def server(home: Path) -> Iterator[Settings]:
    settings = load_settings()
    services.up(settings, SystemClock())
    yield settings
    services.down(settings)


class Question:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, client: Any) -> bool:
        self.asked += 1
        return bool(client.ping())


def test_a_paused_redis_is_left_alone_after_three_questions_and_found_again(server: Settings) -> None:
    now, question = Hands(), Question()
    session = RedisSession(server, timeout_s=0.1, breaker=Breaker(now=now))
    assert session.ask(question)
    with paused(server):
        for _ in range(6):
            with pytest.raises(StoreUnavailableError):
                session.ask(question)
        # The first connection broke; new ones were not answered, so that nothing was asked over them.
        assert question.asked == 2
        with pytest.raises(StoreUnavailableError, match="left alone for a moment"):
            session.ask(question)
    with pytest.raises(StoreUnavailableError, match="left alone for a moment"):
        session.ask(question)
    now.at = 1.0
    assert session.ask(question)
    assert session.ask(question)
    session.close()


def test_a_killed_redis_is_found_again_where_it_starts(server: Settings) -> None:
    now, question = Hands(), Question()
    session = RedisSession(server, timeout_s=2.0, breaker=Breaker(now=now))
    assert session.ask(question)
    kill_redis(server)
    for _ in range(4):
        with pytest.raises(StoreUnavailableError):
            session.ask(question)
    services.up(server, SystemClock())
    with pytest.raises(StoreUnavailableError, match="left alone for a moment"):
        session.ask(question)
    now.at = 1.0
    assert session.ask(question)
    session.close()


def test_one_question_at_a_time_tries_a_server_that_did_not_answer() -> None:
    now = Hands()
    breaker = Breaker(failures=2, open_s=5.0, now=now)
    breaker.failed()
    assert breaker.admits()
    breaker.failed()
    assert not breaker.admits()
    now.at = 5.0
    assert [breaker.admits(), breaker.admits()] == [True, False]
    breaker.failed()
    now.at = 9.9
    assert not breaker.admits()
    now.at = 10.0
    assert breaker.admits()
    breaker.succeeded()
    assert [breaker.admits(), breaker.admits()] == [True, True]


def test_failures_with_an_answer_between_them_do_not_open_it() -> None:
    breaker = Breaker(failures=2, now=Hands())
    for _ in range(3):
        breaker.failed()
        breaker.succeeded()
    assert breaker.admits()


def test_a_question_that_is_wrong_is_no_failure_of_redis(server: Settings) -> None:
    session = RedisSession(server, timeout_s=2.0, breaker=Breaker(failures=1, now=Hands()))

    def wrong(_: Any) -> bool:
        raise DataError("no such thing")

    def refused(client: Any) -> bool:
        client.set("text", "x")
        return bool(client.hget("text", "field"))

    for question, kind in ((wrong, DataError), (refused, StoreUnavailableError)):
        with pytest.raises(kind):
            session.ask(question)
    assert session.ask(Question())
    session.close()
