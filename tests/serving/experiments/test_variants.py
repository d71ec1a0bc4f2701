"""Which variant a shopper gets through the SDK, whose model answers, and what the stream hears of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from feature_repo.core.clock import FixedClock, SystemClock, to_us
from feature_repo.core.console import plain
from feature_repo.core.errors import DataError, DeclarationError
from feature_repo.core.settings import Settings
from feature_repo.events.stream.collector import Collected, Collector
from feature_repo.events.stream.decode import decode
from feature_repo.events.stream.redis_channel import RedisReader
from feature_repo.jobs.consume import Consumer
from feature_repo.jobs.features import apply
from feature_repo.jobs.materialize import materialize
from made_experiments import PAGE
from running_app import Running
from serving import Event, ProfileClient, SplitScores
from serving.experiments import experiment as declarations
from serving.experiments.experiment import Variant
from serving.experiments.split import split
from shop_stream import pseudonym

BEGIN, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
NOW_ON = replace(PAGE, start=BEGIN, end=END)
PERSONAL = replace(NOW_ON, name="personal", purpose="personalisation")
MODELS = replace(
    NOW_ON,
    name="models",
    subject="",
    task="redemption",
    variants=(Variant("champion", "", model="champion"), Variant("first", "", model="1")),
)
ABSENT = replace(MODELS, name="absent", variants=(MODELS.variants[0], Variant("challenger", "", model="challenger")))
DECLARED = {each.name: each for each in (NOW_ON, PERSONAL, MODELS, ABSENT)}
USERS = [pseudonym(number) for number in range(40)]


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declarations, "all_experiments", lambda: DECLARED)
    monkeypatch.setattr("serving.experiments.desk.all_experiments", lambda: DECLARED)


@pytest.fixture
def applied(settings: Settings) -> Settings:
    apply()
    materialize(settings, SystemClock(), views=["user_consent", "user_feedback"])
    return settings


@pytest.fixture
def portrait(applied: Settings) -> Iterator[ProfileClient]:
    with ProfileClient(settings=applied) as client:
        yield client


def heard(settings: Settings) -> list[dict[str, Any]]:
    """Exposures in the stream."""
    reader = RedisReader(settings, name="test")
    reader.owned()
    found = decode(reader.read(10_000, wait_s=0), "redis").arrivals
    reader.close()
    return found["experiment_exposure"].rows.to_pylist() if "experiment_exposure" in found else []


def consume(settings: Settings) -> None:
    Consumer(settings, SystemClock(), until_empty=True).run()


def test_a_shopper_gets_one_variant_and_the_stream_hears_of_it(portrait: ProfileClient, applied: Settings) -> None:
    raw = portrait.variant("2375", "home_page", placement="top")
    assert raw == portrait.variant(portrait.key("2375"), "home_page", expose=False)
    assert (raw.enrolled, raw.why) == (True, "")
    assert raw.variant == NOW_ON.variants[split(NOW_ON, [raw.user_id])[0]].name
    assert portrait.exposures.flush(30)
    [exposure] = heard(applied)
    told = {name: exposure[name] for name in ("user_id", "experiment", "variant", "placement")}
    assert told == {"user_id": raw.user_id, "experiment": "home_page", "variant": raw.variant, "placement": "top"}


def test_many_are_split_as_each_alone(portrait: ProfileClient) -> None:
    found = portrait.variants(USERS, "home_page", expose=False)
    assert [each.variant for each in found] == [NOW_ON.variants[n].name for n in split(NOW_ON, USERS)]
    assert {each.variant for each in found} == {"control", "other"}
    assert portrait.variants([], "home_page") == ()
    assert portrait.exposures.counts().sent == portrait.exposures.counts().waiting == 0


def test_outside_of_its_time_nobody_is_in_it(applied: Settings) -> None:
    answers = []
    for at in (to_us(BEGIN) - 1, to_us(BEGIN), to_us(END) - 1, to_us(END)):
        with ProfileClient(settings=applied, clock=FixedClock(at)) as client:
            answers.append(client.variants(USERS, "home_page", expose=False))
    assert [{each.enrolled for each in found} for found in answers] == [{False}, {True}, {True}, {False}]
    assert {(each.variant, each.why) for each in answers[3]} == {("control", "not_running")}


def test_who_does_not_permit_its_purpose_is_not_in_it(portrait: ProfileClient, applied: Settings) -> None:
    portrait.track(
        [
            Event.consent(user_id=USERS[0], purpose="personalisation", granted=True),
            Event.consent(user_id=USERS[1], purpose="service", granted=False),
        ]
    )
    consume(applied)
    assert [each.enrolled for each in portrait.variants(USERS[:3], "personal")] == [True, False, False]
    found = portrait.variants(USERS[:3], "home_page", expose=False)
    assert [(each.enrolled, each.why) for each in found] == [(True, ""), (False, "no_consent"), (True, "")]
    assert found[1].variant == "control"
    assert portrait.exposures.flush(30)
    assert [each["user_id"] for each in heard(applied)] == [USERS[0]]


def test_without_redis_the_answer_goes_out_and_nobody_is_in_it(applied: Settings) -> None:
    away = applied.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    with ProfileClient(settings=away, timeout_s=0.5) as client:
        found = client.variant(USERS[0], "home_page")
        assert (found.variant, found.enrolled, found.why) == ("control", False, "no_consent")
        assert client.exposures.counts().waiting == 0


def test_what_is_not_there_or_about_something_else_is_told(portrait: ProfileClient) -> None:
    with pytest.raises(DeclarationError, match="did you mean 'home_page'"):
        portrait.variant("2375", "home_pages")
    with pytest.raises(DataError, match="'home_page', which is no task"):
        portrait.predict("redemption", ["2375"], experiment="home_page")
    with pytest.raises(DataError, match="about task 'redemption'"):
        portrait.predict("churn", ["2375"], experiment="models")
    with pytest.raises(DataError):
        portrait.variant("", "home_page")


def test_feedback_moves_the_profile_through_the_stream(portrait: ProfileClient, applied: Settings) -> None:
    assert portrait.feedback("2375", "clicked", item="995242", event_id="f1").accepted == 1
    portrait.feedback("2375", "clicked", item="995242", event_id="f1")
    portrait.feedback("2375", "dismissed", campaign="18", model="redemption@3")
    consume(applied)
    facts = {fact.name: fact.value for fact in portrait.profile("2375").dimensions["engagement"]}
    told = {name.removeprefix("user_feedback__"): facts[name] for name in facts if name.startswith("user_feedback__")}
    assert (told["count_7d"], told["value_mean_28d"], told["action_last_84d"]) == (2, 0.5, "dismissed")
    for wrong in ({"outcome": "clicked"}, {"outcome": "clicked", "item": "1", "value": "much"}):
        with pytest.raises(DataError):
            portrait.feedback("2375", **wrong)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Exposures that would go into the stream of the shop, which is shared."""
    found: list[dict[str, Any]] = []

    def collect(_: Collector, events: list[dict[str, Any]]) -> Collected:
        found.extend(events)
        return Collected(len(events), ())

    monkeypatch.setattr(Collector, "collect", collect)
    return found


def test_each_shopper_is_scored_by_the_model_of_the_variant(shop: Settings, told: list[dict[str, Any]]) -> None:
    days = {"campaign_days": [30] * 39 + [60]}
    with ProfileClient(clock=FixedClock(SystemClock().now_us())) as client:
        found = client.predict("redemption", USERS, context=days, experiment="models")
        usual = client.predict("redemption", USERS, context=days)
        assert isinstance(found, SplitScores)
        assert [(each.user_id, each.value, each.defaults) for each in found] == [
            (each.user_id, each.value, each.defaults) for each in usual
        ]
        assert found.to_df()["value"].tolist() == usual.to_df()["value"].tolist()
        assert [each.variant for each in found] == [MODELS.variants[n].name for n in split(MODELS, USERS)]
        assert found.to_df().loc[USERS[3], "variant"] == found[3].variant
        assert len(found.parts) == 2
        frame = pd.DataFrame({"user_id": USERS, **days})
        assert client.predict("redemption", frame, experiment="models").scores == found.scores
        alone = client.predict("redemption", USERS[3], experiment="models")
        assert (len(alone), alone[0].variant) == (1, found[3].variant)
        assert list(client.predict("redemption", [], experiment="models")) == []
        assert client.exposures.flush(30)
    heard = {each["user_id"]: (each["variant"], f"{each['model']}@{each['model_version']}") for each in told}
    assert heard == {each.user_id: (each.variant, each.model) for each in found}
    assert len(told) == len(USERS)


def test_over_http_the_scores_are_the_sdks(shop: Settings, told: list[dict[str, Any]]) -> None:
    clock = FixedClock(SystemClock().now_us())
    running = Running(shop, clock)
    try:
        asked = {"task": "redemption", "users": USERS, "experiment": "models"}
        answer = running.post("/v1/predict", json=asked)
        wrong = [running.post("/v1/predict", json=asked | {"experiment": each}) for each in ("home_page", "none", 7)]
    finally:
        running.close()
    with ProfileClient(clock=clock) as client:
        expected = client.predict("redemption", USERS, experiment="models")
    assert answer.json()["scores"] == [plain(each) for each in expected]
    assert [each.status_code for each in wrong] == [422, 404, 404]


def test_where_the_model_is_not_there_the_champion_answers_and_mlflow_is_asked_once(
    shop: Settings, told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProfileClient(clock=FixedClock(SystemClock().now_us())) as client:
        asked, version = [], client._transport._models.version

        def counting(task: str, which: str) -> Any:
            asked.append(which)
            return version(task, which)

        monkeypatch.setattr(client._transport._models, "version", counting)
        for _ in range(3):
            found = client.predict("redemption", USERS, experiment="absent")
            outside = [each for each in found if not each.enrolled]
            assert {(each.variant, each.why) for each in outside} == {("champion", "no_model")}
            usual = client.predict("redemption", USERS)
            assert [(each.value, each.model) for each in found] == [(each.value, each.model) for each in usual]
            assert len(outside) == split(ABSENT, USERS).count(1)
        assert asked.count("challenger") == 1
        assert client.exposures.flush(30)
    assert {each["user_id"] for each in told} == {each.user_id for each in found if each.enrolled}
