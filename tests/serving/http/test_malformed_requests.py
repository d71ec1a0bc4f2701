"""Requests that cannot be meant: each is refused with the shape of an error, and nothing of it is repeated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from feature_repo.core.settings import Settings
from running_app import Running
from serving.http.bodies import MOST_BYTES
from serving.http.events import MOST_EVENTS
from serving.http.reads import MOST_ROWS

SECRET = "ada@example.com"
FEATURES, PROFILES, PREDICT, EVENTS, PSEUDONYMS = (
    f"/v1/{route}" for route in ("features", "profiles", "predict", "events", "pseudonyms")
)
READS = (FEATURES, PROFILES, PREDICT, PSEUDONYMS)


def text(said: Any) -> bytes:
    return json.dumps(said).encode()


def asked(**said: Any) -> bytes:
    return text({"users": [SECRET], **said})


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "spaces": b" \n\t ",
    "null": b"null",
    "a number": b"7",
    "a text": text(SECRET),
    "a list": text([SECRET]),
    "cut": b'{"users": ["ada@example.com"',
    "two objects": b'{"users": []}{"users": []}',
    "a comma too many": b'{"users": ["ada@example.com",]}',
    "single quotes": b"{'users': ['ada@example.com']}",
    "no UTF-8": b'{"users": ["\xff\xfeada@example.com"]}',
    "UTF-16": '{"users": ["ada@example.com"]}'.encode("utf-16"),
    "half a character": b'{"users": ["\\ud800"]}',
    "NaN": b'{"users": [NaN]}',
    "Infinity": b'{"users": [-Infinity]}',
    "deep lists": b'{"users": ' + b"[" * 100_000,
    "deep objects": b'{"users": ' * 100_000,
    "a control character": b'{"users": ["ada\x00@example.com"]}',
    "a form": b"users=ada%40example.com",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    "no users": b"{}",
    "users that are a text": text({"users": SECRET}),
    "users that are null": text({"users": None}),
    "users that are an object": text({"users": {SECRET: 1}}),
    "a user that is null": text({"users": [None]}),
    "a user that is empty": text({"users": [""]}),
    "a user that is blank": text({"users": ["\u3000 "]}),
    "a user that is a fraction": text({"users": [1.5]}),
    "a user that is a flag": text({"users": [True]}),
    "a user that is a list": text({"users": [[SECRET]]}),
    "a user that is an object": text({"users": [{"id": SECRET}]}),
    "a user beyond all numbers": b'{"users": [1e999]}',
    "too many users": text({"users": ["7"] * (MOST_ROWS + 1)}),
    "a key nobody reads": asked(**{SECRET: 1}),
    "a key twice, and the last is wrong": b'{"users": ["7"], "users": 7}',
}

# Route, body: what only one route reads.
QUESTIONS: dict[str, tuple[str, bytes]] = {
    "typed is no flag": (FEATURES, asked(typed="yes")),
    "a service that is null": (FEATURES, asked(service=None)),
    "a service that is a list": (FEATURES, asked(service=["profile_v1"])),
    "a service that is empty": (FEATURES, asked(service="")),
    "a service of long name": (FEATURES, asked(service="x" * 100_000)),
    "entities beside users": (FEATURES, asked(entities={"user_id": [SECRET]})),
    "entities that are a list": (FEATURES, text({"entities": [SECRET]})),
    "entities that are empty": (FEATURES, text({"entities": {}})),
    "entities of unlike length": (FEATURES, text({"entities": {"user_id": [SECRET], "category": []}})),
    "entities that are no columns": (FEATURES, text({"entities": {"user_id": SECRET}})),
    "too many entities": (FEATURES, text({"entities": {"user_id": ["7"] * (MOST_ROWS + 1)}})),
    "a task that is missing": (PREDICT, asked()),
    "a task that is null": (PREDICT, asked(task=None)),
    "a task that is a number": (PREDICT, asked(task=7)),
    "a task that is blank": (PREDICT, asked(task=" ")),
    "a context that is a list": (PREDICT, asked(task="redemption", context=[30])),
    "a context that is a text": (PREDICT, asked(task="redemption", context=SECRET)),
    "events that are an object": (EVENTS, text({"events": {}})),
    "events beside users": (EVENTS, asked(events=[])),
    "too many events": (EVENTS, text({"events": [{}] * (MOST_EVENTS + 1)})),
}

# Method, path, status: what is asked elsewhere, or otherwise.
ELSEWHERE = [
    ("GET", PREDICT, 405),
    ("PUT", EVENTS, 405),
    ("DELETE", PROFILES, 405),
    ("POST", "/healthz", 405),
    ("GET", f"/v1/profiles/{SECRET}", 404),
    ("POST", "/v2/predict", 404),
    ("GET", "/v1/../etc/passwd", 404),
    ("GET", f"/{'x' * 10_000}", 404),
]


@pytest.fixture
def running(settings: Settings) -> Iterator[Running]:
    found = Running(settings)
    yield found
    found.close()


def check_refused(answer: Any, statuses: set[int], log: str) -> None:
    assert answer.status_code in statuses, (answer.status_code, answer.text[:500])
    error = answer.json()["error"]
    assert sorted(error) == ["hint", "type", "what"]
    assert all(isinstance(each, str) and each for each in error.values()), error
    assert len(answer.content) < 1_000
    assert SECRET not in answer.text + log
    assert "Traceback" not in answer.text + log


def test_bodies_that_cannot_be_meant_are_refused_by_every_route(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (*READS, EVENTS):
        for name, body in BODIES.items():
            said = body.replace(b'"users"', b'"events"', 1) if path == EVENTS else body
            if path == EVENTS and name.startswith("a user "):
                continue  # of events, bad ones are named and the others are taken
            # An empty home has no registry to judge ids by: 404 says so where nothing is wrong before.
            answer = running.post(path, content=said)
            check_refused(answer, {422, 404}, caplog.text)
            assert answer.status_code == 422 or name.startswith("a user "), (path, name)


@pytest.mark.parametrize(("path", "body"), QUESTIONS.values(), ids=QUESTIONS)
def test_questions_that_cannot_be_meant_are_refused(
    running: Running, path: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    check_refused(running.post(path, content=body), {422, 404}, caplog.text)


@pytest.mark.parametrize(("method", "path", "status"), ELSEWHERE, ids=[f"{m} {p[:30]}" for m, p, _ in ELSEWHERE])
def test_what_is_not_there_has_the_shape_of_an_error(
    running: Running, method: str, path: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    check_refused(running.http.request(method, path), {status}, caplog.text)


@pytest.mark.parametrize("path", [*READS, EVENTS])
def test_what_is_too_large_is_refused_before_it_is_read(running: Running, path: str) -> None:
    answer = running.post(path, content=b'{"users": ["' + b"x" * MOST_BYTES + b'"]}')
    check_refused(answer, {413}, "")


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded", "nonsense"])
def test_what_says_that_it_is_no_json_is_refused(running: Running, kind: str) -> None:
    headers = {"Content-Type": f"{kind}; charset=utf-8"}
    check_refused(running.post(EVENTS, content=b'{"events": []}', headers=headers), {415}, "")
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert running.post(EVENTS, content=b'{"events": []}', headers=headers).status_code == 202


def test_a_fault_of_ours_is_no_traceback(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("serving.http.events.object_of", fail)
    monkeypatch.setattr("serving.http.events.listed", fail)
    check_refused(running.post(EVENTS, content=b"{}"), {500}, "")
