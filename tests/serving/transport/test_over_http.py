"""What only a client of a server meets: keys, connections that break, servers that are none."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest

from feature_repo.core.clock import FixedClock
from feature_repo.core.errors import (
    DeclarationError,
    RoleLackingError,
    SettingsError,
    StoreUnavailableError,
    TooManyRequestsError,
    UnknownKeyError,
)
from feature_repo.core.settings import Settings
from running_app import Running
from serving import AsyncProfileClient, ProfileClient
from serving.http.keys import ApiKeys

BUY = {"event_type": "purchase", "event_id": "a", "user_id": "ada", "amount": 3.49}
ONE = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"users":["u"]}'


@contextmanager
def server_of(*acts: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does one act with each connection, in order, when its request has come."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            for act in acts:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1 << 16)
                    act(connection)

        thread = Thread(target=run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def drop(_: socket.socket) -> None:
    """Close without a word."""


def say(answer: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(answer)


def dribble(connection: socket.socket) -> None:
    """A byte now and then, until the client has had enough."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    connection.settimeout(0.02)
    while True:
        try:
            connection.sendall(b" ")
            if not connection.recv(1):
                return
        except TimeoutError:
            continue
        except OSError:
            return


def asked(url: str, *, waited: bool, **options: Any) -> Any:
    """Ask for a pseudonym, in one way or the other."""
    if not waited:
        with ProfileClient(url=url, **options) as client:
            return client.key("2375")

    async def ask() -> str:
        async with AsyncProfileClient(url=url, **options) as client:
            return await client.key("2375")

    return asyncio.run(ask())


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def waited(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_a_question_is_asked_again_when_its_connection_breaks(waited: bool) -> None:
    with server_of(drop, say(ONE)) as url:
        assert asked(url, waited=waited) == "u"
    with server_of(drop, drop, say(ONE)) as url, pytest.raises(StoreUnavailableError, match="does not answer"):
        asked(url, waited=waited)
    with server_of(drop, drop, say(ONE)) as url:
        assert asked(url, waited=waited, retries=2) == "u"
    with server_of(drop, say(ONE)) as url, pytest.raises(StoreUnavailableError, match="does not answer"):
        asked(url, waited=waited, retries=0)


def test_an_answer_that_dribbles_does_not_outlast_the_deadline(waited: bool) -> None:
    with server_of(dribble) as url, pytest.raises(StoreUnavailableError, match=r"within 0\.3 s"):
        asked(url, waited=waited, timeout_s=0.3)


@pytest.mark.parametrize("answer", [b"<html>hello</html>", b"[]", b'{"error": 7}', b"{}", b""], ids=repr)
@pytest.mark.parametrize("status", ["502 Bad Gateway", "302 Found"])
def test_what_is_no_answer_of_portrait_is_told(waited: bool, status: str, answer: bytes) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
    with server_of(say(head + answer)) as url, pytest.raises(StoreUnavailableError, match="not as Portrait does"):
        asked(url, waited=waited)


@pytest.mark.parametrize("answer", [b"<html></html>", b"[]", b'{"hello": 1}', b'{"users": 7}'], ids=repr)
def test_an_answer_of_another_service_is_told(waited: bool, answer: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
    with server_of(say(head + answer)) as url, pytest.raises(StoreUnavailableError, match="not as Portrait does"):
        asked(url, waited=waited)


def test_keys_and_rates_are_told_as_the_errors_they_are(settings: Settings) -> None:
    keys = ApiKeys(settings.home)
    _, write = keys.make("shop", ["write"], FixedClock(7))
    running = Running(settings.model_copy(update={"rate_limit": 1.0}))
    url = str(running.http.base_url)
    try:
        with ProfileClient(url=url) as client, pytest.raises(UnknownKeyError, match="no key"):
            client.track(BUY)
        with ProfileClient(url=url, api_key=write) as client:
            with pytest.raises(RoleLackingError, match="may not read") as caught:
                client.profile("2375")
            assert write not in repr(caught.value) + repr(vars(client))
            assert client.track(BUY).accepted == 1
            with pytest.raises(TooManyRequestsError, match="More than 1 requests") as often:
                client.track(BUY)
            assert often.value.retry_after_s == 1.0
            client.close()
            assert client.health().keys() >= {"registry", "redis"}  # a closed client opens new connections
            client.close()
    finally:
        running.close()


def test_an_empty_home_is_told_by_its_server(settings: Settings) -> None:
    running = Running(settings)
    try:
        with ProfileClient(url=str(running.http.base_url)) as client, pytest.raises(DeclarationError, match="apply"):
            client.profile("2375")
    finally:
        running.close()


@pytest.mark.parametrize(
    "options",
    [
        {"url": "127.0.0.1:8000"},
        {"url": "ftp://profiles.shop"},
        {"url": "http://"},
        {"url": "http://[::1"},
        {"url": "http://profiles.shop", "api_key": "a\nb"},
        {"url": "http://profiles.shop", "api_key": " "},
        {"url": "http://profiles.shop", "timeout_s": 0},
        {"url": "http://profiles.shop", "timeout_s": float("nan")},
        {"url": "http://profiles.shop", "retries": -1},
        {"url": "http://profiles.shop", "clock": FixedClock(7)},
        {"api_key": "a key and no server"},
    ],
    ids=repr,
)
@pytest.mark.parametrize("kind", [ProfileClient, AsyncProfileClient])
def test_what_cannot_be_asked_is_told_at_once(kind: Any, options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as caught:
        kind(**options)
    assert caught.value.hint


def test_without_the_extra_the_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "serving.over_http", raising=False)
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(SettingsError, match=r"httpx") as caught:
        ProfileClient(url="http://profiles.shop")
    assert "user-portrait[client]" in caught.value.hint
