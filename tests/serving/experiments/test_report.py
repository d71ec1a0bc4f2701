"""Who counts in a report, and which outcomes: to the microsecond."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from feature_repo import cli
from feature_repo.core.clock import DAY, FixedClock, to_us
from feature_repo.core.settings import Settings, load_settings
from feature_repo.privacy.tombstones import Tombstones
from made_experiments import PAGE, START, said
from serving.experiments import experiment as declarations
from serving.experiments.findings import ExperimentReport
from serving.experiments.report import report_of
from shop_stream import pseudonym

US = timedelta(microseconds=1)
AFTER = FixedClock(to_us(START) + 90 * DAY)
ADA, BOB, CAT, DAN, EVE, FAY = (pseudonym(number) for number in range(6))


@pytest.fixture
def shop(home: object) -> Settings:
    """A home whose log ends long after the experiment."""
    settings = load_settings()
    said(settings, "view", [{"user_id": pseudonym(99), "at": START + timedelta(days=90)}])
    return settings


def met(settings: Settings, *rows: tuple[str, str, datetime], experiment: str = "home_page") -> None:
    names = ("user_id", "variant", "at")
    facts = [dict(zip(names, row, strict=True)) | {"experiment": experiment} for row in rows]
    said(settings, "experiment_exposure", facts)


def bought(settings: Settings, *rows: tuple[str, datetime, float]) -> None:
    said(settings, "purchase", [{"user_id": user, "at": at, "amount": amount} for user, at, amount in rows])


def report(settings: Settings, clock: FixedClock = AFTER, **changes: Any) -> ExperimentReport:
    return report_of(settings, replace(PAGE, **changes), clock)


def values(found: ExperimentReport, outcome: str) -> list[tuple[int, float]]:
    return [(arm.shoppers, arm.value) for arm in found.outcomes[outcome].arms]


def test_an_outcome_lies_behind_the_exposure_and_within_the_span(shop: Settings) -> None:
    at = START + timedelta(days=2)
    met(shop, *((user, "control", at) for user in (ADA, BOB, CAT, DAN, EVE)))
    week = at + timedelta(days=7)
    bought(shop, (ADA, at, 1.0), (BOB, at + US, 2.0), (CAT, week, 4.0), (DAN, week + US, 8.0), (EVE, at - US, 16.0))
    found = report(shop)
    assert values(found, "conversion") == [(5, 2 / 5), (0, pytest.approx(math.nan, nan_ok=True))]
    assert values(found, "spend")[0] == (5, 6 / 5)


def test_a_shopper_counts_from_the_first_exposure_on_and_once(shop: Settings) -> None:
    met(shop, (ADA, "other", START + timedelta(days=20)), (ADA, "other", START + timedelta(days=2)))
    bought(shop, *((ADA, START + timedelta(days=day), 3.0) for day in (1, 3, 4, 21)))
    found = report(shop)
    assert [share.shoppers for share in found.shares] == [0, 1]
    assert values(found, "conversion")[1] == (1, 1.0)
    assert values(found, "spend")[1] == (1, 6.0)


def test_who_met_two_variants_or_none_that_is_declared_is_counted_and_left_out(shop: Settings) -> None:
    at = START + timedelta(days=2)
    met(shop, (ADA, "control", at), (ADA, "other", at + US), (BOB, "third", at), (CAT, "other", at))
    bought(shop, *((user, at + 2 * US, 1.0) for user in (ADA, BOB, CAT)))
    found = report(shop)
    assert ([share.shoppers for share in found.shares], found.crossed, found.undeclared) == ([0, 1], 1, 1)
    assert [arm.shoppers for arm in found.outcomes["conversion"].arms] == [0, 1]
    assert values(found, "conversion")[1] == (1, 1.0)


def test_only_exposures_of_the_experiment_in_its_time_count(shop: Settings) -> None:
    end = START + timedelta(days=28)
    met(shop, (ADA, "control", START - US), (BOB, "control", START), (CAT, "control", end - US), (DAN, "control", end))
    met(shop, (EVE, "control", START), experiment="another")
    assert [share.shoppers for share in report(shop).shares] == [2, 0]


def test_the_erased_are_absent_before_their_rows_are_removed(shop: Settings) -> None:
    met(shop, (ADA, "control", START), (BOB, "control", START))
    bought(shop, (ADA, START + US, 1.0))
    Tombstones(shop.home).add(ADA)
    found = report(shop)
    assert found.shares[0].shoppers == 1
    assert values(found, "conversion")[0] == (1, 0.0)


def test_whose_span_is_not_over_is_left_out_of_the_outcome(shop: Settings) -> None:
    at = START + timedelta(days=10)
    met(shop, (ADA, "control", at), (BOB, "control", at + US))
    bought(shop, (BOB, at + 2 * US, 1.0))
    week_later = FixedClock(to_us(at) + 7 * DAY)
    found = report(shop, week_later)
    assert values(found, "conversion")[0] == (1, 0.0)
    assert [found.state, found.shares[0].shoppers] == ["running", 2]
    assert found.verdict.startswith("It is not over")
    week_later.at_us += 1
    assert values(report(shop, week_later), "conversion")[0] == (2, 0.5)


def test_a_log_that_ends_early_ends_the_spans(home: object) -> None:
    settings = load_settings()
    met(settings, (ADA, "control", START))
    said(settings, "view", [{"user_id": BOB, "at": START + timedelta(days=7) - US}])
    assert values(report(settings), "conversion")[0][0] == 0
    said(settings, "view", [{"user_id": BOB, "at": START + timedelta(days=7)}])
    assert values(report(settings), "conversion")[0] == (1, 0.0)


def test_clicks_returns_and_surveys_are_outcomes_too(shop: Settings) -> None:
    met(shop, *((user, "control", START) for user in (ADA, BOB, CAT, DAN)))
    day = timedelta(days=1)
    said(shop, "click", [{"user_id": ADA, "at": START + day}])
    answers = [(BOB, "clicked"), (CAT, "dismissed")]
    said(shop, "feedback", [{"user_id": user, "at": START + day, "action": action} for user, action in answers])
    said(shop, "view", [{"user_id": user, "at": START + n * day} for user, n in ((ADA, 21), (BOB, 22), (CAT, 29))])
    scores = [(ADA, 1.0), (ADA, 2.0), (BOB, 5.0), (BOB, None)]
    said(
        shop,
        "survey",
        [{"user_id": user, "at": START + (n + 1) * day, "score": s} for n, (user, s) in enumerate(scores)],
    )
    found = report(shop)
    assert values(found, "click_through")[0] == (4, 0.5)
    assert values(found, "retention")[0] == (4, 0.25)
    assert values(found, "satisfaction")[0] == (2, 3.25)


def test_nothing_is_known_of_an_empty_home(home: object) -> None:
    found = report(load_settings())
    assert (found.known_until, found.verdict) == (None, "Nobody met it yet.")
    assert not found.sample_ratio.alarm


def test_every_variant_is_compared_with_the_control_by_a_stricter_bound(shop: Settings) -> None:
    variants = (*PAGE.variants, replace(PAGE.variants[1], name="third"))
    users = [pseudonym(1_000 + n) for n in range(600)]
    met(shop, *((user, variants[n % 3].name, START) for n, user in enumerate(users)))
    # 20 %, 29 % and 40 % of 200.
    buys = {0: 40, 1: 58, 2: 80}
    bought(shop, *((user, START + US, 1.0) for n, user in enumerate(users) if n // 3 < buys[n % 3]))
    found = report(shop, variants=variants)
    first, second = found.outcomes["conversion"].effects
    assert (first.difference, first.relative) == pytest.approx((0.09, 0.45))
    assert 0.025 < first.p_value < 0.05
    assert "No difference of 'other' from 'control' is shown" in found.verdict
    assert "'third' is better than 'control' in conversion: 40.00% against 20.00%" in found.verdict
    assert second.low < 0.2 < second.high


def test_the_command_prints_it_and_fails_where_the_split_is_not_as_declared(
    shop: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(declarations, "all_experiments", lambda: {"home_page": PAGE})
    users = [pseudonym(2_000 + n) for n in range(300)]
    met(shop, *((user, "control" if n < 110 else "other", START) for n, user in enumerate(users[:220])))
    assert cli.main(["experiments", "report", "home_page"]) == 0
    text = capsys.readouterr().out
    assert "Split as declared: yes (p 1)" in text
    assert "conversion: bought within 7 days, which decides" in text
    met(shop, *((user, "other", START) for user in users[220:]))
    assert cli.main(["experiments", "report", "home_page", "--json"]) == 1
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert found["sample_ratio"]["alarm"]
    assert found["verdict"].startswith("The effects say nothing")
    assert [each["shoppers"] for each in found["shares"]] == [110, 190]
    assert "not split as declared" in told.err
    assert cli.main(["experiments", "list", "--json"]) == 0
    [listed] = json.loads(capsys.readouterr().out)["experiments"]
    assert (listed["name"], listed["state"], listed["unit"]) == ("home_page", "over", "user")
    assert cli.main(["experiments", "report", "no_page"]) == 2
    assert not [user for user in users if user in told.out + text]
