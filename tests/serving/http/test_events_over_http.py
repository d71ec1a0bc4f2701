"""Events over HTTP: a real server, a real client."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from feature_repo import cli
from feature_repo.core.errors import SettingsError
from feature_repo.core.settings import Settings
from feature_repo.events.stream.redis_keys import FACTS
from hung_redis import Hung
from running_app import Running
from serving.http.bodies import MOST_BYTES
from serving.http.events import MOST_EVENTS
from serving.http.server import listen

ADA = "u_" + "0" * 32
BUY = {"event_type": "purchase", "event_id": "a", "user_id": "ada@example.com", "amount": 3.49}


@pytest.fixture
def running(settings: Settings) -> Iterator[Running]:
    found = Running(settings)
    yield found
    found.close()


def test_events_are_taken_and_bad_ones_named(running: Running, redis: Any) -> None:
    answer = running.post(json={"events": [BUY, {**BUY, "amount": "x"}, {**BUY, "event_id": "b"}]})
    assert answer.status_code == 202
    assert answer.json() == {
        "accepted": 2,
        "rejected": [
            {
                "index": 1,
                "reason": "wrong_type_amount",
                "message": "Column 'amount' of event 'purchase' must be a number.",
            }
        ],
    }
    assert sum(redis.xlen(f"{FACTS}:{partition}") for partition in range(4)) == 2


def test_a_hung_broker_is_told_before_a_sender_with_the_same_patience_gives_up(settings: Settings) -> None:
    with Hung() as redis:
        brief = settings.model_copy(update={"redis_url": redis.url, "timeout_s": 2.0})
        running = Running(brief)
        try:
            answer = running.http.post("/v1/events", json={"events": [BUY]}, timeout=brief.timeout_s)
        finally:
            running.close()
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "StoreUnavailableError")


def test_a_full_stream_says_when_to_come_back_and_with_what(settings: Settings) -> None:
    running = Running(settings.model_copy(update={"stream_limit": 4}))
    try:
        answer = running.post(json={"events": [{}, BUY, {**BUY, "event_id": "b"}]})
    finally:
        running.close()
    said = answer.json()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert (said["accepted"], said["retry_after_s"], said["error"]["type"]) == (2, 1.0, "BufferFullError")
    assert [each["index"] for each in said["rejected"]] == [0]


def test_a_broker_that_is_away_is_told_and_the_server_lives_on(settings: Settings) -> None:
    running = Running(settings.model_copy(update={"redis_url": "redis://:s3cret@127.0.0.1:1/0"}))
    try:
        answers = [running.post(json={"events": [BUY]}) for _ in range(2)]
    finally:
        running.close()
    for answer in answers:
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "StoreUnavailableError")
        assert answer.headers["retry-after"] == "1"
        assert "s3cret" not in answer.text


MALFORMED = {
    "empty": b"",
    "cut": b'{"events": [',
    "no text": b"\xff\xfe",
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "no events": b"{}",
    "events that are none": b'{"events": {}}',
    "more": b'{"events": [], "user": "ada@example.com"}',
    "deep": b'{"events": ' + b"[" * 100_000,
    "NaN": b'{"events": [NaN]}',
    "too many": json.dumps({"events": [BUY] * (MOST_EVENTS + 1)}).encode(),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_request_is_told_and_not_repeated(
    running: Running, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = running.post(content=body)
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert error["type"] == "DataError"
    assert error["hint"]
    assert "ada@example.com" not in answer.text + caplog.text


def test_no_raw_id_is_in_an_answer_or_the_log(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    raw = "ada@example.com"
    events = [{**BUY, "quantity": raw}, {**BUY, raw: 1}, {**BUY, "event_type": raw}, raw, BUY]
    answer = running.post(json={"events": events})
    assert [each["index"] for each in answer.json()["rejected"]] == [0, 1, 2, 3]
    assert raw not in answer.text + caplog.text


def test_a_large_request_is_refused_before_it_is_kept(running: Running) -> None:
    answer = running.post(content=(b" " * (1 << 16) for _ in range(MOST_BYTES // (1 << 16) + 1)))
    assert answer.status_code == 413
    assert "several requests" in answer.json()["error"]["hint"]
    assert running.post(json={"events": [BUY]}).status_code == 202


def test_the_api_describes_itself(running: Running) -> None:
    route = running.http.get("/openapi.json").json()["paths"]["/v1/events"]["post"]
    assert sorted(route["responses"]) == ["202", "401", "403", "413", "415", "422", "429", "503"]
    assert route["requestBody"]["content"]["application/json"]["example"]["events"]


def test_a_port_in_use_is_told(running: Running) -> None:
    port = running.http.base_url.port
    assert port is not None
    with pytest.raises(SettingsError, match=f"port {port}: Address already in use") as caught:
        listen("127.0.0.1", port)
    assert "--port 0" in caught.value.hint


@pytest.mark.slow(4)
def test_the_command_says_where_it_listens_and_ends_when_told(settings: Settings) -> None:
    command = [sys.executable, "-m", "feature_repo.cli", "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        at = json.loads(process.stdout.readline())
        answer = httpx.post(f"http://{at['host']}:{at['port']}/v1/events", json={"events": [BUY]}, timeout=60)
        process.send_signal(signal.SIGTERM)
        assert (answer.status_code, process.wait(60)) == (202, 0)
        assert (process.stdout.read(), process.stderr.read()) == ("", "")


def test_without_the_extra_the_command_says_what_to_install(
    home: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "serving.http.server", None)
    assert cli.main(["serve"]) == 2
    assert "pip install 'user-portrait[serve]'" in capsys.readouterr().err
