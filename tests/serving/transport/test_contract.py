"""The SDK in process and over HTTP, sync and async: one face, the same answers, the same errors."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pandas as pd
import pytest

from feature_repo.core.clock import FixedClock, SystemClock
from feature_repo.core.errors import BufferFullError, PortraitError, StoreUnavailableError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import connect_redis
from feature_repo.engine.feature_store import open_store
from feature_repo.engine.positions import Positions
from hung_redis import paused
from running_app import Running
from serving import AsyncProfileClient, Event, Features, ProfileClient, Scores

RAW = "2375"
USERS = [RAW, 1364, np.int64(900), "never seen", RAW]
PAIRS = pd.DataFrame({"user_id": [RAW, RAW, "never seen"], "category": ["SOFT DRINKS", "no such", "BEEF"], "x": 1.5})
CAMPAIGNS = pd.DataFrame({"user_id": [RAW] * 3, "campaign_type_a": [1, 0, None], "campaign_days": [47, 32, 47]})
BUY = {"event_type": "purchase", "event_id": "a", "user_id": "ada", "amount": 3.49}

LEFT_ALONE = "Redis did not answer the last questions, and is left alone for a moment."

Question = Callable[[ProfileClient], Any]


class Awaited:
    """An async client whose methods are waited for."""

    def __init__(self, client: AsyncProfileClient) -> None:
        self._client = client
        self._loop = asyncio.new_event_loop()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *args, **options: self._loop.run_until_complete(method(*args, **options))

    def end(self) -> None:
        self._loop.run_until_complete(self._client.close())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


def others(url: str, settings: Settings, clock: FixedClock, **options: Any) -> Iterator[tuple[str, Any]]:
    with ProfileClient(url=url, **options) as client:
        yield "http", client
    for name, asked in {
        "async": AsyncProfileClient(settings=settings, clock=clock, **options),
        "async http": AsyncProfileClient(url=url, **options),
    }.items():
        awaited = Awaited(asked)
        yield name, awaited
        awaited.end()


def url_of(running: Running) -> str:
    return str(running.http.base_url)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(SystemClock().now_us())


@pytest.fixture
def url(shop: Settings, clock: FixedClock) -> Iterator[str]:
    running = Running(shop, clock)
    while "warm_up" in running.http.get("/readyz").json()["wrong"]:
        assert running.http.get("/healthz").status_code == 200
    yield str(running.http.base_url)
    running.close()


def told(question: Question, client: Any) -> Any:
    """An answer as what can be compared: values with their types; an error as its type and texts."""
    try:
        found = question(client)
    except PortraitError as error:
        return type(error), error.what, error.hint
    if isinstance(found, Features):
        table = found.to_arrow()
        return table.schema, table.to_pylist(), found.known, found.missing, found.as_of, dict(found.entities)
    if isinstance(found, Scores):
        values = np.asarray(found.values)
        parts = values.tobytes(), found.nulls.tolist(), found.defaulted.tolist(), found.features, found.context
        return values.dtype, *parts, list(found), list(found.users), list(found.known), found.model
    if isinstance(found, np.ndarray):
        return found.dtype, found.shape, found.tobytes()
    return found


def split_told(portrait: ProfileClient, users: Any) -> Any:
    """What an experiment's variants said."""
    found = portrait.predict("redemption", users, experiment="redemption_model")
    return list(found), list(found.assignments), [(list(rows), list(part)) for rows, part in found.parts]


def evidence_told(portrait: ProfileClient, most: int) -> Any:
    """What the log holds behind all reasons: events with instants among them."""
    reasons = portrait.explain("redemption", RAW).reasons
    return [portrait.evidence(RAW, reason, most=most) for reason in reasons]


QUESTIONS: dict[str, Question] = {
    "a key": lambda portrait: portrait.key(RAW),
    "keys": lambda portrait: portrait.keys([RAW, 1364]),
    "features": lambda portrait: portrait.features(USERS),
    "features of one": lambda portrait: portrait.features(RAW, service="redemption_v1"),
    "features of pairs": lambda portrait: portrait.features(PAIRS, service="user_category_v1"),
    "features of nobody": lambda portrait: portrait.features([]),
    "features as numbers": lambda portrait: portrait.features(USERS, service="redemption_v1").to_numpy(),
    "some features as numbers": lambda portrait: portrait.features(USERS).to_numpy(["user_payments__count_182d"]),
    "a portrait": lambda portrait: portrait.profile(RAW),
    "portraits": lambda portrait: portrait.profiles(USERS),
    "portraits of nobody": lambda portrait: portrait.profiles([]),
    "consent": lambda portrait: portrait.consent(RAW),
    "permission": lambda portrait: portrait.permitted(USERS, "marketing"),
    "scores": lambda portrait: portrait.predict("redemption", USERS),
    "scores of nobody": lambda portrait: portrait.predict("redemption", []),
    "scores in a context": lambda portrait: portrait.predict("redemption", USERS, context={"campaign_days": 30}),
    "scores in contexts": lambda portrait: portrait.predict("redemption", CAMPAIGNS),
    "scores in columns": lambda portrait: portrait.predict(
        "redemption", [RAW, RAW], context={"campaign_days": np.array([30.0, np.nan])}
    ),
    "a variant": lambda portrait: portrait.variant(RAW, "redemption_model", expose=False),
    "variants": lambda portrait: portrait.variants(USERS, "redemption_model", expose=False),
    "scores of a version": lambda portrait: portrait.predict("redemption", USERS, version=1),
    "scores of variants": lambda portrait: split_told(portrait, USERS),
    "scores of variants in contexts": lambda portrait: split_told(portrait, CAMPAIGNS),
    "reasons": lambda portrait: portrait.explain("redemption", RAW),
    "reasons in a context": lambda portrait: portrait.explain("redemption", CAMPAIGNS[1:2]),
    "reasons of a version": lambda portrait: portrait.explain("redemption", RAW, version=1),
    "reasons of the defaults": lambda portrait: portrait.explain("redemption", "never seen"),
    "evidence": lambda portrait: evidence_told(portrait, 2),
    "evidence without events": lambda portrait: evidence_told(portrait, 0),
    "what if": lambda portrait: portrait.what_if("redemption", RAW),
    "what if not": lambda portrait: portrait.what_if("redemption", RAW, without=["no such event"]),
    "a segment": lambda portrait: portrait.segment(RAW),
    "no segment": lambda portrait: portrait.segment("never seen"),
    "tags": lambda portrait: portrait.tags(RAW),
    "tags of a stranger": lambda portrait: portrait.tags("never seen"),
    "values of tags": lambda portrait: [(type(value), value) for value in portrait.tags(1364).to_dict().values()],
    "tasks": lambda portrait: portrait.tasks(),
    "health": lambda portrait: portrait.health(),
    "warmth": lambda portrait: portrait.warm_up(),
}

WRONG: dict[str, Question] = {
    "no service": lambda portrait: portrait.features([RAW], service="profil_v1"),
    "no name of a service": lambda portrait: portrait.features([RAW], service=None),  # type: ignore[arg-type]
    "no task": lambda portrait: portrait.predict("churn", [RAW]),
    "no name of a task": lambda portrait: portrait.predict(None, [RAW]),  # type: ignore[arg-type]
    "no id": lambda portrait: portrait.features([RAW, None]),
    "NaN": lambda portrait: portrait.features([RAW, float("nan")]),
    "NA": lambda portrait: portrait.predict("redemption", [RAW, pd.NA]),
    "a blank": lambda portrait: portrait.profile(" "),
    "a fraction": lambda portrait: portrait.features([1.5]),
    "a flag": lambda portrait: portrait.features([True]),
    "bytes": lambda portrait: portrait.features([b"2375"]),
    "half a character": lambda portrait: portrait.predict("redemption", [RAW, "\ud800"]),
    "a list": lambda portrait: portrait.profile([RAW, RAW]),  # type: ignore[arg-type]
    "a mapping": lambda portrait: portrait.features({RAW: 1}),
    "no column": lambda portrait: portrait.features(PAIRS[["user_id"]], service="user_category_v1"),
    "a list for pairs": lambda portrait: portrait.features([RAW], service="user_category_v1"),
    "twice a column": lambda portrait: portrait.features(pd.DataFrame([[RAW, RAW]], columns=["user_id", "user_id"])),
    "NULL in a column": lambda portrait: portrait.features(pd.DataFrame({"user_id": [RAW, None]})),
    "no context": lambda portrait: portrait.predict("redemption", [RAW], context={"campaign_dayz": 1}),
    "an endless context": lambda portrait: portrait.predict("redemption", [RAW], context={"campaign_days": np.inf}),
    "a long context": lambda portrait: portrait.predict("redemption", [RAW], context={"campaign_days": [1, 2]}),
    "a flag for a number": lambda portrait: portrait.predict("redemption", [RAW], context={"campaign_days": True}),
    "a text as a number": lambda portrait: portrait.features([RAW]).to_numpy(["user_payments__last_event_at"]),
    "no such feature": lambda portrait: portrait.features([RAW]).to_numpy(["user_payments__cuont_182d"]),
    "a context of no names": lambda portrait: portrait.predict("redemption", [RAW], context=30),  # type: ignore[call-overload]
    "reasons in no context": lambda portrait: portrait.explain("redemption", RAW, context=[30]),  # type: ignore[arg-type]
    "nothing as an event": lambda portrait: portrait.track(None),  # type: ignore[arg-type]
    "a text as events": lambda portrait: portrait.track("purchase"),  # type: ignore[arg-type]
    "evidence of no reason": lambda portrait: portrait.evidence(RAW, "spend"),  # type: ignore[arg-type]
    "no version": lambda portrait: portrait.predict("redemption", [RAW], version=99),
    "no number of a version": lambda portrait: portrait.predict("redemption", [RAW], version="champion"),
    "no experiment": lambda portrait: portrait.variant(RAW, "redemption_models"),
    "an experiment about another task": lambda portrait: portrait.predict("x", [RAW], experiment="redemption_model"),
    "reasons of two": lambda portrait: portrait.explain("redemption", [RAW, RAW]),
    "reasons of nobody": lambda portrait: portrait.explain("redemption", []),
    "reasons without a task": lambda portrait: portrait.explain("churn", RAW),
    "too much evidence": lambda portrait: evidence_told(portrait, 101),
    "what if what": lambda portrait: portrait.what_if("redemption", RAW, without="the first purchase"),
    "what if no events": lambda portrait: portrait.what_if("redemption", RAW, without=[7]),  # type: ignore[list-item]
    "a list without a champion": lambda portrait: portrait.recommend(RAW),
    "a list of no items": lambda portrait: portrait.recommend(RAW, k=0),
    "a list in no context": lambda portrait: portrait.recommend(RAW, context={"campaign_days": 30}),
    "a segment of a blank": lambda portrait: portrait.segment(" "),
    "tags of a blank": lambda portrait: portrait.tags(" "),
    "tags of several": lambda portrait: portrait.tags([RAW, RAW]),  # type: ignore[arg-type]
    "a feedback about nothing": lambda portrait: portrait.feedback(RAW, "clicked"),
    "no purpose": lambda portrait: portrait.permitted([RAW], "gossip"),  # type: ignore[arg-type]
}


@pytest.mark.slow(25)
def test_every_question_has_the_same_answer(shop: Settings, url: str, clock: FixedClock) -> None:
    with ProfileClient(clock=clock) as portrait:
        expected = {name: told(question, portrait) for name, question in (QUESTIONS | WRONG).items()}
    assert {name for name, answer in expected.items() if is_failure(answer)} == set(WRONG)
    for way, client in others(url, shop, clock):
        for name, question in (QUESTIONS | WRONG).items():
            assert told(question, client) == expected[name], (way, name)


def is_failure(answer: Any) -> bool:
    return isinstance(answer, tuple) and bool(answer) and isinstance(answer[0], type)


def test_a_view_that_is_not_built_is_missing_alike(shop: Settings, url: str, clock: FixedClock) -> None:
    asked: Question = lambda portrait: portrait.features(USERS, service="redemption_v1")  # noqa: E731
    with connect_redis(shop) as client, ProfileClient(clock=clock) as portrait:
        key = Positions(client, open_store().project).key
        served = client.hget(key, "serve:user_payments")
        client.hdel(key, "serve:user_payments")
        try:
            expected, scores = told(asked, portrait), told(QUESTIONS["scores"], portrait)
            found = [(told(asked, other), told(QUESTIONS["scores"], other)) for _, other in others(url, shop, clock)]
        finally:
            client.hset(key, "serve:user_payments", served)
    assert "user_payments__count_84d" in expected[3][0]
    assert found == [(expected, scores)] * 3


def test_faces_and_questions_are_the_same() -> None:
    def face(kind: type) -> dict[str, list[str]]:
        members = ((name, inspect.getattr_static(kind, name)) for name in dir(kind))
        public = {name: method for name, method in members if name[0] != "_" or name == "__init__"}
        found = {name: getattr(method, "fget", method) for name, method in public.items()}
        return {name: list(inspect.signature(method).parameters.values()) for name, method in found.items()}

    assert {n: [str(p) for p in ps] for n, ps in face(ProfileClient).items()} == {
        n: [str(p) for p in ps] for n, ps in face(AsyncProfileClient).items()
    }


def test_without_redis_every_way_says_so(shop: Settings, clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("PORTRAIT_REMEMBERED", "0")
    settings = load_settings()
    running = Running(settings, clock)
    asked = [QUESTIONS[name] for name in ("a portrait", "features", "scores", "consent")]
    asked.append(lambda portrait: portrait.track(BUY))
    try:
        with ProfileClient(clock=clock) as portrait:
            expected = [told(question, portrait) for question in asked]
        found = [[told(each, client) for each in asked] for _, client in others(url_of(running), settings, clock)]
    finally:
        running.close()
    # Who was asked often leaves Redis alone for a moment and says that: each way has its own moment.
    texts = {what for _, what, _ in expected} | {LEFT_ALONE}
    assert all(kind is StoreUnavailableError and what in texts for way in found for kind, what, _ in way), found
    assert {kind for kind, *_ in expected} == {StoreUnavailableError}


DEGRADED: dict[str, Question] = {
    "scores": QUESTIONS["scores"],
    "scores in contexts": QUESTIONS["scores in contexts"],
    "scores of a version": QUESTIONS["scores of a version"],
    "features": QUESTIONS["features"],
    "features of pairs": QUESTIONS["features of pairs"],
    "portraits": QUESTIONS["portraits"],
    "scores of a stranger": lambda portrait: portrait.predict("redemption", "never asked about"),
    "scores of variants": QUESTIONS["scores of variants"],
}
REFUSED: dict[str, Question] = {
    "features of a stranger": lambda portrait: portrait.features("never asked about"),
    "a portrait of a stranger": lambda portrait: portrait.profile("never asked about"),
    "permission": QUESTIONS["permission"],
    "reasons": QUESTIONS["reasons"],
    "a segment": QUESTIONS["a segment"],
}
OF_STRANGERS = {"scores of a stranger", "scores of variants"}


def marked(question: Question, client: Any) -> Any:
    """Whether each part of an answer says that it is degraded."""
    found = question(client)
    if isinstance(found, Features):
        return [found.degraded]
    rows = found[0] if isinstance(found, tuple) and found and isinstance(found[0], list) else found
    return [each.degraded for each in rows]


@pytest.mark.slow(19)
def test_without_redis_the_last_known_is_answered_alike(shop: Settings, clock: FixedClock) -> None:
    brief = shop.model_copy(update={"timeout_s": 2.0})
    running = Running(brief, clock)
    asked, refused = DEGRADED | REFUSED, dict.fromkeys(REFUSED, StoreUnavailableError)

    def learnt(client: Any) -> dict[str, Any]:
        """What each question is answered while Redis is there, of those who are asked about."""
        return {name: told(question, client) for name, question in DEGRADED.items() if name not in OF_STRANGERS}

    def without(client: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        said = {name: told(question, client) for name, question in asked.items()}
        return said, {name: marked(question, client) for name, question in DEGRADED.items()}

    try:
        with ProfileClient(settings=brief, clock=clock, timeout_s=2.0) as portrait, ExitStack() as open_ways:
            ways = {"in process": portrait}
            for way, kind in (
                ("http", ProfileClient),
                ("async", AsyncProfileClient),
                ("async http", AsyncProfileClient),
            ):
                options = {"url": url_of(running)} if "http" in way else {"settings": brief, "clock": clock}
                client = kind(**options, timeout_s=2.0 if "url" not in options else 10.0)
                ways[way] = client if kind is ProfileClient else Awaited(client)
                open_ways.callback(ways[way].close if kind is ProfileClient else ways[way].end)
            before = [learnt(client) for client in ways.values()]
            with paused(shop):
                found = {way: without(client) for way, client in ways.items()}
            counted = running.http.get("/metrics").text
    finally:
        running.close()
    assert all(each == before[0] for each in before)
    for of in ("redemption", "profile_v1", "user_category_v1"):
        assert f'portrait_degraded_total{{of="{of}"}}' in counted
    expected, marks = found["in process"]
    assert {name for name, answer in expected.items() if is_failure(answer)} == set(refused)
    assert all(flags and all(flags) for flags in marks.values()), marks
    for way, (said, flags) in found.items():
        assert {name: said[name] for name in DEGRADED} == {name: expected[name] for name in DEGRADED}, way
        assert {name: said[name][0] for name in refused} == refused, way
        assert flags == marks, way


def test_what_never_answers_is_waited_for_until_the_deadline(
    shop: Settings, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("PORTRAIT_REDIS_URL", f"redis://127.0.0.1:{port}/0")
        for way, client in others(f"http://127.0.0.1:{port}", load_settings(), clock, timeout_s=0.2):
            with pytest.raises(StoreUnavailableError, match="answer"):
                client.profile(RAW)
            assert ("server" in client.health()) == ("http" in way)


EVENTS = [BUY, {**BUY, "amount": "x"}, {**BUY, "amount": float("nan")}, {}, {**BUY, "user_id": "\ud800"}, 7, None]


def test_events_are_taken_and_refused_alike(settings: Settings) -> None:
    clock = FixedClock(7)
    running = Running(settings, clock)
    mine = [*EVENTS[:2], Event.purchase(user_id="ada", item_id="7", amount=1.0)]
    many = [{**BUY, "event_id": str(i), "amount": "x" if i in {3, 1500} else 1.0} for i in range(2100)]
    try:
        with ProfileClient(clock=clock) as portrait:
            expected = [portrait.track(each) for each in (mine, many, [], BUY)]
            refused = [each.index for each in portrait.track(EVENTS).rejected]
        for way, client in others(url_of(running), settings, clock):
            assert [client.track(each) for each in (mine, many, [], BUY)] == expected, way
            assert [each.index for each in client.track(EVENTS).rejected] == refused, way
    finally:
        running.close()
    assert [each.index for each in expected[1].rejected] == [3, 1500]


def test_a_full_stream_says_what_was_taken_and_refused_alike(settings: Settings, redis: Any) -> None:
    clock, small = FixedClock(7), settings.model_copy(update={"stream_limit": 4_800})
    running = Running(small, clock)
    many = [{} if i in {3, 1500} else {**BUY, "event_id": str(i)} for i in range(4_000)]

    def refused(client: Any) -> BufferFullError:
        redis.flushall()
        with pytest.raises(BufferFullError) as caught:
            client.track(many)
        return caught.value

    try:
        with ProfileClient(clock=clock, settings=small) as portrait:
            expected = refused(portrait)
        for way, client in others(url_of(running), small, clock):
            found = refused(client)
            assert (found.what, found.hint, found.retry_after_s) == (expected.what, expected.hint, 1.0), way
            assert (found.accepted, found.rejected) == (expected.accepted, expected.rejected), way
    finally:
        running.close()
