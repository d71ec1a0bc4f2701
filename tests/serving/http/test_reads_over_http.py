"""The SDK's questions over HTTP: the answers are the SDK's, and a bad question is told without being repeated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from feature_repo.core.clock import FixedClock
from feature_repo.core.console import plain
from feature_repo.core.settings import Settings
from running_app import Running
from serving import ProfileClient
from serving.http.reads import MOST_ROWS

RAW = "2375"
USERS = [RAW, 1364, "never seen"]
ROUTES = ("features", "profiles", "predict")


@pytest.fixture
def portrait(shop: Settings, clock: FixedClock) -> Iterator[ProfileClient]:
    with ProfileClient(clock=clock) as client:
        yield client


def answered(running: Running, route: str, **said: Any) -> Any:
    answer = running.post(f"/v1/{route}", json=said)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_scores_are_those_of_the_sdk(running: Running, portrait: ProfileClient) -> None:
    expected = portrait.predict("redemption", USERS, context={"campaign_days": 30})
    said = answered(running, "predict", task="redemption", users=USERS, context={"campaign_days": 30})
    assert said["scores"] == [plain(score) for score in expected]
    each = pd.DataFrame({"user_id": USERS, "campaign_days": [30, 30, 60]})
    longer = answered(running, "predict", task="redemption", users=USERS, context={"campaign_days": [30, 30, 60]})
    assert longer["scores"] == [plain(score) for score in portrait.predict("redemption", each)]
    assert longer["scores"][:2] == said["scores"][:2]


def test_portraits_are_those_of_the_sdk(running: Running, portrait: ProfileClient) -> None:
    said = answered(running, "profiles", users=USERS)["profiles"]
    assert said == [plain(each) for each in portrait.profiles(USERS)]
    assert said[0] == plain(portrait.profile(RAW))
    assert [each["known"] for each in said] == [True, True, False]


def test_features_are_those_of_the_sdk(running: Running, portrait: ProfileClient) -> None:
    found = answered(running, "features", users=USERS)
    expected = portrait.features(USERS)
    assert [row["values"] for row in found["rows"]] == plain(expected.reading.table.to_pylist())
    assert [row["entity"]["user_id"] for row in found["rows"]] == list(expected.entities["user_id"])
    assert found["features_as_of"] == plain(expected.as_of)
    pairs = {"user_id": [RAW, RAW], "category": ["SOFT DRINKS", "no such category"]}
    rows = answered(running, "features", entities=pairs, service="user_category_v1")["rows"]
    assert [row["entity"]["category"] for row in rows] == pairs["category"]
    assert rows[1]["values"]["user_category_purchases__count_364d"] == 0


def test_nobody_asked_nothing_answered(running: Running) -> None:
    assert answered(running, "features", users=[])["rows"] == []
    assert answered(running, "profiles", users=[]) == {"profiles": []}
    assert answered(running, "predict", task="redemption", users=[]) == {"scores": []}


MALFORMED: dict[str, Any] = {
    "a list": [],
    "text": "ada@example.com",
    "nothing": {},
    "users that are none": {"users": "ada@example.com"},
    "too many users": {"users": [RAW] * (MOST_ROWS + 1)},
    "an empty id": {"users": [" "]},
    "a missing id": {"users": [None]},
    "a fraction": {"users": [1.5]},
    "a list of lists": {"users": [["ada@example.com"]]},
    "an object": {"users": [{"id": "ada@example.com"}]},
    "what nobody reads": {"users": [RAW], "ada@example.com": 1},
}


@pytest.mark.parametrize("said", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("route", ROUTES)
def test_a_malformed_question_is_told_and_not_repeated(
    running: Running, route: str, said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    full = said | {"task": "redemption"} if isinstance(said, dict) and route == "predict" else said
    answer = running.post(f"/v1/{route}", json=full)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["hint"]
    assert "ada@example.com" not in answer.text + caplog.text


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"context": {"campaign_dayz": 30}}, "did you mean 'campaign_days'"),
        ({"context": {"campaign_days": [30, 30]}}, "one for each"),
        ({"context": {"campaign_days": "long"}}, "for the model's default"),
        ({"context": [30]}, "send {"),
        ({"task": 7}, "redemption"),
        ({"task": None}, "redemption"),
        ({"entities": {"user_id": [RAW]}, "users": [RAW]}, "entities"),
        ({"entities": [RAW]}, "entities"),
    ],
)
def test_a_question_that_cannot_be_meant_is_told(running: Running, said: dict[str, Any], named: str) -> None:
    answer = running.post("/v1/predict", json={"task": "redemption", "users": [RAW]} | said)
    assert answer.status_code == 422
    assert named in answer.json()["error"]["hint"] + answer.json()["error"]["what"]


def test_columns_of_entities_are_equally_long(running: Running) -> None:
    uneven = {"user_id": [RAW], "category": ["SOUP", "BEEF"]}
    answer = running.post("/v1/features", json={"entities": uneven, "service": "user_category_v1"})
    assert (answer.status_code, "equally long" in answer.json()["error"]["what"]) == (422, True)


def test_what_is_not_there_is_told_by_its_status(running: Running) -> None:
    service = running.post("/v1/features", json={"users": [RAW], "service": "nothing_v1"})
    task = running.post("/v1/predict", json={"users": [RAW], "task": "nothing"})
    assert (service.status_code, service.json()["error"]["type"]) == (404, "DeclarationError")
    assert (task.status_code, task.json()["error"]["type"]) == (503, "ModelUnavailableError")


def test_without_redis_a_question_is_answered_with_when_to_come_back(shop: Settings) -> None:
    away = {"redis_url": "redis://:s3cret@127.0.0.1:1/0", "remembered": 0}  # else redemption may guess
    running = Running(shop.model_copy(update=away))
    try:
        answers = [
            running.post(f"/v1/{route}", json={"users": [RAW]} | ({"task": "redemption"} if route == "predict" else {}))
            for route in ROUTES
        ]
    finally:
        running.close()
    for answer in answers:
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "s3cret" not in answer.text


def test_the_api_describes_its_questions_by_examples_that_work(running: Running) -> None:
    paths = running.http.get("/openapi.json").json()["paths"]
    for route in ROUTES:
        described = paths[f"/v1/{route}"]["post"]
        assert sorted(described["responses"]) == ["200", "401", "403", "404", "413", "415", "422", "429", "503"]
        example = described["requestBody"]["content"]["application/json"]["example"]
        assert answered(running, route, **example)
