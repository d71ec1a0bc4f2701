"""A line for each request and happening, of which none holds what a request said."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from feature_repo.core.clock import SystemClock
from feature_repo.core.settings import Settings
from hung_redis import paused
from serving.http.keys import READ, WRITE, ApiKeys
from serving.http.logs import Lines

# Raw ids as shops have them; each is said somewhere a log may take it from.
IDS = ["2375", "ada@example.com", "0044-7700-900123", "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "张三丰", "RAW-41-ID"]


class Server:
    """``portrait serve --log-format``, in a process of its own, which writes to a file."""

    def __init__(self, folder: Path, how: str, *, key: str) -> None:
        self.path = folder / f"log.{how}"
        command = [sys.executable, "-m", "feature_repo.cli", "serve", "--port", "0", "--json", "--log-format", how]
        with self.path.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout
        port = json.loads(self.process.stdout.readline())["port"]
        headers = {"Authorization": f"Bearer {key}"}
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, headers=headers)
        until(lambda: self.status("/readyz") == 200)

    def status(self, path: str) -> int:
        try:
            return self.http.get(path).status_code
        except httpx.TransportError:
            return 0

    def end(self) -> str:
        """End it; everything it wrote."""
        self.http.close()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0
        assert self.process.stdout
        self.process.stdout.close()
        return self.path.read_text("utf-8")


def until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def asked(http: httpx.Client) -> Iterator[httpx.Response]:
    """Requests of all kinds, good and bad, that say raw ids wherever a request can."""
    for each in IDS:
        said = {"X-Request-Id": f"{each}".encode().hex(), "User-Agent": each.encode("utf-8"), "Cookie": "id=2375"}
        yield http.post("/v1/predict", json={"task": "redemption", "users": [each]}, headers=said)
        yield http.post("/v1/predict", json={"task": each, "users": [each]})
        yield http.post("/v1/features", json={"users": [each], "service": each})
        yield http.post("/v1/features", json={"users": [each, None]})
        yield http.post("/v1/profiles", json={"users": [each]})
        yield http.post("/v1/explain", json={"task": "redemption", "user": each})
        yield http.post("/v1/variants", json={"users": [each], "experiment": each})
        yield http.post("/v1/events", json={"events": [{"event_type": "purchase", "user_id": each, "amount": each}]})
        yield http.post("/v1/predict", content=b'{"users": ["' + each.encode() + b'"')
        yield http.get(f"/v1/{each}/profile?user={each}")
        yield http.request("DELETE", f"/{each}")


@pytest.fixture
def key(shop: Settings) -> Iterator[str]:
    made = ApiKeys(shop.home).make("web shop", [READ, WRITE], SystemClock())[1]
    yield made
    (shop.home / "api_keys.json").unlink()


@pytest.mark.slow(8)
def test_a_json_log_has_a_line_for_each_request_and_none_names_anybody(
    shop: Settings, key: str, tmp_path: Path
) -> None:
    server = Server(tmp_path, "json", key=key)
    try:
        answers = list(asked(server.http))
        with paused(shop):
            answers += [server.http.post("/v1/predict", json={"task": "redemption", "users": [IDS[0]]})]
    finally:
        text = server.end()
    lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    assert {"time", "level", "message"} <= set.intersection(*[set(line) for line in lines])
    requests = [line for line in lines if line["message"] == "request" and line["route"].startswith(("/v1", "none"))]
    assert [line["status"] for line in requests] == [each.status_code for each in answers]
    assert [line["request_id"] for line in requests] == [each.headers["x-request-id"] for each in answers]
    assert {line.get("key") for line in requests if line["status"] == 200} == {"web shop"}
    first, last = requests[0], requests[-1]
    assert (first["method"], first["route"], first["rows"]) == ("POST", "/v1/predict", 1)
    assert (first["model"].partition("@")[0], first["ms"] > 0) == ("redemption", True)
    assert (first["degraded"], last["degraded"]) == (False, True)
    assert {line["error"] for line in requests if line["status"] == 404 and "error" in line} == {"DeclarationError"}
    assert_nobody(text, key)


@pytest.mark.slow(7)
def test_a_text_log_names_nobody_either(shop: Settings, key: str, tmp_path: Path) -> None:
    server = Server(tmp_path, "text", key=key)
    try:
        answers = list(asked(server.http))
    finally:
        text = server.end()
    assert sum("route=/v1/" in line or "route=none" in line for line in text.splitlines()) == len(answers)
    assert_nobody(text, key)


def assert_nobody(text: str, key: str) -> None:
    # Some are digits, which a time and a pid may hold too: those are looked for as words.
    words = text.replace('"', " ").replace(",", " ").replace("=", " ").split()
    assert [each for each in IDS if each in words or (not each.isdigit() and each in text)] == []
    assert [each for each in IDS if each.encode().hex() in text and len(each) > 4] == []
    assert key.rsplit("_", 1)[1] not in text


@pytest.mark.parametrize("how", ["json", "text"])
def test_an_exception_is_told_by_its_type_and_place_and_not_by_what_it_says(how: str) -> None:
    try:
        {}[IDS[1]]
    except KeyError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "Exception in ASGI application", (), info)
    line = Lines(how).format(record)
    assert IDS[1] not in line
    assert "\n" not in line
    assert "KeyError" in line
    assert Path(__file__).name in line


WARNS = """
import warnings
from serving.http.logs import log_as

log_as("json")
warnings.warn("ada@example.com is odd", RuntimeWarning)
"""


def test_a_warning_of_a_library_is_a_line_too_and_does_not_quote_it() -> None:
    said = subprocess.run([sys.executable, "-c", WARNS], capture_output=True, text=True, check=True)
    line = json.loads(said.stderr)
    assert (line["level"], line["warning"], line["raised"]) == ("warning", "RuntimeWarning", ["<string>:6"])
    assert IDS[1] not in said.stderr
