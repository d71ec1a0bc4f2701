"""The way past the framework: what is answered there is what the framework would have answered."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from feature_repo.core.clock import FixedClock
from feature_repo.core.settings import Settings
from running_app import Running
from serving.http.app import create_app
from serving.http.keys import READ, WRITE, ApiKeys
from serving.http.metrics import _TENTHS, _Distribution

SECRET = "ada@example.com"
READS = ("/v1/features", "/v1/profiles", "/v1/predict", "/v1/pseudonyms")
QUESTIONS: dict[str, dict[str, Any]] = {
    "nothing": {"content": b""},
    "no JSON": {"content": b"{", "headers": {"content-type": "application/json"}},
    "a form": {"data": {"users": SECRET}},
    "what nobody reads": {"json": {"users": ["1"], SECRET: 1}},
    "too much": {"content": b" " * (5 << 20)},
    "shoppers of a home without a registry": {"json": {"users": ["2375"]}},
    "a task without a champion": {"json": {"users": ["2375"], "task": "redemption"}},
}
KEYS = ("", "Bearer nonsense", "the reader's", "the writer's")


async def told(app: Any, path: str, question: dict[str, Any], key: str) -> tuple[int, Any, Any]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://portrait") as client:
        headers = question.get("headers", {}) | ({"authorization": key} if key else {})
        answer = await client.post(path, **(question | {"headers": headers}))
    kept = ("content-type", "retry-after", "www-authenticate")
    return answer.status_code, answer.json(), [answer.headers.get(name) for name in kept]


@pytest.mark.parametrize("path", READS)
def test_both_ways_answer_alike(settings: Settings, path: str) -> None:
    keys = ApiKeys(settings.home)
    made = {name: keys.make(name, [role], FixedClock(7))[1] for name, role in {"reader": READ, "writer": WRITE}.items()}
    direct = create_app(settings)
    framework = direct._app._app  # type: ignore[attr-defined]
    presented = [key if not key.startswith("the") else f"Bearer {made[key[4:-2]]}" for key in KEYS]
    statuses = set()
    for question, key in itertools.product(QUESTIONS.values(), presented):
        answers = [asyncio.run(told(app, path, question, key)) for app in (direct, framework)]
        assert answers[0] == answers[1]
        statuses.add(answers[0][0])
    assert {401, 403, 413, 415, 422} <= statuses


def test_a_fault_of_ours_is_no_traceback(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("serving.http.reads.object_of", fail)
    running = Running(settings)
    try:
        answer = running.post("/v1/predict", json={})
        # The server hangs up after a fault, as it does on the framework's way: another connection asks on.
        counted = httpx.get(running.http.base_url.join("/metrics"), timeout=30).text
    finally:
        running.close()
    assert (answer.status_code, answer.json()["error"]["what"]) == (500, "The server failed.")
    assert SECRET not in answer.text
    assert 'portrait_http_seconds_count{route="/v1/predict",status="500"}' in counted


def test_other_methods_are_the_frameworks(settings: Settings) -> None:
    running = Running(settings)
    try:
        assert [running.http.get(path).status_code for path in READS] == [405] * len(READS)
    finally:
        running.close()


def test_values_counted_at_once_are_counted_as_one_by_one() -> None:
    values = np.array([0.0, 0.05, 0.1, 0.1000001, 0.95, 1.0, 7.5])
    counted = []
    for at_once in (True, False):
        registry = CollectorRegistry()
        one = _Distribution(f"scores_{at_once}", "", registry=registry, buckets=_TENTHS)
        if at_once:
            one.observe_all(values)
        else:
            for value in values.tolist():
                one.observe(value)
        [family] = registry.collect()
        counted.append([(s.labels, s.value) for s in family.samples if not s.name.endswith("_created")])
    assert counted[0] == counted[1]
