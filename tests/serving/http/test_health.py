"""Whether a server lives, can answer, and what it says it did."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from feature_repo.core.clock import SystemClock
from feature_repo.core.settings import Settings
from running_app import Running

RAW = "2375"
BUY = {"event_type": "purchase", "event_id": "a", "user_id": "ada@example.com", "amount": 3.49}


def warmed_up(running: Running) -> httpx.Response:
    """What it says of itself once its warm-up has ended."""
    deadline = time.monotonic() + 120
    while "warm_up" in (said := running.http.get("/readyz")).json()["wrong"]:
        assert (said.status_code, time.monotonic() < deadline) == (503, True)
    return said


Counts = Counter[tuple[str, ...]]


def counted(running: Running) -> Counts:
    """Samples by name and labels."""
    text = running.http.get("/metrics").text
    assert RAW not in text
    found = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return Counter({(each.name, *each.labels.values()): each.value for each in found})


def added(running: Running, ask: Callable[[], object]) -> Counts:
    """What is counted when something is asked a second time.

    The first time the library may go on from what other servers of this process counted.
    """
    ask()
    before = counted(running)
    ask()
    now = counted(running)
    now.subtract(before)
    return now


@pytest.fixture
def running(shop: Settings) -> Iterator[Running]:
    found = Running(shop, SystemClock())
    yield found
    found.close()


def test_it_is_ready_when_it_can_answer(running: Running) -> None:
    assert running.http.get("/healthz").json() == {"alive": True}
    said = warmed_up(running)
    assert (said.status_code, said.json()) == (200, {"ready": True, "wrong": {}})


def test_it_lives_and_is_not_ready_without_what_it_reads(settings: Settings) -> None:
    running = Running(settings.model_copy(update={"redis_url": "redis://:s3cret@127.0.0.1:1/0"}))
    try:
        said = warmed_up(running)
        assert running.http.get("/healthz").status_code == 200
    finally:
        running.close()
    assert (said.status_code, sorted(said.json()["wrong"])) == (503, ["redis", "registry"])
    assert "s3cret" not in said.text


def test_nothing_is_loaded_after_it_has_ended(shop: Settings) -> None:
    running = Running(shop, SystemClock())
    running.close()
    assert "warm-up" not in {thread.name for thread in threading.enumerate()}


def test_what_was_asked_and_answered_is_counted(running: Running) -> None:
    def ask() -> None:
        running.post("/v1/predict", json={"task": "redemption", "users": [RAW, "never seen"]})
        running.post("/v1/features", json={"users": [RAW]})
        running.post("/v1/features", json={"users": [None]})
        running.http.get(f"/{RAW}/anything")

    found = added(running, ask)
    assert found["portrait_http_seconds_count", "/v1/predict", "200"] == 1
    assert found["portrait_http_seconds_count", "/v1/features", "200"] == 1
    assert found["portrait_http_seconds_count", "/v1/features", "422"] == 1
    assert found["portrait_http_seconds_count", "none", "404"] == 1
    assert (found["portrait_rows_total", "redemption"], found["portrait_rows_unknown_total", "redemption"]) == (2, 1)
    assert found["portrait_rows_total", "profile_v1"] == 1
    assert found["portrait_missing_total", "profile_v1"] > 0
    assert found["portrait_scores_count", "redemption"] == 2
    assert [key for key in found if key[:2] == ("portrait_model", "redemption")]


def test_a_full_stream_and_a_missing_key_are_counted_by_their_status(settings: Settings) -> None:
    running = Running(settings.model_copy(update={"stream_limit": 4}))
    statuses: list[int] = []

    def ask() -> None:
        sent = (running.post("/v1/events", json={"events": [BUY | {"event_id": f"{n}"}]}) for n in range(3))
        statuses.extend(each.status_code for each in sent)

    try:
        found = added(running, ask)
    finally:
        running.close()
    accepted, refused = (("portrait_http_seconds_count", "/v1/events", status) for status in ("202", "429"))
    assert statuses == [202, *[429] * 5]
    assert (found[accepted], found[refused]) == (0, 3)
