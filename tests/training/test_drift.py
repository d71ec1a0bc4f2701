"""Changes injected into a copy of the real log alarm, its own quiet weeks do not."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from feature_repo.core.settings import Settings, load_settings
from feature_repo.events.schema import TABLES, log_table
from training.data.dataset import dataset
from training.data.log_views import head_versions
from training.declaring.recipe import Linear, Recipe
from training.fitting.fit import fit
from training.monitor.changes import CHANGES, Change, play
from training.monitor.drift import Champion, DriftReport, Verdict, drift_of
from training.monitor.panels import WEEK_US, last_event
from training.monitor.references import reference_of
from training.monitor.thresholds import USUAL
from training.task import Task

pytestmark = pytest.mark.slow(40)

LATER = 8
CHANGED = 2


@dataclass(frozen=True)
class Version:
    version: str = "1"


@dataclass(frozen=True)
class Cut:
    """The demo's log up to eight weeks before its end, and a champion of it; `whole` has the weeks after it too."""

    whole: Path
    then: Path
    task: Task
    champion: Champion
    at: int


@pytest.fixture(scope="module")
def cut(demo_home: Path, tmp_path_factory: pytest.TempPathFactory, redemption: Task) -> Cut:
    then = tmp_path_factory.mktemp("cut") / "home"
    shutil.copytree(demo_home, then, ignore=shutil.ignore_patterns("log"))
    whole = Settings(home=demo_home, redis_url="")
    end = last_event(whole, "purchase", head_versions(whole, ["purchase"]))
    assert end is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PORTRAIT_HOME", str(then))
        settings = load_settings()
        for name in TABLES:
            log_table(settings.log_root, name).ensure()
        play(whole, settings, 0, end - LATER * WEEK_US)
        data = dataset(redemption, settings)
        scorer = fit(Recipe(linear=Linear(strength=0.03)), data, threads=2).scorer()
        reference = reference_of(data, scorer, settings)
    return Cut(demo_home, then, redemption, Champion(Version(), scorer, reference), reference.instant)


def look(cut: Cut, home: Path, weeks: int, monkeypatch: pytest.MonkeyPatch) -> DriftReport:
    monkeypatch.setenv("PORTRAIT_HOME", str(home))
    return drift_of(cut.task, load_settings(), cut.champion, at=cut.at + weeks * WEEK_US)


def changed(cut: Cut, change: Change, home: Path, monkeypatch: pytest.MonkeyPatch) -> DriftReport:
    shutil.copytree(cut.then, home)
    monkeypatch.setenv("PORTRAIT_HOME", str(home))
    whole, begin = Settings(home=cut.whole, redis_url=""), cut.at + (CHANGED - change.weeks) * WEEK_US
    if begin > cut.at:
        play(whole, load_settings(), cut.at + 1, begin)
    play(whole, load_settings(), begin + 1, cut.at + CHANGED * WEEK_US, change)
    return look(cut, home, CHANGED, monkeypatch)


EXPECTED = {
    "prices are three times as high": {"purchase.amount", "purchase.list_amount", "payment.amount"},
    "the largest category is gone": {"purchase.category"},
    "a column is all NULL": {"purchase.retail_discount", "payment.retail_discount"},
    "coupon events are missing": {"payment.coupon_lines"},
    "the clock is six hours ahead": {"purchase.hour", "payment.hour"},
    "every event comes twice": {"payment.per_shopper"},
    "half of the shoppers are new": {"shopper.is_new"},
    "quantities are in grams": {"purchase.quantity", "payment.items"},
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_an_injected_change_alarms_by_the_signals_it_touches(
    change: Change, cut: Cut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    report = changed(cut, change, tmp_path / "home", monkeypatch)
    assert set(report.alarms) >= EXPECTED[change.name]
    assert report.findings[0].verdict is Verdict.ALARM


@pytest.mark.parametrize("week", range(1, LATER + 1))
def test_a_quiet_week_of_the_season_does_not_alarm(week: int, cut: Cut, monkeypatch: pytest.MonkeyPatch):
    report = look(cut, cut.whole, week, monkeypatch)
    assert report.alarms == ()
    assert (report.at - report.since) // WEEK_US == week
    quiet = [each.name for each in report.findings if each.verdict is Verdict.QUIET]
    assert {"score", "purchase.amount", "user_payments__amount_sum_84d", "payment.per_shopper"} <= set(quiet)


def test_without_its_own_spread_a_quiet_week_would_alarm(cut: Cut, monkeypatch: pytest.MonkeyPatch):
    """The season moves campaigns: what the reference knows of its own weeks is what keeps them quiet."""
    naive = replace(USUAL, quiet_factor=0.0)
    monkeypatch.setenv("PORTRAIT_HOME", str(cut.whole))
    report = drift_of(cut.task, load_settings(), cut.champion, at=cut.at + 3 * WEEK_US, thresholds=naive)
    assert report.alarms == ("campaign_exposure.per_shopper",)


def test_no_text_that_could_name_a_shopper_is_in_a_reference(cut: Cut):
    told = cut.champion.reference.to_json()
    assert "u_" not in str([signal.get("texts") for signal in told["signals"]])
    assert not [signal["name"] for signal in told["signals"] if signal["name"].endswith("_id")]


def test_a_reference_is_what_was_written(cut: Cut):
    reference = cut.champion.reference
    assert type(reference).from_json(reference.to_json()) == reference
    assert len({signal.name for signal in reference.signals}) == len(reference.signals)
