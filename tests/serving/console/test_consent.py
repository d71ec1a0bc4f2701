"""What a shopper does not permit is not shown, or is marked; what cannot be read is not permitted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from feature_repo.core.errors import StoreUnavailableError
from feature_repo.privacy.consent import PURPOSES, Consent
from serving.console.consent import Allowed, allowed
from serving.console.desk import Desk
from serving.console.recommended import list_view, told
from serving.console.shopper import told as portrait_of
from serving.console.words import Words
from serving.profile import Fact, Freshness, Profile
from serving.recommending.recommendation import Recommendations, Recommended
from serving.tags.answers import TagValue

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
USER = "u_" + "a" * 32
EN = Words("en")
LIST = Recommendations(
    USER,
    "r_1",
    "items@1",
    NOW,
    None,
    (Recommended("7", "SOUP", 0.5, "popular", "Many shoppers buy it.", "许多", False),),
)
RISKY = TagValue(
    "churn_risk", 1, "model", "risk", "Churn risk", "流失风险", "high", "High", "高", 0.5, (), "churn@1", NOW, ""
)
PROFILE = Profile(
    USER,
    True,
    {"value": (Fact("user_payments__count_7d", 2, "Visits.", "到店"),)},
    Freshness(NOW, {}, None),
    tags=(RISKY,),
)


def said(granted: bool | None) -> Allowed:
    return Allowed(Consent(USER, dict.fromkeys(PURPOSES, granted)))


class Client:
    """Answers as a client does; ``consent`` is what it says or raises."""

    def __init__(self, consent: Any) -> None:
        self._consent = consent

    def consent(self, user: str) -> Consent:
        if isinstance(self._consent, Exception):
            raise self._consent
        found: Consent = self._consent
        return found

    def recommend(self, user: str, *, k: int) -> Recommendations:
        return LIST


@pytest.mark.parametrize("purpose", ["personalisation", "risk"])
def test_only_a_yes_is_shown_without_a_word(purpose: Any) -> None:
    assert (said(True).withheld(purpose, EN), said(True).warning(purpose, EN)) == ("", "")
    assert said(False).withheld(purpose, EN).startswith("Not shown: the shopper withdrew")
    assert said(None).withheld(purpose, EN) == ""
    assert "must not" in said(None).warning(purpose, EN) or "nothing may follow" in said(None).warning(purpose, EN)
    assert Allowed(None).withheld(purpose, EN).startswith("Not shown: whether")


def test_chips_say_what_the_sdk_says() -> None:
    for granted in (True, False, None):
        consent = said(granted).said
        assert consent
        chips = said(granted).chips(EN)
        assert [chip.permitted for chip in chips] == [consent.permits(each) for each in PURPOSES]
    assert Allowed(None).chips(EN) == ()


def test_consent_that_cannot_be_read_is_none() -> None:
    client: Any = Client(StoreUnavailableError("Redis is away."))
    assert allowed(client, USER) == Allowed(None)


@pytest.mark.parametrize(("granted", "shown"), [(True, True), (None, True), (False, False)])
def test_a_list_is_withheld_from_who_does_not_want_one(granted: bool | None, shown: bool) -> None:
    client: Any = Client(said(granted).said)
    desk = Desk(settings=None, clock=None, portrait=client, shelf=None)  # type: ignore[arg-type]
    if not shown:
        found = list_view(desk, USER, EN)
        assert (found.items, found.model) == ((), "")
        assert found.withheld
    else:
        found = told(LIST, said(granted), NOW, EN)
        assert [item.item_id for item in found.items] == ["7"]
        assert bool(found.warning) == (granted is None)


@pytest.mark.parametrize("granted", [True, None, False])
def test_the_dimension_of_risk_is_withheld_from_who_withdrew(granted: bool | None) -> None:
    view = portrait_of(PROFILE, None, said(granted), NOW, EN)
    [value, risk] = view.dimensions
    assert [line.value for line in value.facts] == ["2"]
    assert [line.word for line in risk.tags] == ([] if granted is False else ["High"])
    assert bool(risk.withheld) == (granted is False)
    assert bool(risk.warning) == (granted is not True)


def test_without_redis_what_was_last_known_is_shown_as_such_and_nothing_is_permitted() -> None:
    view = portrait_of(replace(PROFILE, degraded=True), None, Allowed(None), NOW, EN)
    assert view.degraded == "2026-03-04 12:00:00 UTC"
    assert view.consent == ()
    [value, risk] = view.dimensions
    assert value.facts
    assert (risk.tags, risk.withheld) == ((), EN("unread.risk"))
    assert portrait_of(PROFILE, None, said(None), NOW, EN).degraded == ""
