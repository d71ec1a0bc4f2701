"""Questions that are asked together: each is answered as if it had been asked alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from feature_repo.core.clock import FixedClock
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from hung_redis import paused
from running_app import Running
from serving import Scores
from serving.http import batches as batches_file
from serving.http.batches import MOST_ROWS, Asked, Batches
from serving.local import LocalTransport

CHAMPION = Asked("redemption", "", {})
RAW = ["2375", "1364", "1130", "never seen", "98"]
QUESTIONS: list[dict[str, Any]] = [
    {"users": RAW},
    {"users": ["2375"]},
    {"users": [RAW[1], RAW[1]]},
    {"users": []},
    {"users": ["1130", None, "98"]},
    {"users": ["2375"], "typed": True},
    {"users": ["2375"], "version": 1},
    {"users": ["2375"], "version": 999},
    {"users": ["2375"], "context": {"campaign_days": 30}},
    {"users": ["2375"], "context": {"campaign_days": True}},
    {"users": ["2375", "98"], "context": {"campaign_days": [30, 60]}},
    {"users": ["2375"], "context": {"no such": 1}},
    {"entities": {"user_id": ["2375"]}},
]


class Counting(LocalTransport):
    """Notes how many rows each question has; the first takes long enough for others to come."""

    def __init__(self, settings: Settings, clock: FixedClock) -> None:
        super().__init__(settings, clock, timeout_s=5.0)
        self.rows: list[int] = []
        self.takes_s = 0.02
        self.at_once, self.most_at_once = 0, 0

    def predict(self, task: str, users: Any, context: Mapping[str, Any]) -> Scores:
        self.rows.append(len(users))
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            time.sleep(self.takes_s)
            return super().predict(task, users, context)
        finally:
            self.at_once -= 1


def values(scores: Scores) -> bytes:
    return repr(scores.values.tolist()).encode()


def together(batches: Batches, questions: list[list[Any]], *, asked: Asked = CHAMPION) -> list[Any]:
    async def ask() -> list[Any]:
        waiting = [batches.ask(asked, users, values) for users in questions]
        return await asyncio.gather(*waiting, return_exceptions=True)

    return asyncio.run(ask())


@pytest.fixture
def transport(shop: Settings, clock: FixedClock) -> Iterator[Counting]:
    found = Counting(shop, clock)
    found.warm_up()
    yield found
    found.close()


def test_many_at_once_are_answered_as_each_alone(running: Running) -> None:
    def ask(question: dict[str, Any]) -> tuple[int, Any]:
        answer = running.post("/v1/predict", json={"task": "redemption"} | question)
        return answer.status_code, answer.json()

    alone = [ask(question) for question in QUESTIONS]
    assert {status for status, _ in alone} == {200, 422, 503}
    with ThreadPoolExecutor(len(QUESTIONS)) as threads:
        for _ in range(20):
            assert list(threads.map(ask, QUESTIONS)) == alone


def test_what_comes_meanwhile_is_asked_at_once_and_in_order(transport: Counting) -> None:
    questions = [[user] * n for n, user in enumerate(RAW, 1)]
    found = together(Batches(transport), questions)
    assert found == [values(transport.predict("redemption", users, {})) for users in questions]
    assert transport.rows[: -len(questions)] == [15]


def test_a_batch_has_no_more_rows_than_one_question_may_have(transport: Counting) -> None:
    together(Batches(transport), [["2375"] * 600, ["98"] * 500, ["98"] * 400, ["1364"] * MOST_ROWS])
    assert sorted(transport.rows) == [500, 1_000, 1_000]


def test_who_is_wrong_is_told_of_the_own_row_and_nobody_else_is(transport: Counting) -> None:
    first, second, third = together(Batches(transport), [["2375", "98"], ["98", None], ["1364"]])
    assert isinstance(second, DataError)
    assert "Row 1" in second.what
    assert [first, third] == [
        values(transport.predict("redemption", users, {})) for users in (["2375", "98"], ["1364"])
    ]


def test_what_is_not_alike_is_not_mixed(transport: Counting) -> None:
    batches = Batches(transport)
    assert Asked("redemption", "", {"x": 1}).alike != Asked("redemption", "", {"x": True}).alike

    async def ask() -> list[Any]:
        contexts: list[dict[str, Any]] = [{"campaign_days": 30}, {"campaign_days": 60}, {"campaign_days": True}]
        waiting = [batches.ask(Asked("redemption", "", context), ["2375"], values) for context in contexts]
        return await asyncio.gather(*waiting, return_exceptions=True)

    short, longer, wrong = asyncio.run(ask())
    assert transport.rows == [1, 1, 1]
    assert short != longer
    assert isinstance(wrong, DataError)


@pytest.mark.parametrize(("patience_s", "at_once"), [(1.0, {1}), (0.02, set(range(2, 15)))])
def test_one_is_asked_at_a_time_however_many_wait_unless_it_does_not_end(
    transport: Counting, monkeypatch: pytest.MonkeyPatch, patience_s: float, at_once: set[int]
) -> None:
    monkeypatch.setattr(batches_file, "PATIENCE_S", patience_s)
    batches, transport.takes_s = Batches(transport), 0.1
    contexts = [{"campaign_days": float(days)} for days in range(30, 45)]  # together they take longer than any patience

    async def ask() -> list[bytes]:
        waiting = [batches.ask(Asked("redemption", "", context), ["2375"], values) for context in contexts]
        return await asyncio.gather(*waiting)

    asyncio.run(ask())
    assert transport.rows == [1] * len(contexts)
    assert transport.most_at_once in at_once


def test_who_goes_away_leaves_the_others_their_answers(transport: Counting) -> None:
    batches = Batches(transport)

    async def ask() -> tuple[bytes, bytes]:
        first = asyncio.create_task(batches.ask(CHAMPION, ["2375"], values))
        await asyncio.sleep(0.005)
        gone, kept = (asyncio.create_task(batches.ask(CHAMPION, [user], values)) for user in ("98", "1364"))
        await asyncio.sleep(0)
        gone.cancel()
        return await first, await kept

    assert asyncio.run(ask()) == tuple(values(transport.predict("redemption", [user], {})) for user in ("2375", "1364"))


def test_a_fault_in_one_answer_reaches_whoever_asked_and_the_next_is_answered(transport: Counting) -> None:
    batches = Batches(transport)

    async def ask() -> list[Any]:
        failing = batches.ask(CHAMPION, ["2375"], lambda _: bytes(-1))
        return [*await asyncio.gather(failing, return_exceptions=True), await batches.ask(CHAMPION, ["98"], values)]

    fault, answer = asyncio.run(ask())
    assert isinstance(fault, ValueError)
    assert answer == values(transport.predict("redemption", ["98"], {}))


def test_where_redis_hangs_nobody_waits_longer_than_alone(shop: Settings, running: Running) -> None:
    def ask(user: str) -> tuple[int, bool, float]:
        began = time.monotonic()
        answer = httpx.post(
            f"{running.http.base_url}/v1/predict", json={"task": "redemption", "users": [user]}, timeout=60
        )
        degraded = answer.status_code == 200 and answer.json()["scores"][0]["degraded"]
        return answer.status_code, degraded, time.monotonic() - began

    known = ["2375", "98", "1364"]
    assert [ask(user)[:2] for user in known] == [(200, False)] * 3
    asked = [*known, "never asked", *known, "nor this"]
    with paused(shop), ThreadPoolExecutor(len(asked)) as threads:
        found = list(threads.map(ask, asked))
    assert [each[:2] for each in found] == [(200, True)] * len(asked)  # of who was never asked about, by the defaults
    assert max(seconds for *_, seconds in found) < shop.timeout_s + 1
