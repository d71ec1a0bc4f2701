"""`portrait refresh` on a small shop: what drifted or aged is trained anew, once."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from feature_repo import cli
from feature_repo.core.clock import SystemClock
from feature_repo.core.locks import locked_if_free
from feature_repo.core.mlflow_client import champion_of
from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import connect_redis
from feature_repo.events.schema import TABLES, arrow_schema, log_table
from feature_repo.jobs.features import apply
from training import shopper_models
from training import task as task_module
from training.declaring.recipe import Linear, Recipe
from training.fitting.options import Options
from training.jobs.train import train
from training.monitor.drift import Verdict, check_drift
from training.refreshing.action import Action
from training.refreshing.cli import publish
from training.refreshing.page import page
from training.refreshing.refresh import RefreshReport, refresh
from training.runs.tracking import tracking
from training.task import Gate, Task

pytestmark = pytest.mark.slow(90)

END = datetime(2026, 6, 1, 9, tzinfo=UTC)
WEEK = timedelta(days=7)
WEEKS = 40
SHOPPERS = 200
LABEL = """
WITH asked AS (
    SELECT last_at - INTERVAL 28 DAY - week * INTERVAL 7 DAY AS event_timestamp
    FROM log_span, range(200) AS weeks (week)
    WHERE last_at - INTERVAL 28 DAY - week * INTERVAL 7 DAY >= first_at + INTERVAL 84 DAY
)
SELECT
    user_id, asked.event_timestamp,
    (count(*) FILTER (paid.event_timestamp >= asked.event_timestamp + INTERVAL 21 DAY) = 0)::BIGINT AS label
FROM asked JOIN payment AS paid ON paid.event_timestamp >= asked.event_timestamp - INTERVAL 84 DAY
    AND paid.event_timestamp < asked.event_timestamp + INTERVAL 28 DAY
GROUP BY ALL HAVING count(*) FILTER (paid.event_timestamp < asked.event_timestamp) > 0
"""
AWAY = Task(
    name="away",
    description="Will this shopper stay away in the fourth week?",
    service="redemption_v1",
    label=LABEL,
    pulse="payment",
    horizon=timedelta(days=28),
    holdout=timedelta(days=70),
    validation=timedelta(days=42),
    model=Recipe(inputs=("user_payments__count_84d", "user_payments__amount_sum_28d"), linear=Linear()),
)
BROKEN = replace(AWAY, name="broken", label="SELECT nothing FROM payment")
EMPTY = replace(AWAY, name="empty", pulse="wishlist")


def pay(settings: Settings, begin: datetime, weeks: int, *, times: float = 1.0, seed: int = 1) -> None:
    """Payments of shoppers who come as often as they do, each week alike."""
    generator = np.random.default_rng(seed)
    rates = np.random.default_rng(0).gamma(1.5, 0.6, SHOPPERS)
    visits = [(w, s) for w in range(weeks) for s in range(SHOPPERS) for _ in range(generator.poisson(rates[s]))]
    at = [begin + w * WEEK + float(generator.uniform(0, 1)) * WEEK for w, _ in visits]
    at[0], at[-1] = begin, begin + weeks * WEEK - timedelta(microseconds=1)
    facts = {
        "event_id": [f"{seed}-{n}" for n in range(len(visits))],
        "event_timestamp": at,
        "ingested_at": at,
        "user_id": [f"u_{s:032x}" for _, s in visits],
        "amount": (times * generator.gamma(2.0, 20.0, len(visits))).tolist(),
        "lines": [1 + s % 5 for _, s in visits],
    }
    schema = pa.schema([field.with_nullable(True) for field in arrow_schema("payment")])
    columns = {name: facts.get(name, [None] * len(visits)) for name in schema.names}
    log_table(settings.log_root, "payment").commit(pa.table(columns, schema=schema))


@pytest.fixture(scope="module")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small shop with a champion of the task ``away``."""
    home = tmp_path_factory.mktemp("refreshed") / "home"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PORTRAIT_REDIS_URL", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        patch.setenv("PORTRAIT_HOME", str(home))
        settings = load_settings()
        for name in TABLES:
            log_table(settings.log_root, name).ensure()
        apply()
        pay(settings, END - WEEKS * WEEK, WEEKS)
        assert train(AWAY, settings).promoted
        yield home


@pytest.fixture
def shop(trained_home: Path, home: Path, redis_server: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A copy of it that may be written to, with an empty Redis."""
    shutil.copytree(trained_home, home)
    monkeypatch.setenv("PORTRAIT_REDIS_URL", redis_server)
    monkeypatch.setattr(task_module, "all_tasks", lambda: {"away": AWAY})
    monkeypatch.setattr(shopper_models, "shopper_models", dict)  # theirs is test_refresh_written.py
    settings = load_settings()
    with connect_redis(settings) as client:
        client.flushall()
    return settings


def run(settings: Settings, *tasks: Task, **options) -> RefreshReport:
    return refresh(settings, SystemClock(), tasks or (AWAY,), **options)


def without_redis(settings: Settings) -> Settings:
    """The same home while no Redis answers: for tests of what does not need it."""
    return settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})


def versions(settings: Settings) -> tuple[str, int]:
    with tracking(settings) as client:
        found = champion_of(client, "away")
        return str(found.version), len(client.search_model_versions("name = 'away'"))


def test_prices_that_rise_are_trained_on_once_and_promoted(shop: Settings):
    pay(shop, END, 1, times=3.0, seed=2)
    plan = run(shop, dry_run=True)
    assert plan.tasks[0].action is Action.WOULD_TRAIN
    assert versions(shop) == ("1", 1)
    first = run(shop)
    [done] = first.tasks
    assert done.action is Action.PROMOTED
    assert "payment.amount" in done.reason
    assert done.drift is not None
    assert done.drift.alarms == ("payment.amount",)
    assert first.needs_look == []
    assert set(first.materialized.values()) == {"built"}
    second = run(shop)
    assert [each.action for each in second.tasks] == [Action.KEPT]
    assert set(second.materialized.values()) == {"at head"}
    assert versions(shop) == ("2", 2)


def test_a_champion_is_followed_by_one_of_its_own_options(shop: Settings):
    chosen = Options(select="filter")
    assert train(AWAY, shop, options=chosen).promoted
    pay(shop, END, 1, times=3.0, seed=2)
    [done] = run(without_redis(shop)).tasks
    assert done.trained == "3"
    with tracking(shop) as client:
        assert client.get_model_version("away", "3").tags["options"] == chosen.said
    [again] = run(without_redis(shop)).tasks
    assert (again.action, versions(shop)[1]) == (Action.KEPT, 3)


def test_a_quiet_week_trains_nothing(shop: Settings):
    pay(shop, END, 1, seed=3)
    [done] = run(shop, max_age=timedelta(days=8)).tasks
    assert (done.action, done.champion, done.needs_look) == (Action.KEPT, "1", False)
    assert "No drift in the week" in done.reason
    assert {each.verdict for each in done.drift.findings} <= {Verdict.QUIET, Verdict.WATCH, Verdict.UNKNOWN}
    assert versions(shop) == ("1", 1)


def test_a_champion_older_than_allowed_is_trained_anew(shop: Settings):
    pay(shop, END, 1, seed=3)
    [plan] = run(without_redis(shop), max_age=timedelta(days=6), dry_run=True).tasks
    assert plan.action is Action.WOULD_TRAIN
    assert plan.reason == "The log has gone on for 7 days since it was trained, and 6 are allowed."


def test_what_fails_its_gates_is_kept_back_and_not_trained_again_and_others_have_their_turn(
    shop: Settings, capsys, monkeypatch: pytest.MonkeyPatch
):
    strict = replace(AWAY, gates=(Gate("auc", at_least=0.999),))
    tasks = {task.name: task for task in (BROKEN, EMPTY, strict)}
    monkeypatch.setattr(task_module, "all_tasks", lambda: tasks)
    assert cli.main(["refresh", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    outcomes = {each["task"]: each for each in found["tasks"]}
    assert {name: each["action"] for name, each in outcomes.items()} == {
        "broken": "failed",
        "empty": "unavailable",
        "away": "trained, not promoted",
    }
    assert outcomes["away"]["reason"] == "The task is declared otherwise now. Version 2 fails auc."
    assert (outcomes["away"]["champion"], outcomes["away"]["trained"]) == ("1", "2")
    assert [each.split(":")[0] for each in found["needs_look"]] == ["broken", "away"]
    [again] = run(without_redis(shop), strict).tasks
    assert (again.action, again.champion, again.needs_look) == (Action.KEPT, "1", True)
    assert "Version 2 was trained on these very rows, and was not promoted." in again.reason
    assert versions(shop) == ("1", 2)


def test_the_report_is_one_page_that_fetches_nothing_and_replaces_the_last_whole(shop: Settings, tmp_path: Path):
    pay(shop, END, 1, seed=3)
    report = replace(run(without_redis(shop)), materialize_error="")
    publish(report, shop, tmp_path / "mine.html")
    text = (shop.home / "reports" / "refresh.html").read_text("utf-8")
    assert text == (tmp_path / "mine.html").read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert "No drift in the week" in text
    assert re.findall(r'(?:src|href)="(?!data:image/png;base64,)', text) == []
    assert "http" not in text
    kept = json.loads((shop.home / "reports" / "refresh.json").read_text("utf-8"))
    assert kept["tasks"][0]["action"] == "kept"
    assert [path.name for path in (shop.home / "reports").iterdir() if path.name.startswith(".")] == []
    publish(replace(report, dry_run=True, tasks=()), shop)
    assert (shop.home / "reports" / "refresh.html").read_text("utf-8") == text
    odd = replace(report.tasks[0], reason="<script>alert(1)</script>", drift=None)
    assert "<script" not in page(replace(report, tasks=(odd,)))


def test_a_redis_that_is_away_is_told_and_drift_is_looked_for_all_the_same(shop: Settings):
    report = run(without_redis(shop))
    assert "does not answer" in report.materialize_error
    assert report.tasks[0].action is Action.KEPT
    assert report.needs_look[0].startswith("materialize: ")


def test_a_second_refresh_would_wait_for_the_first(shop: Settings):
    free: list[bool] = []

    def ask(_what: str, _done: float) -> None:
        with locked_if_free(shop.home / "run" / "refresh.lock") as found:
            free.append(found)

    run(without_redis(shop), progress=ask)
    assert free == [False, False]


def test_the_table_leads_with_alarms_and_exits_with_1(shop: Settings, capsys, tmp_path: Path):
    assert cli.main(["monitor", "drift", "away"]) == 0
    assert "alarm  " not in capsys.readouterr().out.replace("alarm above", "")
    pay(shop, END, 1, times=3.0, seed=2)
    picture = tmp_path / "drift.png"
    assert cli.main(["monitor", "drift", "away", "--picture", str(picture)]) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("away version 1: the week before 2026-06-08")
    assert lines[3].startswith("alarm")
    assert "payment.amount" in err
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert cli.main(["monitor", "drift", "away", "--at", END.isoformat(), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["tasks"]["away"]
    assert (found["at"], found["alarms"]) == ("2026-06-01T09:00:00Z", [])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["monitor", "drift", "aawy"], "There is no task 'aawy'"),
        (["monitor", "drift", "away", "--at", "monday"], "'monday', which is no instant"),
        (["monitor", "drift", "away", "--at", "2027-01-01"], "ends more than a week before"),
        (["monitor", "drift", "--picture", "x.png"], "A picture shows one task"),
        (["refresh", "--task", "aawy"], "There is no task 'aawy'"),
    ],
)
def test_a_mistake_in_the_call_is_told(words: list[str], message: str, shop: Settings, capsys):
    assert cli.main(words) == 2
    assert message in capsys.readouterr().err


def test_a_change_of_old_weeks_does_not_reach_the_week_looked_at(shop: Settings):
    pay(shop, END, 1, seed=3)
    pay(shop, END + WEEK, 1, times=3.0, seed=4)
    assert check_drift(AWAY, shop).alarms != ()
    week = check_drift(AWAY, shop, at=int((END + WEEK).timestamp()) * 1_000_000)
    assert week.alarms == ()
