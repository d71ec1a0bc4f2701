"""A champion is replaced while requests come in over HTTP: real Redis, real MLflow, real processes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any

import pytest

from feature_repo.core.clock import SECOND
from rival_champions import Rivals, rivals
from serving import ProfileClient
from serving.bench_load import Address, Connection, post
from serving.bench_model import TASK, promote
from serving.models import Scores
from serving.scoring import REFRESH_US
from serving_process import serving, until

pytestmark = pytest.mark.slow(90)

USERS = 50
CONNECTIONS = 4
KEPT = 10  # requests of a connection: with new ones again and again every worker gets some
# The registry is asked every ten seconds; then the new version is loaded, on a machine that has other things to do.
BOUND_S = REFRESH_US / SECOND + 10


@dataclass(frozen=True)
class Answer:
    began: float
    status: int
    body: bytes

    @property
    def scores(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.body)["scores"]
        return found

    @property
    def model(self) -> str:
        [model] = {score["model"] for score in self.scores}
        return str(model)


@dataclass(frozen=True)
class Swap:
    """What was answered while the champion moved at an instant, and what a version that was named said meanwhile."""

    home: Rivals
    moved: float
    answers: list[Answer]
    pinned: list[Scores]


def ask_on(address: Address, request: bytes, stop: Event, answers: list[Answer]) -> None:
    while not stop.is_set():
        with closing(Connection(address)) as connection:
            for _ in range(KEPT):
                began = time.monotonic()
                answers.append(Answer(began, *connection.ask(request)))


@contextmanager
def asking(address: Address, request: bytes) -> Iterator[list[Answer]]:
    """Ask on some connections as long as the block lasts; one that breaks fails the test."""
    answers: list[Answer] = []
    stop = Event()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        asked = [threads.submit(ask_on, address, request, stop, answers) for _ in range(CONNECTIONS)]
        try:
            yield answers
        finally:
            stop.set()
        for each in asked:
            each.result()


@pytest.fixture(scope="module")
def home() -> Iterator[Rivals]:
    with rivals() as found:
        yield found


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def swap(home: Rivals, request: pytest.FixtureRequest) -> Swap:
    old, new = sorted(home.said)
    users, pinned = home.users[:USERS], []
    promote(home.settings, old)
    with serving(request.param) as server, ProfileClient(url=server.url, timeout_s=30) as portrait:
        until(lambda: server.status("/readyz") == 200)
        with asking(server.address, post("/v1/predict", {"task": TASK, "users": users})) as answers:
            until(lambda: len(answers) > 20 * CONNECTIONS)
            promote(home.settings, new)
            moved = time.monotonic()
            while time.monotonic() < moved + BOUND_S + 1:
                pinned.append(portrait.predict(TASK, users, version=old))
    return Swap(home, moved, answers, pinned)


def test_no_request_fails_while_the_champion_moves(swap: Swap) -> None:
    assert {answer.status for answer in swap.answers} == {200}
    assert all(len(answer.scores) == USERS for answer in swap.answers)


def test_an_answer_is_of_one_version_and_says_what_that_version_says(swap: Swap) -> None:
    for answer in swap.answers:
        value = swap.home.said[answer.model.removeprefix(f"{TASK}@")]
        assert all(score["value"] == pytest.approx(value, abs=0.01) for score in answer.scores)
    assert {answer.model for answer in swap.answers} == {f"{TASK}@{version}" for version in swap.home.said}


def test_within_the_bound_every_answer_is_the_new_champions(swap: Swap) -> None:
    old, new = (f"{TASK}@{version}" for version in sorted(swap.home.said))
    assert {answer.model for answer in swap.answers if answer.began < swap.moved} == {old}
    assert {answer.model for answer in swap.answers if answer.began > swap.moved + BOUND_S} == {new}


def test_a_version_that_is_named_goes_on_answering(swap: Swap) -> None:
    old = min(swap.home.said)
    assert {scores.model for scores in swap.pinned} == {f"{TASK}@{old}"}
    assert all(scores.values == pytest.approx(swap.home.said[old], abs=0.01) for scores in swap.pinned)
