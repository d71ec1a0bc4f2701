"""A portrait shows tags first: the same as are asked for alone, by dimension, and harmless on a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from feature_repo.core.clock import FixedClock, SystemClock
from feature_repo.core.errors import DeclarationError
from feature_repo.core.settings import Settings
from serving import ProfileClient
from serving.reasons.page import page
from serving.tags import desk
from serving.tags.shown import rows_of

RAW = "2375"


@pytest.fixture
def portrait(shop: Settings) -> Iterator[ProfileClient]:
    with ProfileClient(clock=FixedClock(SystemClock().now_us())) as client:
        yield client


def test_a_portraits_tags_are_those_of_the_shopper_by_dimension(portrait: ProfileClient) -> None:
    profile, tags = portrait.profile(RAW), portrait.tags(RAW)
    assert profile.tags == tags.tags
    assert list(profile.tagged) == ["basic", "behaviour", "preference", "value", "lifecycle", "risk"]
    assert profile.tagged == tags.dimensions
    assert all(tag.value is not None for each in profile.tagged.values() for tag in each)
    assert tags["segment"].value == portrait.segment(RAW).segment.name  # type: ignore[union-attr]
    assert tags["segment"].as_of == portrait.segment(RAW).placed_at


def test_evidence_is_what_features_say(portrait: ProfileClient) -> None:
    facts = {fact.name: fact.value for facts in portrait.profile(RAW).dimensions.values() for fact in facts}
    evidence = {each.name: each.value for tag in portrait.tags(RAW).tags for each in tag.evidence}
    assert {name: value for name, value in evidence.items() if name in facts} == {
        name: facts[name] for name in evidence if name in facts
    }
    assert evidence["score__redemption"] == pytest.approx(portrait.predict("redemption", [RAW])[0].value, rel=1e-7)


def test_a_registry_of_before_has_portraits_without_tags(
    portrait: ProfileClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(desk, "TAGS_SERVICE", "tags_v0")
    assert portrait.profile(RAW).tags == ()
    assert "Portraits have no tags" in caplog.text
    with pytest.raises(DeclarationError, match="tags_v0"):
        portrait.tags(RAW)


def test_the_page_shows_tags_before_all_else_and_nothing_of_them_runs(portrait: ProfileClient) -> None:
    evil = "<script>alert(1)</script>"
    profile = portrait.profile(RAW)
    tags = tuple(replace(tag, word=evil, unknown=evil, chinese=evil) for tag in profile.tags)
    shown = page(replace(profile, tags=tags), None, [])
    assert evil not in shown
    assert "&lt;script&gt;" in shown
    assert 0 < shown.index("Tags") < shown.index("user_demographics__age_band</code>")


def test_known_tags_come_first_in_their_dimension(portrait: ProfileClient) -> None:
    rows: list[Any] = list(rows_of(portrait.tags(RAW).tags))
    assert len(rows) == len(portrait.tags(RAW).tags)
    for dimension in dict.fromkeys(row[0] for row in rows):
        values = [row[3] == "-" for row in rows if row[0] == dimension]
        assert values == sorted(values)
