"""The last word on a purpose holds, read online and offline; silence is no consent, except to be served."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import get_args

import pandas as pd
import pyarrow as pa
import pytest

from feature_repo.core.clock import SystemClock
from feature_repo.core.errors import DataError, NotMaterializedError
from feature_repo.core.settings import Settings
from feature_repo.engine.feature_store import open_store
from feature_repo.events.door import admit
from feature_repo.jobs.features import apply
from feature_repo.jobs.materialize import materialize
from feature_repo.jobs.parity import parity
from feature_repo.privacy.consent import PURPOSES, PurposeName
from serving import Consent, ProfileClient

ADA, BOB = ("u_" + digit * 32 for digit in "ab")
BEGIN = datetime.now(UTC) - timedelta(days=3)


def say(settings: Settings, *events: tuple[str, str, bool, int]) -> dict[str, int]:
    users, purposes, granted, hours = zip(*events, strict=True)
    times = pa.array([BEGIN + timedelta(hours=n) for n in hours], pa.timestamp("us", "UTC"))
    ids = [f"{user}{purpose}{n}" for user, purpose, n in zip(users, purposes, hours, strict=True)]
    columns = {"event_id": ids, "event_timestamp": times, "ingested_at": times, "user_id": users}
    rows = pa.table({**columns, "purpose": purposes, "granted": granted})
    return admit(settings.log_root, "consent", rows, source="page").quarantined


@pytest.fixture
def asked(settings: Settings) -> Settings:
    """ADA allowed marketing and withdrew it, allowed personalisation late, and does not want to be served."""
    apply()
    said = [("marketing", True, 1), ("marketing", False, 2), ("personalisation", False, 1), ("service", False, 1)]
    assert say(settings, *((ADA, *each) for each in said)) == {}
    materialize(settings, SystemClock(), views=["user_consent"])
    assert say(settings, (ADA, "personalisation", True, 3), (ADA, "marketing", True, 0)) == {}
    materialize(settings, SystemClock(), views=["user_consent"])
    return settings


@pytest.fixture
def portrait(asked: Settings) -> Iterator[ProfileClient]:
    with ProfileClient(settings=asked) as client:
        yield client


def test_the_last_word_holds_whenever_it_arrives(portrait: ProfileClient) -> None:
    granted = {"service": False, "personalisation": True, "marketing": False, "risk": None}
    assert portrait.consent(ADA) == Consent(ADA, granted)
    assert [portrait.consent(ADA).permits(purpose) for purpose in PURPOSES] == [False, True, False, False]


def test_who_said_nothing_is_served_and_nothing_else(portrait: ProfileClient) -> None:
    assert set(portrait.consent(BOB).granted.values()) == {None}
    answers = {purpose: portrait.permitted([ADA, BOB], purpose).tolist() for purpose in PURPOSES}
    assert answers == {
        "service": [False, True],
        "personalisation": [True, False],
        "marketing": [False, False],
        "risk": [False, False],
    }
    assert portrait.permitted([], "risk").tolist() == []


def test_offline_it_is_as_it_was_at_the_time(asked: Settings) -> None:
    at = [BEGIN + timedelta(hours=n) - timedelta(minutes=1) for n in (1, 2, 3)]
    frame = pd.DataFrame({"user_id": [ADA] * 3, "purpose": ["marketing"] * 3, "event_timestamp": at})
    found = open_store().get_historical_features(frame, ["user_consent:granted"]).to_df()
    assert found.sort_values("event_timestamp")["granted"].tolist() == [True, True, False]
    assert parity(asked, SystemClock(), users=9, views=["user_consent"]).mismatches == 0


def test_an_unknown_purpose_is_refused_at_the_door_and_said_to_who_asks(
    portrait: ProfileClient, asked: Settings
) -> None:
    assert say(asked, (BOB, "profiling", True, 5), (BOB, "risk", True, 5)) == {"unknown_purpose": 1}
    with pytest.raises(DataError, match=r"no purpose 'personalization'(.|\n)*'personalisation'"):
        portrait.permitted([ADA], "personalization")


def test_what_cannot_be_read_is_not_permitted(settings: Settings) -> None:
    apply()
    with ProfileClient(settings=settings) as client, pytest.raises(NotMaterializedError):
        client.permitted([ADA], "service")


def test_every_purpose_says_what_it_is() -> None:
    assert tuple(PURPOSES) == get_args(PurposeName)
    assert all(each.description and each.zh for each in PURPOSES.values())
