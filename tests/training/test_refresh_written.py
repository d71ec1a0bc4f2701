"""`portrait refresh` keeps segments and unusual behaviour: fitted when due, written at the log's end, once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis as redis_py

from feature_repo import cli
from feature_repo.core.clock import DAY, FixedClock, to_us
from feature_repo.core.settings import Settings, load_settings
from feature_repo.events.log import read_snapshot
from training import shopper_models
from training import task as task_module
from training.refreshing.action import Action
from training.refreshing.page import page
from training.refreshing.refresh import RefreshReport, refresh
from training.runs.aliases import aliases_of, moves
from training.runs.tracking import tracking
from training.segments.shopper_model import Segments
from training.unusual.shopper_model import UNUSUAL
from training.written.instants import log_end
from training.written.job import assign, fit
from training.written.model import ShopperModel

pytestmark = [pytest.mark.slow(60), pytest.mark.usefixtures("undrawn")]

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)  # the demo's, as the fixture loads it
CLOCK = FixedClock(to_us(NOW))
FIVE = Segments(k=5)
BOTH = (FIVE, UNUSUAL)
WEEK = timedelta(days=7)


@pytest.fixture(scope="module")
def fitted_home(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The demo with a champion of each model, fitted a week before the log's end, that has said nothing yet."""
    home = tmp_path_factory.mktemp("written") / "home"
    shutil.copytree(demo_home, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("PORTRAIT_HOME", str(home))
        for model in BOTH:
            assert fit(model, load_settings(), at=earlier(load_settings())).promoted
        yield home


@pytest.fixture
def own(fitted_home: Path, settings: Settings, redis: redis_py.Redis) -> Settings:
    """A copy of it to write to, with an empty Redis."""
    shutil.copytree(fitted_home, settings.home, dirs_exist_ok=True)
    return settings


def earlier(settings: Settings) -> int:
    return log_end(settings) - 7 * DAY


def run(settings: Settings, *models: ShopperModel, **options) -> RefreshReport:
    return refresh(settings, CLOCK, (), models=models or BOTH, **options)


def state_of(settings: Settings) -> list[object]:
    tables = [read_snapshot(settings.log_root / model.table).version for model in BOTH]
    with tracking(settings) as client:
        return tables + [len(client.search_model_versions(f"name = '{model.name}'")) for model in BOTH]


def test_what_the_champions_say_is_written_and_served_once(own: Settings):
    plan = run(own, dry_run=True)
    assert [(each.action, each.written) for each in plan.written] == [(Action.KEPT, None)] * 2
    first = run(own)
    assert [(each.action, each.champion, each.written.rows) for each in first.written] == [
        (Action.KEPT, "1", 2469),
        (Action.KEPT, "1", 2319),
    ]
    assert {each.view for each in first.written} <= {"applied", "built"}
    assert first.needs_look == []
    before = state_of(own)
    second = run(own)
    assert [(each.action, each.written.rows, each.view) for each in second.written] == [(Action.KEPT, 0, "")] * 2
    assert [each.written.known for each in second.written] == [2469, 2319]
    assert set(second.materialized.values()) == {"at head"}
    assert state_of(own) == before


def test_a_champion_older_than_allowed_is_fitted_anew_and_says_what_is_known_now(own: Settings):
    [quiet] = run(own, FIVE, max_age=WEEK + timedelta(days=1), dry_run=True).written
    assert quiet.action is Action.KEPT
    [plan] = run(own, FIVE, max_age=WEEK, dry_run=True).written
    assert plan.action is Action.WOULD_TRAIN
    assert plan.reason == "The log has gone on for 7 days since it was fitted, and 7 are allowed."
    [done] = run(own, FIVE, max_age=WEEK).written
    assert (done.action, done.champion, done.trained, done.needs_look) == (Action.PROMOTED, "2", "2", False)
    assert (done.written.rows, done.written.instants) == (2469, 1)
    with tracking(own) as client:
        assert aliases_of(client, "segments") == {"champion": "2"}
        went = [(each.before, each.after, each.action) for each in moves(client, "segments")]
    assert went == [("", "1", "fit"), ("1", "2", "fit")]
    assert run(own, FIVE, max_age=WEEK).written[0].action is Action.KEPT


def test_what_fails_its_gates_is_kept_back_is_not_fitted_again_and_the_champion_speaks_on(
    own: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("training.unusual.model.AUC", 1.0)
    report = run(own, UNUSUAL, max_age=WEEK)
    [done] = report.written
    assert (done.action, done.champion, done.trained, done.needs_look) == (Action.NOT_PROMOTED, "1", "2", True)
    assert done.reason.endswith("Version 2 fails auc[abuse=usual] >= 1.")
    assert done.written.rows == 2319
    text = page(report)
    assert "unusual: gates of version 2" in text
    assert '<td>auc[abuse=usual] &gt;= 1</td><td><span class="failed">no</span></td>' in text
    [again] = run(own, UNUSUAL, max_age=WEEK).written
    assert (again.action, again.champion, again.trained, again.needs_look) == (Action.KEPT, "1", "2", True)
    assert "Version 2 was fitted on these very rows, and is not champion." in again.reason
    assert again.written.known == 2319
    assert state_of(own)[3] == 2


def test_a_log_that_cannot_support_a_model_is_told_and_needs_no_look(shop: Settings, redis: redis_py.Redis):
    report = run(load_settings())  # which names the test's Redis
    assert [each.action for each in report.written] == [Action.UNAVAILABLE] * 2
    assert "no 'payment' events" in report.written[0].reason
    assert report.needs_look == []


def test_a_fault_of_one_keeps_not_the_other_from_its_turn_and_names_no_value(
    own: Settings, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_args: object) -> None:
        raise ValueError("u_secret")

    monkeypatch.setattr(Segments, "said", fail)
    broken, other = run(own).written
    assert (broken.action, broken.needs_look, "u_secret" in broken.reason) == (Action.FAILED, True, False)
    assert (other.action, other.written.rows) == (Action.KEPT, 2319)


def test_the_report_tells_of_both_in_json_and_html(
    own: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(task_module, "all_tasks", dict)
    monkeypatch.setattr(shopper_models, "shopper_models", lambda: {model.name: model for model in BOTH})
    assert cli.main(["refresh", "--task", "unusual", "--json"]) == 0
    [only] = json.loads(capsys.readouterr().out)["written"]
    assert (only["model"], only["written"]["rows"]) == ("unusual", 2319)
    assert cli.main(["refresh"]) == 0
    assert "segments     kept" in capsys.readouterr().out
    kept = json.loads((own.home / "reports" / "refresh.json").read_text("utf-8"))
    assert [(each["model"], each["action"]) for each in kept["written"]] == [("segments", "kept"), ("unusual", "kept")]
    html = (own.home / "reports" / "refresh.html").read_text("utf-8")
    assert "<td>segments</td><td>kept</td><td>1</td><td></td><td>2,469</td><td>0</td>" in html
    assert "<td>unusual</td><td>kept</td><td>1</td><td></td><td>0</td><td>2,319</td>" in html


def test_a_fit_that_could_only_repeat_is_not_made_and_one_that_is_kept_back_is_challenger(
    own: Settings, monkeypatch: pytest.MonkeyPatch
):
    same = fit(FIVE, own, at=earlier(own), if_changed=True)
    assert (same.unchanged, same.model_version, same.promoted, same.failed) == (True, "1", True, [])
    monkeypatch.setattr("training.unusual.shopper_model.TREES", 150)  # another recipe, as far as is told
    other = fit(UNUSUAL, own, at=earlier(own), if_changed=True, promote=False)
    assert (other.unchanged, other.promoted, other.challenger) == (False, False, True)
    with tracking(own) as client:
        assert aliases_of(client, "unusual") == {"champion": "1", "challenger": "2"}
    assert assign(UNUSUAL, own, CLOCK).show.model_version == "1"
