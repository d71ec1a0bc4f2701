"""Tags asked for as JSON: values with words, and what cannot be meant is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from feature_repo.core.settings import Settings
from running_app import Running
from serving.tags.declared import live_tags

RAW, SECRET = "2375", "raw-4711-id"


@pytest.fixture
def running(shop: Settings) -> Iterator[Running]:
    found = Running(shop)
    while "warm_up" in found.http.get("/readyz").json()["wrong"]:
        assert found.http.get("/healthz").status_code == 200
    yield found
    found.close()


def test_tags_have_words_strength_evidence_and_age(running: Running) -> None:
    answer = running.post("/v1/tags", json={"user": RAW})
    assert answer.status_code == 200
    said = {tag["name"]: tag for tag in answer.json()["tags"]}
    assert list(said) == [tag.name for tag in live_tags()]
    segment = said["segment"]
    assert segment["word"]
    assert segment["zh"]
    assert 0 <= segment["strength"] <= 1
    assert {each["name"] for each in segment["evidence"]} == {"user_segments__segment", "user_segments__strength"}
    assert said["redemption_propensity"]["model"].startswith("redemption@")
    assert said["redemption_propensity"]["evidence"][0]["value"] > 0
    assert said["churn_risk"]["value"] is None
    assert "no champion" in said["churn_risk"]["unknown"]
    assert answer.json()["read_at"] >= segment["as_of"]


def test_a_stranger_has_tags_that_say_so(running: Running) -> None:
    found = running.post("/v1/tags", json={"user": "never seen"}).json()
    assert not found["known"]
    assert {tag["value"] for tag in found["tags"]} == {None, False}
    assert all(tag["unknown"] for tag in found["tags"] if tag["value"] is None)


@pytest.mark.parametrize(
    "said", [{}, {"user": None}, {"user": [SECRET]}, {"user": True}, {"user": SECRET, "x": 1}, [SECRET], {"user": " "}]
)
def test_what_cannot_be_meant_is_told_and_not_repeated(
    running: Running, said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = running.post("/v1/tags", content=json.dumps(said).encode())
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["hint"]
    assert SECRET not in answer.text + caplog.text
