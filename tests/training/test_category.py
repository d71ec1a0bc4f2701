"""A model about pairs of shopper and category answers online as offline at that instant, and its drift is seen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import redis as redis_py

from feature_repo.core.clock import FixedClock, from_us, to_us
from feature_repo.core.settings import Settings, load_settings
from feature_repo.engine.feature_store import open_store
from feature_repo.events.schema import log_table
from feature_repo.jobs.materialize import materialize
from serving import ProfileClient
from training.data.dataset import dataset
from training.declaring.recipe import Boosting, Linear, Recipe
from training.evaluation.trained import Trained, fit_and_measure
from training.monitor.changes import CHANGES, Change, changed, events_between
from training.monitor.drift import Verdict, drift_of, load_champion
from training.monitor.panels import WEEK_US
from training.registry.register import register
from training.task import Task, find_task
from training.tasks.category import TEST_GROUPS, TRAIN_ROWS

pytestmark = [pytest.mark.slow(65), pytest.mark.usefixtures("undrawn")]

AT = to_us(datetime(2026, 11, 21, 12, 34, 56, tzinfo=UTC))  # after the demo's last event, in the middle of an hour
PAIRS = 400
VIEWS = ["user_category_purchases", "category_purchases", "user_payments", "user_purchases"]


def fewer(task: Task) -> Task:
    """The task on so few rows, and so simple a model, that a test can wait for it."""
    label = task.label.replace(str(TRAIN_ROWS), "8000").replace(str(TEST_GROUPS), "100")
    model = Recipe(linear=Linear(), boosting=Boosting(seeds=(7,), max_rounds=30, patience=10))
    return replace(task, label=label, model=model, baselines={}, gates=(), must_beat=(), not_worse_than=())


@pytest.fixture(scope="module")
def made(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Trained]]:
    """A home whose champion of `category` was trained on few rows."""
    home = tmp_path_factory.mktemp("pairs") / "home"
    shutil.copytree(demo_home, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("PORTRAIT_HOME", str(home))
        data = dataset(fewer(find_task("category")), load_settings())
        trained = fit_and_measure(data, threads=1, step=lambda what, done: None)
        assert register(trained, load_settings()).promoted
        yield home, trained


@pytest.fixture
def served(made: tuple[Path, Trained], settings: Settings, redis: redis_py.Redis) -> Settings:
    """That home, with the views the model reads in Redis."""
    shutil.copytree(made[0], settings.home, dirs_exist_ok=True)
    materialize(settings, FixedClock(AT), views=VIEWS)
    return settings


def pairs_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Pairs the model was asked about; a category the shopper never bought of, and one and a shopper nobody knows."""
    asked = frame[["user_id", "category"]].drop_duplicates().sample(PAIRS, random_state=7)
    strange = pd.DataFrame({"user_id": [asked.user_id.iloc[0], "u_" + "0" * 32], "category": ["NO SUCH", "NO SUCH"]})
    return pd.concat([asked, strange], ignore_index=True)


def test_pairs_are_scored_online_as_offline(served: Settings, made: tuple[Path, Trained]):
    trained = made[1]
    pairs = pairs_of(trained.data.frame)
    with ProfileClient(clock=FixedClock(AT)) as portrait:
        online = portrait.predict("category", pairs)
        turned = portrait.predict("category", pairs[::-1])
    spine = pairs.assign(event_timestamp=pd.Timestamp(from_us(AT)))
    store = open_store()
    service = store.get_feature_service("category_v1")
    frame = store.get_historical_features(spine, service, full_feature_names=True).to_df()
    offline = pairs.merge(frame, on=["user_id", "category"], how="left", validate="1:1")
    scorer = trained.fitted.scorer()
    expected = scorer.score(offline[list(scorer.columns)].to_numpy(np.float64, na_value=np.nan))
    assert [score.value for score in online] == pytest.approx(expected.tolist(), abs=1e-9)
    backwards = [score.value for score in turned][::-1]
    assert backwards == pytest.approx([score.value for score in online], abs=1e-12)  # each pair its own, in order
    assert np.unique(expected).size > PAIRS / 2
    assert (offline["user_category_purchases__count_84d"] > 0).any()
    assert not offline["user_category_purchases__count_84d"].iloc[-1]


ALARMS = {
    "prices are three times as high": {"purchase.amount", "payment.amount"},
    "the largest category is gone": {"purchase.category"},
}

NEXT = (
    "SELECT * REPLACE (event_timestamp + INTERVAL 7 DAY AS event_timestamp, event_id || '-next' AS event_id) FROM rows"
)


@pytest.mark.parametrize("change", [None, *CHANGES[:2]], ids=lambda change: change.name if change else "quiet")
def test_drift_of_pairs_is_told_from_a_week_like_the_last(
    made: tuple[Path, Trained], home: Path, change: Change | None
):
    shutil.copytree(made[0], home)
    settings, task = load_settings(), made[1].data.task
    champion = load_champion(task, settings)
    end = champion.reference.instant
    for table in ("purchase", "payment"):
        rows = events_between(settings, table, end - WEEK_US, end)
        after = changed(settings, Change("a week later", {"*": NEXT}), table, rows)
        after = after if change is None else changed(settings, change, table, after)
        log_table(settings.log_root, table).commit(after.cast(rows.schema))
    report = drift_of(task, settings, champion, at=end + WEEK_US)
    if change:
        assert set(report.alarms) >= ALARMS[change.name]
    else:  # events alone: that each pair buys what it bought the week before moves its counts as no real week does
        assert {each.kind for each in report.findings if each.name in report.alarms} <= {"feature"}
    compared = {each.name.split("__", 1)[0] for each in report.findings if each.kind == "feature"}
    assert compared >= {"user_payments", "user_category_purchases"}
    assert "category_purchases" not in compared  # of as many categories as there are, which are few
    kinds = {each.kind for each in report.findings if each.verdict is not Verdict.UNKNOWN}
    assert kinds == {"event", "shopper", "feature", "score", "answer"}
