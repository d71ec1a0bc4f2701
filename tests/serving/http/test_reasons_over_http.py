"""Reasons over HTTP: the SDK's answers as JSON, and questions that cannot be meant."""

from __future__ import annotations

import json
from typing import Any

import pytest

from feature_repo.core.clock import FixedClock
from running_app import Running
from serving import ProfileClient

RAW = "2375"
SECRET = "ada@example.com"
ASKED = {"user": RAW, "task": "redemption"}
TRACE: dict[str, Any] = {
    "name": "user_payments__count_84d",
    "view": "user_payments",
    "value": 1,
    "table": "payment",
    "about": {},
    "since": "2026-10-31T00:00:00Z",
    "until": "2026-11-28T00:00:00Z",
    "log_version": 4,
}


def test_an_explanation_is_the_sdks_and_adds_up(running: Running, clock: FixedClock) -> None:
    answer = running.post("/v1/explain", json=ASKED)
    assert answer.status_code == 200
    found = answer.json()
    with ProfileClient(clock=clock) as portrait:
        expected = portrait.explain("redemption", RAW)
    assert [each["sentence"] for each in found["reasons"]] == [each.sentence for each in expected.reasons]
    total = sum(part["contribution"] for reason in found["reasons"] for part in reason["parts"])
    assert total + found["base"] == pytest.approx(found["margin"], abs=1e-6)
    assert RAW not in answer.text.replace(found["user_id"], "")
    pair = {"entities": {"user_id": [RAW], "campaign_days": [47]}, "task": "redemption"}
    assert running.post("/v1/explain", json=pair).json()["value"] == found["value"]


def test_traces_are_sent_back_as_they_came_for_their_events(running: Running) -> None:
    found = running.post("/v1/explain", json=ASKED).json()
    traces = [trace for reason in found["reasons"] for trace in reason["traces"]]
    answer = running.post("/v1/evidence", json={"user": RAW, "traces": traces, "most": 1})
    assert answer.status_code == 200
    shown = answer.json()["evidence"]
    assert [each["name"] for each in shown] == [trace["name"] for trace in traces]
    assert all(each["agrees"] for each in shown)
    assert {len(each["events"]) for each in shown} == {0, 1}
    instants = [
        event["facts"]["starts_at"] for each in shown for event in each["events"] if "starts_at" in event["facts"]
    ]
    assert instants
    assert all("time" in each for each in instants)


def test_what_if_and_segment_answer(running: Running) -> None:
    found = running.post("/v1/what-if", json=ASKED).json()
    assert found["recomputed"] == pytest.approx(found["score"])
    assert found["left_out"]
    ids = [event["event_id"] for event in found["left_out"]]
    assert running.post("/v1/what-if", json={**ASKED, "without": ids}).json()["without"] == found["without"]
    assert running.post("/v1/segment", json={"user": RAW}).json()["segment"]["chinese"]
    assert running.http.get("/v1/tasks").json() == {"tasks": ["redemption"]}


EXPLAIN, WHAT_IF, EVIDENCE, SEGMENT = "/v1/explain", "/v1/what-if", "/v1/evidence", "/v1/segment"
WHO = {"user": SECRET}
MALFORMED: dict[str, tuple[str, Any]] = {
    "nobody": (EXPLAIN, {"task": "redemption"}),
    "a list of a user": (EXPLAIN, {"task": "redemption", "user": [SECRET]}),
    "true": (EXPLAIN, {"task": "redemption", "user": True}),
    "two ways": (EXPLAIN, {"task": "redemption", "users": [SECRET], **WHO}),
    "two users": (EXPLAIN, {"task": "redemption", "users": [SECRET, SECRET]}),
    "no users": (EXPLAIN, {"task": "redemption", "users": []}),
    "no task": (EXPLAIN, WHO),
    "a task that is none": (EXPLAIN, {**WHO, "task": 7}),
    "a long task": (EXPLAIN, {**WHO, "task": "x" * 999}),
    "a context that is none": (EXPLAIN, {**WHO, "task": "redemption", "context": [1]}),
    "a context nobody reads": (EXPLAIN, {**WHO, "task": "redemption", "context": {"dayz": 1}}),
    "a version that is none": (EXPLAIN, {**WHO, "task": "redemption", "version": "champion"}),
    "more": (EXPLAIN, {**WHO, "task": "redemption", SECRET: 1}),
    "leaving out a number": (WHAT_IF, {**WHO, "task": "redemption", "without": 7}),
    "leaving out numbers": (WHAT_IF, {**WHO, "task": "redemption", "without": [7]}),
    "leaving out what is no word": (WHAT_IF, {**WHO, "task": "redemption", "without": SECRET}),
    "leaving out too much": (WHAT_IF, {**WHO, "task": "redemption", "without": ["x"] * 1001}),
    "no traces": (EVIDENCE, WHO),
    "traces that are none": (EVIDENCE, {**WHO, "traces": [7]}),
    "an empty trace": (EVIDENCE, {**WHO, "traces": [{}]}),
    "too many traces": (EVIDENCE, {**WHO, "traces": [TRACE] * 101}),
    "too many events": (EVIDENCE, {**WHO, "traces": [TRACE], "most": 101}),
    "events that are no number": (EVIDENCE, {**WHO, "traces": [TRACE], "most": SECRET}),
    "a segment of nobody": (SEGMENT, {}),
    "a segment of null": (SEGMENT, {"user": None}),
    "a list": (SEGMENT, [SECRET]),
}
WRONG_TRACES: dict[str, dict[str, Any]] = {
    "a name that is none": {"name": 7},
    "a feature that is none": {"name": "user_payments__nothing"},
    "a view that is no window": {"view": "user_demographics", "name": "user_demographics__income"},
    "a time without a zone": {"until": "2026-11-28T00:00:00"},
    "a time that is none": {"until": SECRET},
    "a time that is a number": {"until": 7},
    "a time before all": {"until": "0001-01-01T00:00:00Z"},
    "a version that is none": {"log_version": SECRET},
    "a version that is true": {"log_version": True},
    "a version beyond all": {"log_version": 2**70},
    "a value that is a list": {"value": [SECRET]},
    "a value that is no time": {"value": {"time": SECRET}},
    "a value that is an object": {"value": {SECRET: 1}},
    "about a text": {"about": SECRET},
    "about numbers": {"about": {"category": 7}},
    "more": {SECRET: 1},
}
MALFORMED |= {
    f"a trace with {name}": (EVIDENCE, {**WHO, "traces": [{**TRACE, **wrong}]}) for name, wrong in WRONG_TRACES.items()
}


@pytest.mark.parametrize(("path", "said"), MALFORMED.values(), ids=MALFORMED)
def test_what_cannot_be_meant_is_told_and_not_repeated(
    running: Running, path: str, said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = running.post(path, content=json.dumps(said).encode())
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["what"]
    assert answer.json()["error"]["hint"]
    assert SECRET not in answer.text + caplog.text


def test_a_view_and_a_task_that_are_not_there_are_told(running: Running) -> None:
    nowhere = {**TRACE, "view": "nowhere", "name": "nowhere__count_84d"}
    assert running.post(EVIDENCE, json={"user": RAW, "traces": [nowhere]}).status_code == 404
    assert running.post(EXPLAIN, json={"user": RAW, "task": "churn"}).status_code == 503
