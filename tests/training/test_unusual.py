"""Unusual behaviour is noticed, with reasons, by rules that say what they ask for; and nobody is accused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import redis as redis_py
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

import training.unusual
from feature_repo import cli
from feature_repo.core.clock import DAY, FixedClock, from_us, to_us
from feature_repo.core.errors import DeclarationError, ModelUnavailableError
from feature_repo.core.mlflow_client import champion_of
from feature_repo.core.settings import Settings, load_settings
from feature_repo.definitions.segment_names import TIERS
from feature_repo.engine.feature_store import open_store
from feature_repo.events.log import read_snapshot
from feature_repo.jobs.erase import erase
from feature_repo.jobs.materialize import materialize
from feature_repo.jobs.parity import parity
from training.runs.tracking import tracking
from training.task import TaskUnavailableError
from training.unusual import shopper_model
from training.unusual.behaviour import BEHAVIOURS, Behaviour, behaviour_at, opened
from training.unusual.forest import ROWS_PER_TREE, SEED, TREES, fit_forest
from training.unusual.injection import CHOICE, GATE, MILD, STRONG, USUAL, chosen, inject
from training.unusual.isolation import Isolation
from training.unusual.policy import POLICY, Policy, Rule, Tier, judge
from training.unusual.shopper_model import UNUSUAL, UnusualFit
from training.written import job
from training.written.instants import log_end
from training.written.report import AssignReport

pytestmark = pytest.mark.slow(30)

Write = Callable[..., None]
fit, assign, show = (partial(each, UNUSUAL) for each in (job.fit, job.assign, job.show))

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)  # the demo's, as the fixture loads it
CLOCK = FixedClock(to_us(NOW))
ADA, BOB = ("u_" + digit * 32 for digit in "ab")
VIEW = ["user_unusual:score", "user_unusual:tier", "user_unusual:response", "user_unusual:reasons"]


@pytest.fixture(scope="module")
def fitted(
    demo_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, UnusualFit, AssignReport]]:
    """A home with the demo, the score fitted, and two weeks of it written."""
    home = tmp_path_factory.mktemp("unusual") / "home"
    shutil.copytree(demo_home, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("PORTRAIT_HOME", str(home))
        settings = load_settings()
        yield home, fit(settings), assign(settings, CLOCK, weeks=1)


@pytest.fixture
def report(fitted: tuple[Path, UnusualFit, AssignReport]) -> UnusualFit:
    return fitted[1]


@pytest.fixture
def scored(fitted: tuple[Path, UnusualFit, AssignReport], home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of the fitted home, which no test writes to."""
    monkeypatch.setenv("PORTRAIT_HOME", str(fitted[0]))
    return load_settings()


@pytest.fixture
def own(fitted: tuple[Path, UnusualFit, AssignReport], settings: Settings, redis: redis_py.Redis) -> Settings:
    """A copy of it to write to, with an empty Redis."""
    shutil.copytree(fitted[0], settings.home, dirs_exist_ok=True)
    return settings


# Noticing -------------------------------------------------------------------------------------------------------------


def test_the_gate_holds_on_the_real_data(report: UnusualFit):
    assert report.gates == {"auc[abuse=usual] >= 0.93": True}
    assert report.promoted
    assert report.auc == pytest.approx(0.959, abs=0.01)
    assert report.shoppers == 2319


def test_the_farther_abuse_goes_the_better_it_is_noticed_and_few_real_shoppers_are(report: UnusualFit):
    kinds = {each.kind: each for each in report.noticed if each.trial == GATE.name}
    assert [each.copies for each in report.noticed] == [100] * 6
    assert 0.7 < kinds["mild"].auc < kinds["usual"].auc < kinds["strong"].auc
    assert kinds["mild"].watched < kinds["usual"].watched < kinds["strong"].watched
    assert 0.01 < report.watched < 0.06


def test_what_was_chosen_by_one_trial_holds_in_another_of_other_shoppers(report: UnusualFit, scored: Settings):
    assert report.auc > report.choice_auc - 0.02
    chosen_by_it = ("coupon_lines_28d", "coupon_line_share_28d")
    others = [name for name in BEHAVIOURS if name not in chosen_by_it]
    with opened(scored, log_end(scored)) as log:
        real = log.behaviour()
        copies = [inject(log, real, USUAL, trial) for trial in (CHOICE, GATE)]
    model = Isolation.of(fit_forest(real.frame[others].to_numpy(float), tuple(others)))
    usual = model.raw(real.frame[others].to_numpy(float))
    without = []
    for each in copies:
        raw = np.concatenate([usual, model.raw(each.frame[others].to_numpy(float))])
        without.append(roc_auc_score(np.arange(len(raw)) >= len(usual), raw))
    assert without[0] < report.choice_auc - 0.01
    assert without[1] < report.auc - 0.01
    assert min(without) > 0.93
    assert not set(copies[0].frame.user_id) & set(copies[1].frame.user_id)


def test_copies_without_abuse_are_like_others(scored: Settings):
    with opened(scored, log_end(scored)) as log:
        real = log.behaviour()
        untouched = inject(log, real, replace(MILD, every_visit=10**6))
    users = chosen(real.frame, 100).to_pylist()
    same = real.frame[real.frame.user_id.isin(users)].reset_index(drop=True)
    # Returns and redemptions are joined by shopper, whose copy has the shopper's name.
    pd.testing.assert_frame_equal(untouched.frame, same)


def test_abuse_is_in_the_last_28_days_alone_and_nothing_is_written(scored: Settings):
    end = log_end(scored)
    before = read_snapshot(scored.log_root / "purchase")
    with opened(scored, end) as log:
        real = log.behaviour()
        first, second = inject(log, real, STRONG), inject(log, real, STRONG)
        early = log.connection.sql(
            "SELECT (SELECT sum(coupon) FROM injected WHERE epoch_us(ts) < $late) AS a, "
            "(SELECT sum(coupon) FROM lines SEMI JOIN injected USING (user_id) WHERE epoch_us(ts) < $late) AS b, "
            "(SELECT max(epoch_us(ts)) FROM injected) AS last",
            params={"late": end - 28 * DAY},
        ).to_arrow_table()
    [row] = early.to_pylist()
    assert row["a"] == pytest.approx(row["b"])
    assert row["last"] < end
    pd.testing.assert_frame_equal(first.frame, second.frame)
    assert first.frame.coupon_lines_28d.mean() > 10 * real.frame.coupon_lines_28d.mean()
    assert read_snapshot(scored.log_root / "purchase") == before


def test_the_score_is_the_forests_own_and_the_same_again(scored: Settings):
    real = behaviour_at(scored, log_end(scored))
    head = fit_forest(real.matrix, BEHAVIOURS)
    assert json.dumps(head) == json.dumps(fit_forest(real.matrix, BEHAVIOURS))
    rows = np.log1p(real.matrix).astype(np.float32)
    theirs = IsolationForest(n_estimators=TREES, max_samples=ROWS_PER_TREE, random_state=SEED).fit(rows)
    model = Isolation.of(json.loads(json.dumps(head)))
    assert np.allclose(model.raw(real.matrix), -theirs.score_samples(rows), atol=1e-6)
    score = model.score(real.matrix)
    assert (score.min(), score.max()) == (0, 1)
    assert np.mean(score < 0.9) == pytest.approx(0.9, abs=0.01)


def test_what_is_fitted_does_not_depend_on_pseudonyms(scored: Settings):
    real = behaviour_at(scored, log_end(scored))
    assert real.frame[list(BEHAVIOURS)].apply(tuple, axis=1).is_monotonic_increasing
    assert not real.frame[list(BEHAVIOURS)].isna().any().any()


# Behaviour ------------------------------------------------------------------------------------------------------------


def buy(write: Write, at: datetime, order: str, user: str = ADA, **columns: Any) -> None:
    write("purchase", at, user_id=user, order_id=order, amount=10.0, **columns)


def of(found: Behaviour, user: str = ADA) -> dict[str, float]:
    [row] = found.frame[found.frame.user_id == user].to_dict("records")
    return row


def test_pace_and_hours_are_counted_in_the_shops_time(shop: Settings, write: Write):
    night = datetime(2026, 7, 6, 4, 30, tzinfo=UTC)  # 00:30 in New York
    for n in range(4):
        buy(write, night + timedelta(minutes=20 * n), f"o{n}")  # the fourth is an hour behind the first
    buy(write, night + timedelta(minutes=61), "o4")
    buy(write, night - timedelta(minutes=60), "o5")  # 23:30 the day before
    buy(write, night + timedelta(hours=4, minutes=30), "o6")  # 05:00 is no odd hour
    row = of(behaviour_at(shop, to_us(NOW.replace(month=8, day=1))))
    assert (row["orders"], row["orders_of_an_hour"], row["orders_of_a_day"]) == (7, 4, 6)
    assert (row["odd_hour_orders"], row["odd_hour_share"]) == (5, 5 / 7)


def test_lines_of_an_order_are_one_order(shop: Settings, write: Write):
    for n in range(3):
        buy(write, NOW - timedelta(days=2), "one", coupon_discount=5.0 if n else None)
    buy(write, NOW - timedelta(days=40), "two", coupon_match_discount=1.0)
    row = of(behaviour_at(shop, to_us(NOW)))
    assert (row["orders"], row["spend_per_order"], row["largest_order"]) == (2, 20, 30)
    assert (row["coupon_lines"], row["coupon_line_share"], row["coupon_lines_of_an_order"]) == (3, 0.75, 2)
    assert (row["coupon_lines_28d"], row["coupon_line_share_28d"], row["coupon_order_share"]) == (2, 2 / 3, 1)
    assert row["coupon_money_share"] == pytest.approx(11 / 51, abs=1e-4)


def test_returns_and_redemptions_are_known_before_the_instant_alone(shop: Settings, write: Write):
    buy(write, NOW - timedelta(days=1), "a")
    buy(write, NOW - timedelta(days=85), "old")
    for at in (NOW - timedelta(microseconds=1), NOW, NOW - timedelta(days=85)):
        write("return", at, user_id=ADA, amount=4.0)
        write("coupon_redeem", at, user_id=ADA)
    buy(write, NOW, "at the instant", user=BOB)
    found = behaviour_at(shop, to_us(NOW))
    row = of(found)
    assert (row["orders"], row["returns"], row["return_rate"], row["redemptions"]) == (1, 1, 0.4, 1)
    assert found.frame.user_id.tolist() == [ADA]


# Rules, tiers, responses ----------------------------------------------------------------------------------------------


def rows(**columns: list[float]) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    return pd.DataFrame({name: np.zeros(count) for name in BEHAVIOURS} | columns)


@pytest.mark.parametrize("rule", POLICY.rules, ids=lambda rule: rule.name)
def test_a_rule_applies_from_its_bounds_on_and_needs_all_of_them(rule: Rule):
    met = rows(**{column: [least] for column, least in rule.at_least.items()})
    assert judge(met, np.zeros(1)).reasons[0] is not None
    for column, least in rule.at_least.items():
        missed = met.assign(**{column: np.nextafter(least, 0)})
        assert rule.name not in (judge(missed, np.zeros(1)).reasons[0] or "")


CASES = [
    ((0.0, 0), ("usual", "none")),
    ((0.9799, 0), ("usual", "none")),
    ((0.98, 0), ("notable", "watch")),
    ((1.0, 0), ("notable", "watch")),
    ((0.0, 1), ("notable", "watch")),
    ((0.97, 1), ("unusual", "review_order")),
    ((0.9899, 2), ("unusual", "review_order")),
    ((0.99, 1), ("unusual", "review_order")),
    ((0.99, 2), ("very_unusual", "hold")),
]


@pytest.mark.parametrize(("seen", "asked"), CASES)
def test_a_tier_begins_at_its_score_and_reasons(seen: tuple[float, int], asked: tuple[str, str]):
    score, reasons = seen
    frame = rows(orders_of_an_hour=[4.0 if reasons else 0.0], orders_of_a_day=[6.0 if reasons > 1 else 0.0])
    found = judge(frame, np.array([score]))
    assert (found.tier[0], found.response[0]) == asked
    assert len((found.reasons[0] or "").split(", ")) == max(reasons, 1)


def test_a_score_alone_costs_nobody_anything():
    everything = judge(rows(orders=[1.0]), np.ones(1))
    assert everything.response[0] == "watch"
    with pytest.raises(DeclarationError, match="without any reason"):
        Policy((), (Tier("very_unusual", "hold", score=0.99), Tier("usual", "none")))


WRONG: dict[str, Callable[[], object]] = {
    "bounds nothing": lambda: Rule("a", "", "", {}),
    "not one word": lambda: Rule("a b", "", "", {"orders": 1}),
    "did you mean 'orders'": lambda: Rule("a", "", "", {"order": 1}),
    "did you mean 'watch'": lambda: Tier("usual", "wach"),  # type: ignore[arg-type]
    "did you mean 'unusual'": lambda: Tier("un_usual", "none"),
    "score of 1.5": lambda: Tier("usual", "none", score=1.5),
    "last tier has bounds": lambda: Policy((), (Tier("usual", "none", score=0.1),)),
    "Two rules have one name": lambda: Policy((POLICY.rules[0],) * 2, POLICY.tiers),
    "two responses": lambda: Policy((), (Tier("usual", "watch", score=0.5), Tier("usual", "none"))),
}


@pytest.mark.parametrize("said", WRONG)
def test_a_policy_that_contradicts_itself_is_refused(said: str):
    with pytest.raises(DeclarationError, match=said):
        WRONG[said]()


def test_it_is_called_unusual_and_nothing_worse():
    folder = Path(training.unusual.__file__).parent
    texts = [path.read_text("utf-8").lower() for path in folder.glob("*.py")]
    words = " ".join(f"{each.english} {each.chinese} {each.meaning}" for each in TIERS.values())
    assert not [word for word in ("fraud", "欺诈", "作弊", "cheat") if any(word in text for text in (*texts, words))]


# Written back ---------------------------------------------------------------------------------------------------------


def history(settings: Settings, users: list[str], at: int) -> pd.DataFrame:
    spine = pd.DataFrame({"user_id": users, "event_timestamp": [pd.Timestamp(from_us(at))] * len(users)})
    return open_store().get_historical_features(spine, VIEW).to_df().set_index("user_id").loc[users]


def test_a_version_carries_its_evidence(report: UnusualFit, scored: Settings, tmp_path: Path):
    with tracking(scored) as client:
        champion: Any = champion_of(client, "unusual")
        folder = Path(client.download_artifacts(report.run_id, "", str(tmp_path)))
        metrics = client.get_run(report.run_id).data.metrics
    assert (str(champion.version), champion.tags["gates"]) == (report.model_version, "passed")
    assert {path.name for path in folder.iterdir()} == {"model_card.md", "policy.json", "scores.png"}
    assert (metrics["auc"], "strong/watched" in metrics) == (report.auc, True)
    assert json.loads((folder / "policy.json").read_text())["tiers"][0]["response"] == "hold"
    person = behaviour_at(scored, log_end(scored)).frame.user_id[0][2:].encode()
    files = [file for file in (scored.home / "mlflow").rglob("*") if file.is_file()]
    assert not [file for file in files if person in file.read_bytes()]


def test_it_is_read_as_of_the_instant_and_fades_for_who_buys_no_more(scored: Settings):
    end = log_end(scored)
    real = behaviour_at(scored, end)
    users = real.frame.user_id.tail(200).tolist()
    then = history(scored, users, end)
    assert set(then["tier"]) <= set(TIERS)
    assert then["score"].between(0, 1).all()
    assert not history(scored, users, end - 1)["score"].equals(then["score"])
    assert history(scored, users, end + 36 * DAY)["tier"].isna().all()


def test_it_is_served_as_it_was_written(own: Settings, redis: redis_py.Redis):
    materialize(own, CLOCK, views=["user_unusual"])
    found = parity(own, CLOCK, users=200, views=["user_unusual"])
    assert (found.checked > 0, found.mismatches) == (True, 0)


def test_twice_is_once_and_another_policy_writes_anew(own: Settings, monkeypatch: pytest.MonkeyPatch):
    assert (assign(own, CLOCK, weeks=1).written.rows, assign(own, CLOCK).written.known) == (0, 2319)
    users = behaviour_at(own, log_end(own)).frame.user_id.head(50).tolist()
    lenient = Policy((), (Tier("usual", "none"),))
    monkeypatch.setattr(shopper_model, "POLICY", lenient)
    monkeypatch.setattr(shopper_model, "judge", lambda frame, score: judge(frame, score, lenient))
    assert assign(own, CLOCK).written.rows == 2319
    assert set(history(own, users, log_end(own))["tier"]) == {"usual"}


def test_an_erased_person_leaves_and_does_not_come_back(own: Settings, redis: redis_py.Redis):
    materialize(own, CLOCK, views=["user_unusual"])
    person = behaviour_at(own, log_end(own)).frame.user_id.iloc[-1]
    report = erase(own, CLOCK, person)
    assert (report.rows["user_unusual"], report.keys > 0, report.found) == (2, True, 0)
    assert assign(own, CLOCK, at=log_end(own) - 2 * DAY).written.rows > 2000
    assert history(own, [person], to_us(NOW))["tier"].isna().all()


def test_the_commands_say_the_same(scored: Settings, report: UnusualFit, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["unusual", "show", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    tiers = {each["tier"]: each for each in found["tiers"]}
    assert list(tiers) == ["very_unusual", "unusual", "notable", "usual"]
    assert sum(each["size"] for each in tiers.values()) == found["shoppers"] == report.shoppers
    assert 1 - tiers["usual"]["share"] == pytest.approx(report.watched)
    assert cli.main(["unusual", "show"]) == 0
    assert "高度异常" in capsys.readouterr().out


def test_without_its_gate_a_version_is_no_champion_and_exit_1(
    own: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("training.unusual.model.AUC", 1.0)
    assert cli.main(["unusual", "fit", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["promoted"], found["gates"]) == (False, {"auc[abuse=usual] >= 1": False})
    assert show(own).model_version != found["model_version"]


def test_too_few_shoppers_no_champion_and_the_future_are_said(shop: Settings, write: Write):
    buy(write, NOW, "a")
    write("payment", NOW, user_id=ADA, amount=1.0)
    with pytest.raises(TaskUnavailableError, match="1 shoppers bought"):
        fit(shop)
    with pytest.raises(ModelUnavailableError, match="no champion 'unusual'"):
        show(shop)
    with pytest.raises(DeclarationError, match="in the future"):
        assign(shop, CLOCK, at=CLOCK.now_us() + 1)
