"""A server that is told to end answers what has begun first."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from rival_champions import Rivals, rivals
from serving.bench_load import Connection, post
from serving.bench_model import TASK
from serving.http.server import GRACE_S
from serving_process import Serving, serving, until

pytestmark = pytest.mark.slow(50)

HELD_BACK = 10  # bytes of a request's body


@pytest.fixture(scope="module")
def home() -> Iterator[Rivals]:
    with rivals() as found:
        yield found


def begun(server: Serving, request: bytes) -> Connection:
    """A request the server has begun to read, as its word to go on says; the end of its body is not sent."""
    connection = Connection(server.address)
    head, body = request.split(b"\r\n\r\n", 1)
    connection.send(head + b"\r\nExpect: 100-continue\r\n\r\n" + body[:-HELD_BACK])
    assert connection.answer() == (100, b"")
    return connection


def hung_up(connection: Connection) -> bool:
    with pytest.raises(ConnectionResetError):
        connection.answer()
    return True


@pytest.mark.parametrize("workers", [1, 2])
def test_requests_that_have_begun_are_answered_after_the_word_to_end(home: Rivals, workers: int) -> None:
    request = post("/v1/predict", {"task": TASK, "users": home.users[:50]})
    with serving(workers) as server, ExitStack() as stack:
        until(lambda: server.status("/readyz") == 200)
        idle = [stack.enter_context(closing(Connection(server.address))) for _ in range(4)]
        asked = [stack.enter_context(closing(begun(server, request))) for _ in range(8)]
        server.tell_to_end()
        assert all(hung_up(each) for each in idle)  # it has heard
        for each in asked:
            each.send(request[-HELD_BACK:])
        answers = [each.answer() for each in asked]
        assert server.process.wait(60) == 0
    assert {status for status, _ in answers} == {200}
    assert {len(json.loads(body)["scores"]) for _, body in answers} == {50}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_request_that_never_ends_keeps_the_server_no_longer_than_its_grace(home: Rivals, workers: int) -> None:
    request = post("/v1/predict", {"task": TASK, "users": home.users[:50]})
    with serving(workers) as server, closing(begun(server, request)) as asked:
        told = time.monotonic()
        server.tell_to_end()
        assert server.process.wait(60) == 0
        assert time.monotonic() - told >= GRACE_S
        with suppress(ConnectionResetError):
            assert asked.answer()[0] >= 500
