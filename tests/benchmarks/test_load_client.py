"""The client of `bench serve`, and its comparison: what is wrong is no figure."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from feature_repo.core.errors import CheckFailedError
from serving.bench_load import Address, Connection, load, post
from serving.bench_serve import _compare


class Echo(BaseHTTPRequestHandler):
    """Answers with what was sent, and the status its path names."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(int(self.path[1:]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[Address]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield ("127.0.0.1", server.server_address[1])
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_connection_is_kept_for_the_next_request(address: Address) -> None:
    connection = Connection(address)
    assert connection.ask(post("/200", {"a": 1})) == (200, b'{"a": 1}')
    assert connection.ask(post("/503", [])) == (503, b"[]")
    connection.close()


def test_every_request_is_asked_once_however_many_connections(address: Address) -> None:
    found = load(address, [post("/200", [n]) for n in range(50)], connections=4)
    assert len(found.times) == 50
    assert 0 < max(found.times) <= found.wall
    assert found.per_s == 50 / found.wall


def test_an_answer_that_is_none_ends_the_bench(address: Address) -> None:
    with pytest.raises(CheckFailedError, match="answered 503"):
        load(address, [post("/200", []), post("/503", [])])


def test_a_server_that_hangs_up_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = Connection(listener.getsockname())
        listener.accept()[0].close()
        with pytest.raises(ConnectionResetError):
            connection.answer()
        connection.close()


def test_values_that_differ_in_the_tenth_digit_are_no_result() -> None:
    values = np.array([[1.0, np.nan], [3.0, 0.0]])
    _compare("feast serve", values, values.copy())
    with pytest.raises(CheckFailedError, match="feast serve and the SDK"):
        _compare("feast serve", values * (1 + 1e-10), values)
