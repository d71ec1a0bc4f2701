"""Variants and feedback over HTTP: the SDK's answers, told and counted as all others."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from feature_repo.core.clock import FixedClock, SystemClock
from feature_repo.core.settings import Settings
from feature_repo.events.stream.redis_keys import FACTS
from feature_repo.jobs.features import apply
from feature_repo.jobs.materialize import materialize
from made_experiments import PAGE
from made_keys import make_one
from running_app import Running
from serving import ProfileClient
from serving.experiments import experiment as declarations

NOW_ON = replace(PAGE, start=datetime(2020, 1, 1, tzinfo=UTC), end=datetime(2100, 1, 1, tzinfo=UTC))
RAW = "ada@example.com"
CLICKED = {"user": RAW, "outcome": "clicked", "item": "995242"}


@pytest.fixture
def applied(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(declarations, "all_experiments", lambda: {"home_page": NOW_ON})
    apply()
    materialize(settings, SystemClock(), views=["user_consent"])
    return settings


@pytest.fixture
def running(applied: Settings) -> Iterator[Running]:
    found = Running(applied, FixedClock(SystemClock().now_us()))
    yield found
    found.close()


def waiting(redis: Any) -> list[str]:
    entries = [entry for partition in range(4) for entry in redis.xrange(f"{FACTS}:{partition}")]
    return sorted(fields[b"t"].decode() for _, fields in entries)


def test_variants_are_those_of_the_sdk(running: Running, applied: Settings) -> None:
    users = [RAW, 2375, "1364"]
    answer = running.post("/v1/variants", json={"experiment": "home_page", "users": users, "expose": False})
    with ProfileClient(settings=applied) as client:
        expected = client.variants(users, "home_page", expose=False)
    assert answer.json() == {"variants": [vars(each) for each in expected]}


def exposures(running: Running) -> Counter[str]:
    """What became of exposures, as it is counted."""
    families = text_string_to_metric_families(running.http.get("/metrics").text)
    found = (sample for family in families for sample in family.samples if sample.name == "portrait_exposures_total")
    return Counter({sample.labels["became"]: int(sample.value) for sample in found})


def test_exposures_are_counted_sent_or_lost(applied: Settings, redis: Any) -> None:
    running = Running(applied.model_copy(update={"stream_limit": 4}), FixedClock(SystemClock().now_us()))
    asked = {"experiment": "home_page", "users": [f"{n}" for n in range(200)]}
    deadline = time.monotonic() + 60
    try:
        running.post(
            "/v1/variants", json=asked | {"users": ["first"]}
        )  # the library goes on from other servers' counts
        while not (before := exposures(running)):
            assert time.monotonic() < deadline
        answer = running.post("/v1/variants", json=asked)
        while (found := exposures(running) - before).total() < 200:
            assert time.monotonic() < deadline
    finally:
        running.close()
    assert (answer.status_code, len(answer.json()["variants"])) == (200, 200)
    assert found["sent"] == len(waiting(redis)) - 1 <= 3
    assert found == Counter(sent=found["sent"], stream_full=200 - found["sent"])


def test_feedback_becomes_an_event(running: Running, redis: Any, caplog: pytest.LogCaptureFixture) -> None:
    answer = running.post("/v1/feedback", json=CLICKED | {"value": 2.5, "model": "redemption@3"})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    assert waiting(redis) == ["feedback"]
    [body] = [entry[1][b"e"] for n in range(4) for entry in redis.xrange(f"{FACTS}:{n}")]
    told = json.loads(body)
    assert (told["action"], told["value"], told["model"], told["model_version"]) == ("clicked", 2.5, "redemption", "3")
    assert RAW not in body.decode() + caplog.text


MALFORMED: dict[str, Any] = {
    "a list": [],
    "no user": {"outcome": "clicked", "item": "1"},
    "no outcome": {"user": RAW, "item": "1"},
    "about nothing": {"user": RAW, "outcome": "clicked"},
    "an outcome that is none": {**CLICKED, "outcome": 5},
    "an item that is none": {**CLICKED, "item": [RAW]},
    "a value that is none": {**CLICKED, "value": RAW},
    "a user that is none": {**CLICKED, "user": [RAW]},
    "true": {**CLICKED, "user": True},
    "an empty user": {**CLICKED, "user": " "},
    "more": {**CLICKED, RAW: 1},
}


@pytest.mark.parametrize("said", MALFORMED.values(), ids=MALFORMED)
def test_malformed_feedback_is_told_and_not_repeated(
    running: Running, said: Any, redis: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = running.post("/v1/feedback", json=said)
    assert (answer.status_code, waiting(redis)) == (422, [])
    assert answer.json()["error"]["hint"]
    assert RAW not in answer.text + caplog.text


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"experiment": "nothing"}, 404),
        ({"experiment": 5}, 404),
        ({"users": [None]}, 422),
        ({"users": [RAW] * 1_001}, 422),
        ({"expose": 1}, 422),
        ({"placement": 1}, 422),
        ({RAW: 1}, 422),
    ],
)
def test_a_question_for_variants_that_cannot_be_meant_is_told(
    running: Running, said: dict[str, Any], status: int
) -> None:
    answer = running.post("/v1/variants", json={"experiment": "home_page", "users": [RAW], **said})
    assert (answer.status_code, RAW in answer.text) == (status, False)


def test_who_may_read_may_not_send_feedback(running: Running, applied: Settings) -> None:
    key = {"Authorization": f"Bearer {make_one(applied.home)}"}
    asked = {"experiment": "home_page", "users": [RAW]}
    assert running.post("/v1/variants", json=asked, headers=key).status_code == 200
    assert running.post("/v1/feedback", json=CLICKED, headers=key).status_code == 403
    assert running.post("/v1/feedback", json=CLICKED).status_code == 401


def test_the_api_describes_both(running: Running) -> None:
    paths = running.http.get("/openapi.json").json()["paths"]
    for route, statuses in (
        ("variants", "200 401 403 404 413 415 422 429"),
        ("feedback", "202 401 403 413 415 422 429 503"),
    ):
        described = paths[f"/v1/{route}"]["post"]
        assert sorted(described["responses"]) == statuses.split()
        assert described["requestBody"]["content"]["application/json"]["example"]
