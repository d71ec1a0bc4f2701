"""While Redis does not answer: what was last known, of whom it may be said, for so long, and said to be so."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from feature_repo import cli
from feature_repo.core.clock import SECOND, FixedClock, SystemClock, to_us
from feature_repo.core.degrading import DEFAULTS, LAST_KNOWN, REFUSE
from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.privacy.tombstones import Tombstones
from hung_redis import paused
from serving import ProfileClient
from serving.consents import CONSENT
from serving.models import Score
from serving.scoring import ModelRegistry

pytestmark = pytest.mark.slow(35)

RAW, OTHER = "2375", "1364"
TIMEOUT_S = 3.0


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(SystemClock().now_us())


@pytest.fixture
def portrait(shop: Settings, clock: FixedClock) -> Iterator[ProfileClient]:
    with ProfileClient(settings=shop, clock=clock, timeout_s=TIMEOUT_S) as client:
        client.warm_up()
        yield client


@pytest.fixture
def allowing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make the champion one that allows something else without Redis."""
    loaded = ModelRegistry.version

    def allow(what: str) -> None:
        monkeypatch.setattr(
            ModelRegistry, "version", lambda self, *asked: replace(loaded(self, *asked), without_redis=what)
        )

    return allow


def told(scores: Iterable[Score]) -> list[tuple[Any, ...]]:
    """All an answer says but that it is degraded; a sum of floats depends on who else is asked about, at its end."""
    facts = [vars(each) | {"degraded": None, "value": float(f"{each.value:.12g}")} for each in scores]
    return [tuple(each.values()) for each in facts]


def test_a_shopper_who_was_scored_is_scored_again_from_memory_within_the_deadline(
    shop: Settings, portrait: ProfileClient, clock: FixedClock
) -> None:
    before = portrait.predict("redemption", [RAW, OTHER, "never seen", RAW])
    read_at = clock.now_us()
    clock.at_us = read_at + 60 * SECOND
    with paused(shop):
        for _ in range(5):
            began = time.monotonic()
            found = portrait.predict("redemption", [OTHER, RAW, "never seen"])
            assert time.monotonic() - began < TIMEOUT_S
            assert found.degraded
            assert told(found) == told([before[1], before[0], before[2]])
            assert [each.degraded for each in found] == [True] * 3
            assert to_us(found.features_as_of) == read_at
    assert not before.degraded


def test_rows_that_were_read_at_different_instants_say_so(
    shop: Settings, portrait: ProfileClient, clock: FixedClock
) -> None:
    first = clock.now_us()
    one, nobody = portrait.predict("redemption", [RAW, "never seen"])
    clock.at_us = first + SECOND
    [two] = portrait.predict("redemption", OTHER)
    with paused(shop):
        found = portrait.predict("redemption", [RAW, OTHER, "never seen"])
    assert found.features_as_of == one.features_as_of < two.features_as_of
    assert told(found) == told([one, two, nobody])


def test_what_is_not_kept_is_answered_as_the_task_allows(
    shop: Settings, portrait: ProfileClient, allowing: Callable[[str], None]
) -> None:
    kept, nobody = portrait.predict("redemption", [RAW, "never seen"])
    with paused(shop):
        allowing(DEFAULTS)
        known, guess = portrait.predict("redemption", [RAW, OTHER])
        assert told([known]) == told([kept])
        assert told([replace(guess, user_id=nobody.user_id)]) == told([nobody])
        allowing(LAST_KNOWN)
        assert told(portrait.predict("redemption", [RAW])) == told([kept])
        with pytest.raises(StoreUnavailableError):
            portrait.predict("redemption", [RAW, OTHER])
        allowing(REFUSE)
        with pytest.raises(StoreUnavailableError):
            portrait.predict("redemption", [RAW])


def test_the_champion_of_redemption_may_guess(shop: Settings, portrait: ProfileClient) -> None:
    with paused(shop):
        assert portrait.predict("redemption", "never asked about").degraded


def test_who_starts_while_redis_is_away_has_defaults_alone(
    shop: Settings, portrait: ProfileClient, clock: FixedClock
) -> None:
    expected = portrait.predict("redemption", "never seen")
    with paused(shop), ProfileClient(settings=shop, clock=clock, timeout_s=TIMEOUT_S) as fresh:
        found = fresh.predict("redemption", RAW)
        with pytest.raises(StoreUnavailableError):
            fresh.features([RAW])
    assert told([replace(found[0], user_id=expected[0].user_id)]) == told(expected)
    assert not found[0].known


def test_the_command_says_that_it_guesses(
    shop: Settings, portrait: ProfileClient, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = portrait.predict("redemption", "never seen")
    with paused(shop):
        assert cli.main(["predict", "redemption", RAW, "--json"]) == 0
        [said] = json.loads(capsys.readouterr().out)["scores"]
        assert cli.main(["predict", "redemption", RAW]) == 0
        assert "Redis does not answer" in capsys.readouterr().err
    assert (said["degraded"], said["known"], said["value"]) == (True, False, pytest.approx(expected[0].value))


def test_features_and_portraits_are_the_last_known_ones_and_never_guessed(
    shop: Settings, portrait: ProfileClient
) -> None:
    features, profile = portrait.features([RAW, OTHER]), portrait.profile(RAW)
    with paused(shop):
        found = portrait.features([OTHER, RAW])
        assert found.degraded
        assert found.to_arrow().to_pylist() == features.to_arrow().to_pylist()[::-1]
        assert (found.known, found.missing) == (features.known[::-1], features.missing[::-1])
        assert portrait.profile(RAW) == replace(profile, degraded=True, tags=())
        for question in (portrait.features, portrait.profile):
            with pytest.raises(StoreUnavailableError):
                question("never seen")


def test_pairs_are_kept_as_pairs(shop: Settings, portrait: ProfileClient) -> None:
    pairs = pd.DataFrame({"user_id": [RAW, RAW, OTHER], "category": ["SOFT DRINKS", "BEEF", "BEEF"]})
    before = portrait.features(pairs, service="user_category_v1")
    with paused(shop):
        found = portrait.features(pairs[1:], service="user_category_v1")
        assert found.to_arrow().to_pylist() == before.to_arrow().to_pylist()[1:]
        with pytest.raises(StoreUnavailableError):
            portrait.features(
                pd.DataFrame({"user_id": [OTHER], "category": ["SOFT DRINKS"]}), service="user_category_v1"
            )


def test_what_is_older_than_the_bound_is_not_answered(
    shop: Settings, portrait: ProfileClient, clock: FixedClock
) -> None:
    portrait.features(RAW)
    last = clock.now_us() + shop.remembered_s * SECOND
    with paused(shop):
        clock.at_us = last
        assert portrait.features(RAW).degraded
        clock.at_us = last + 1
        with pytest.raises(StoreUnavailableError):
            portrait.features(RAW)


def test_consent_is_never_answered_from_memory(shop: Settings, portrait: ProfileClient) -> None:
    asked = pd.DataFrame({"user_id": [RAW], "purpose": ["marketing"]})
    portrait.permitted([RAW], "marketing")
    portrait.features(asked, service=CONSENT)
    with paused(shop):
        for question in (
            lambda: portrait.permitted([RAW], "marketing"),
            lambda: portrait.consent(RAW),
            lambda: portrait.features(asked, service=CONSENT),
        ):
            with pytest.raises(StoreUnavailableError):
                question()


def test_in_an_experiment_nobody_is_enrolled_and_the_champion_answers(shop: Settings, portrait: ProfileClient) -> None:
    kept = portrait.predict("redemption", RAW)
    with paused(shop):
        began = time.monotonic()
        [found] = portrait.predict("redemption", RAW, experiment="redemption_model")
        assert time.monotonic() - began < TIMEOUT_S
    assert (found.value, found.degraded, found.enrolled) == (pytest.approx(kept[0].value, rel=1e-12), True, False)


def test_of_an_erased_person_nothing_is_remembered(
    shop: Settings, portrait: ProfileClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    portrait.features(RAW)
    nobody = portrait.predict("redemption", [RAW, "never seen"])[1]
    erased = portrait.key(RAW)
    monkeypatch.setattr(Tombstones, "count", 1)
    monkeypatch.setattr(Tombstones, "holds", lambda _, user: user == erased)
    with paused(shop):
        found = portrait.predict("redemption", RAW)[0]
        assert (found.value, found.known) == (pytest.approx(nobody.value, rel=1e-12), False)
        assert portrait.features(RAW).known == (False,)


def test_a_setting_switches_it_off(shop: Settings, clock: FixedClock) -> None:
    off = shop.model_copy(update={"remembered": 0})
    with ProfileClient(settings=off, clock=clock, timeout_s=TIMEOUT_S) as client:
        assert not client.predict("redemption", RAW).degraded
        with paused(shop), pytest.raises(StoreUnavailableError):
            client.predict("redemption", RAW)


def test_the_latest_shoppers_are_kept_and_no_more_than_was_said(shop: Settings, clock: FixedClock) -> None:
    few = shop.model_copy(update={"remembered": 8})
    users = [str(n) for n in range(1, 40)]
    with ProfileClient(settings=few, clock=clock, timeout_s=TIMEOUT_S) as client:
        for user in users:
            client.features(user)

        def kept(user: str) -> bool:
            try:
                return client.features(user).degraded
            except StoreUnavailableError:
                return False

        with paused(shop):
            found = [kept(user) for user in users]
    assert 4 <= sum(found) <= 8
    assert found == sorted(found)


def test_explanations_are_not_guessed(shop: Settings, portrait: ProfileClient) -> None:
    portrait.explain("redemption", RAW)
    with paused(shop):
        for question in (portrait.explain, portrait.what_if):
            with pytest.raises(StoreUnavailableError):
                question("redemption", RAW)


def test_fresh_answers_come_back_with_redis(shop: Settings, portrait: ProfileClient) -> None:
    portrait.predict("redemption", RAW)
    with paused(shop):
        assert portrait.predict("redemption", RAW).degraded
    deadline = time.monotonic() + 30
    while portrait.predict("redemption", RAW).degraded:
        assert time.monotonic() < deadline
