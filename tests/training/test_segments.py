"""Segments hold their gates on the real data, and are read like any feature, at past instants and online."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import redis as redis_py

from feature_repo import cli
from feature_repo.core.clock import DAY, FixedClock, from_us, to_us
from feature_repo.core.errors import DeclarationError, ModelUnavailableError
from feature_repo.core.mlflow_client import champion_of
from feature_repo.core.settings import Settings, load_settings
from feature_repo.definitions.segment_names import SEGMENTS, STAGES
from feature_repo.engine.feature_store import open_store
from feature_repo.jobs.absence import Needles, scan
from feature_repo.jobs.erase import erase
from feature_repo.jobs.materialize import materialize
from feature_repo.jobs.parity import parity
from serving import ProfileClient
from training.runs.tracking import tracking
from training.segments.assigner import Assigner
from training.segments.cli import _render_fit
from training.segments.clustering import METHODS, Cut, Scaling, dbscan
from training.segments.lifecycle import LIFECYCLE, Bound, Stage, stages_of
from training.segments.model import sample_of, segment
from training.segments.naming import ARCHETYPES, OTHERS, names_of
from training.segments.rfm import RFM, Shoppers, _ordered, shoppers_at
from training.segments.selection import Candidate, candidates, choose
from training.segments.shopper_model import Segments, SegmentsFit
from training.task import TaskUnavailableError
from training.written import job
from training.written.instants import WEEK, log_end, weeks_before
from training.written.report import AssignReport

pytestmark = pytest.mark.slow(30)

Write = Callable[..., None]
fit, assign, show = (partial(each, Segments()) for each in (job.fit, job.assign, job.show))

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)  # the demo's, as the fixture loads it
CLOCK = FixedClock(to_us(NOW))
WEEKS = 3
VIEW = ["user_segments:segment", "user_segments:stage", "user_segments:strength", "user_segments:model_version"]

LOAD = """
import sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/segments@champion")
print(",".join(model.predict(model.input_example).segment))
print(sorted({"training", "feature_repo", "feast"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def fitted(
    demo_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, SegmentsFit, AssignReport]]:
    """A home with the demo, segments fitted, and four weeks of them written."""
    home = tmp_path_factory.mktemp("segments") / "home"
    shutil.copytree(demo_home, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("PORTRAIT_HOME", str(home))
        settings = load_settings()
        yield home, fit(settings), assign(settings, CLOCK, weeks=WEEKS)


@pytest.fixture
def report(fitted: tuple[Path, SegmentsFit, AssignReport]) -> SegmentsFit:
    return fitted[1]


@pytest.fixture
def assigned(fitted: tuple[Path, SegmentsFit, AssignReport]) -> AssignReport:
    return fitted[2]


@pytest.fixture
def placed(fitted: tuple[Path, SegmentsFit, AssignReport], home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of the fitted home, which no test writes to."""
    monkeypatch.setenv("PORTRAIT_HOME", str(fitted[0]))
    return load_settings()


@pytest.fixture
def own(fitted: tuple[Path, SegmentsFit, AssignReport], settings: Settings, redis: redis_py.Redis) -> Settings:
    """A copy of it to write to, with an empty Redis."""
    shutil.copytree(fitted[0], settings.home, dirs_exist_ok=True)
    return settings


@pytest.fixture
def snapshots(placed: Settings) -> Shoppers:
    return shoppers_at(placed, weeks_before(log_end(placed), 1))


# The real data --------------------------------------------------------------------------------------------------------


def test_the_gates_hold_on_the_real_data(report: SegmentsFit):
    assert report.gates == {"silhouette >= 0.32": True, "stability >= 0.9": True, "segments >= 4": True}
    assert (report.k, report.promoted, report.shoppers) == (5, True, 2469)
    assert report.silhouette == pytest.approx(0.368, abs=0.005)
    assert report.stability == pytest.approx(0.944, abs=0.015)
    assert [each.k for each in report.tried] == list(range(2, 9))


def test_the_segments_are_what_their_names_say(report: SegmentsFit):
    lines = {line.segment: line for line in report.segments}
    assert set(lines) == {"champions", "loyal", "promising", "at_risk", "hibernating"}
    assert lines["champions"] is max(lines.values(), key=lambda line: line.visits_84d) is report.segments[0]
    assert lines["hibernating"] is max(lines.values(), key=lambda line: line.recency_days)
    assert lines["promising"].recency_days < lines["loyal"].recency_days < lines["at_risk"].recency_days
    assert sum(line.size for line in lines.values()) == report.shoppers
    assert sum(line.share for line in lines.values()) == pytest.approx(1)
    assert sum(line.revenue_share for line in lines.values()) == pytest.approx(1)
    assert 0.5 < lines["champions"].revenue_share < 0.8
    assert {line.stage for line in report.stages} == set(STAGES)


def test_they_agree_with_the_textbook_as_far_as_windows_allow(report: SegmentsFit):
    reference = report.reference
    assert reference is not None
    assert reference.silhouette == pytest.approx(0.329, abs=0.01)
    assert reference.stability == pytest.approx(0.902, abs=0.006)  # 0.891 with the hour of the last visit
    assert 0.4 < reference.agreement < 0.8


def test_another_fit_gives_the_same_whatever_the_pseudonyms(placed: Settings, snapshots: Shoppers):
    again = shoppers_at(placed, snapshots.instants)
    renamed = replace(again, frame=_ordered(again.frame.assign(user_id=again.frame.user_id.str[::-1])))
    first, second = (segment(each, k=5) for each in (snapshots, renamed))
    assert first.shoppers.fingerprint == second.shoppers.fingerprint
    assert first.head == second.head
    assert first.chosen.stability == second.chosen.stability


def test_a_shopper_is_judged_once(snapshots: Shoppers):
    sample = sample_of(snapshots)
    assert (np.diff(sample.shopper[sample.shown]) == 1).all()
    assert sample.shoppers == sample.shown.sum()


# What is registered ---------------------------------------------------------------------------------------------------


def test_a_run_carries_its_evidence_and_nobodys_name(report: SegmentsFit, placed: Settings, tmp_path: Path):
    with tracking(placed) as client:
        champion = champion_of(client, "segments")
        folder = Path(client.download_artifacts(report.run_id, "", str(tmp_path)))
        metrics = client.get_run(report.run_id).data.metrics
    assert champion is not None
    assert (str(champion.version), champion.tags["gates"]) == (report.model_version, "passed")
    assert champion.tags["feature_service"] == "segments_v1"
    names = {path.name for path in folder.iterdir()}
    assert names == {"model_card.md", "segments.json", "contract.json", "segments.png"}
    assert metrics["silhouette"] == report.silhouette
    assert "k8/stability" in metrics
    person = shoppers_at(placed, [log_end(placed)]).frame.user_id[0][2:].encode()
    files = [file for file in (placed.home / "mlflow").rglob("*") if file.is_file()]
    assert not [file for file in files if person in file.read_bytes()]


def test_a_model_loads_without_this_project(placed: Settings, tmp_path: Path):
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, placed.tracking_uri],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=clean,
    )
    names, ours = done.stdout.splitlines()
    assert set(names.split(",")) == {"champions", "loyal", "promising", "at_risk", "hibernating"}
    assert ours == "[]"


def test_without_its_gates_a_version_is_no_champion_and_exit_1(own: Settings, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["segments", "fit", "--method", "hierarchical", "--k", "4", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["method"], found["promoted"], found["gates"]["stability >= 0.9"]) == ("hierarchical", False, False)
    assert show(own).model_version != found["model_version"]


def test_a_cut_in_two_does_not_replace_the_champion_unless_asked_for(snapshots: Shoppers):
    assert not segment(snapshots, method="dbscan").gates["segments >= 4"]
    assert segment(snapshots, k=2).gates["segments >= 2"]


# Read like any feature ------------------------------------------------------------------------------------------------


def history(settings: Settings, users: list[str], at: int) -> pd.DataFrame:
    spine = pd.DataFrame({"user_id": users, "event_timestamp": [pd.Timestamp(from_us(at))] * len(users)})
    return open_store().get_historical_features(spine, VIEW).to_df().set_index("user_id").loc[users]


def test_history_is_read_as_of_the_instant(placed: Settings, assigned: AssignReport):
    end = log_end(placed)
    assert (assigned.written.instants, assigned.written.known) == (WEEKS + 1, 0)
    before = shoppers_at(placed, [end - WEEK])
    users = before.frame.user_id.head(300).tolist()
    stages = pd.Series(stages_of(before.frame), index=before.frame.user_id)
    then = history(placed, users, end - WEEK)
    assert then["stage"].tolist() == stages.loc[users].tolist()
    assert history(placed, users, end - 1).equals(then.assign(event_timestamp=pd.Timestamp(from_us(end - 1))))
    assert not history(placed, users, end)["stage"].equals(then["stage"])
    assert history(placed, users, end - WEEKS * WEEK - 1)["segment"].isna().all()


def test_it_is_served_as_it_was_written(own: Settings, redis: redis_py.Redis):
    materialize(own, CLOCK, views=["user_payments", "user_segments"])
    users = shoppers_at(own, [log_end(own)]).frame.user_id.head(200).tolist()
    online = open_store().get_online_features(VIEW, [{"user_id": user} for user in users]).to_df().set_index("user_id")
    offline = history(own, users, log_end(own))
    assert online["segment"].tolist() == offline["segment"].tolist()
    assert set(online["segment"]) <= set(SEGMENTS)
    assert online["strength"].between(0, 1).all()
    assert np.allclose(online["strength"], offline["strength"])
    with ProfileClient() as portrait:
        facts = {fact.name: fact.value for fact in portrait.profile(users[0]).dimensions["lifecycle"]}
    assert facts["user_segments__segment"] == offline["segment"].iloc[0]
    found = parity(own, CLOCK, users=100, views=["user_segments"])
    assert (found.checked > 0, found.mismatches) == (True, 0)


def test_assigning_twice_is_assigning_once(own: Settings):
    again = assign(own, CLOCK, weeks=WEEKS).written
    assert (again.rows, again.known > 9000) == (0, True)
    other = assign(own, CLOCK, at=log_end(own) - DAY).written
    assert (other.instants, other.known, other.rows > 2000) == (1, 0, True)


def test_an_erased_person_leaves_the_segments_and_does_not_come_back(own: Settings, redis: redis_py.Redis):
    materialize(own, CLOCK, views=["user_segments"])
    person, other = shoppers_at(own, [log_end(own)]).frame.user_id.head(2)
    report = erase(own, CLOCK, person)
    assert report.rows["user_segments"] == WEEKS + 1
    assert (report.keys > 0, report.found) == (True, 0)
    assert assign(own, CLOCK, at=log_end(own) - 2 * DAY).written.rows > 2000
    materialize(own, CLOCK, views=["user_segments"], full=True)
    assert scan(own.home, redis, Needles(person[2:])).places == ()
    assert history(own, [person, other], to_us(NOW))["segment"].isna().tolist() == [True, False]


def test_the_commands_say_the_same(placed: Settings, assigned: AssignReport, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["segments", "show", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [line["segment"] for line in found["segments"]] == [line.segment for line in assigned.show.segments]
    assert cli.main(["segments", "show"]) == 0
    assert "核心顾客" in capsys.readouterr().out


def test_a_fit_tells_its_gates_and_how_far_it_agrees_with_the_textbook(
    report: SegmentsFit, capsys: pytest.CaptureFixture[str]
):
    _render_fit(report)
    out = capsys.readouterr().out
    assert "stability >= 0.9    ok" in out
    assert f"they agree with these by {report.reference.agreement:.3f}" in out
    assert f"stability {report.reference.stability:.3f}" in out


# Recency, frequency, money --------------------------------------------------------------------------------------------


def test_a_visit_at_the_instant_is_not_known(shop: Settings, write: Write):
    at = NOW - timedelta(days=1)
    write("payment", at - timedelta(days=3), user_id="u_" + "a" * 32, amount=5.0)
    write("payment", at - timedelta(microseconds=1), user_id="u_" + "b" * 32, amount=2.0)
    write("payment", at, user_id="u_" + "a" * 32, amount=50.0)
    write("payment", at, user_id="u_" + "c" * 32, amount=50.0)
    found = shoppers_at(shop, [to_us(at)]).frame.set_index("user_id")
    assert found[list(RFM)].to_numpy().tolist() == [[pytest.approx(0, abs=1e-9), 1, 2], [3, 1, 5]]
    assert log_end(shop) == to_us(at) + 1
    later = shoppers_at(shop, [to_us(at) + 1]).frame.set_index("user_id")
    assert later.loc["u_" + "a" * 32, list(RFM)].tolist() == [pytest.approx(0, abs=1e-9), 2, 55]


def test_who_has_not_come_for_a_year_is_absent_and_not_unknown(shop: Settings, write: Write):
    write("payment", NOW - timedelta(days=500), user_id="u_" + "a" * 32, amount=5.0)
    found = shoppers_at(shop, [to_us(NOW)]).frame
    assert found[list(RFM)].to_numpy().tolist() == [[364, 0, 0]]
    assert stages_of(found).tolist() == ["dormant"]


def test_a_log_without_visits_or_with_too_few_says_so(shop: Settings, write: Write):
    with pytest.raises(TaskUnavailableError, match="no 'payment' events"):
        fit(shop)
    write("payment", NOW, user_id="u_" + "a" * 32, amount=1.0)
    with pytest.raises(TaskUnavailableError, match="1 shoppers, too few"):
        fit(shop)
    with pytest.raises(ModelUnavailableError, match="no champion 'segments'"):
        show(shop)


def test_an_instant_in_the_future_and_an_unknown_method_are_refused(placed: Settings, snapshots: Shoppers):
    with pytest.raises(DeclarationError, match="in the future"):
        assign(placed, CLOCK, at=CLOCK.now_us() + 1)
    with pytest.raises(DeclarationError, match="did you mean 'kmeans'"):
        segment(snapshots, method="kmean")
    with pytest.raises(DeclarationError, match="9 segments"):
        segment(snapshots, k=9)


# Stages ---------------------------------------------------------------------------------------------------------------

STAGED = [
    ((27.9, 27.9, 0), "new"),
    ((27.9, 28, 1), "active"),
    ((0, 28, 0), "returned"),
    ((28, 300, 0), "slipping"),
    ((83.9, 84, 4), "slipping"),
    ((84, 300, 0), "dormant"),
    ((364, 900, 0), "dormant"),
]


@pytest.mark.parametrize(("row", "stage"), STAGED)
def test_a_stage_begins_at_its_bound(row: tuple[float, float, float], stage: str):
    frame = pd.DataFrame([row], columns=["days_since", "tenure_days", "visits_28d_84d"])
    assert stages_of(frame).tolist() == [stage]


def test_stages_that_contradict_themselves_are_refused():
    assert {stage.name for stage in LIFECYCLE} == set(STAGES)
    with pytest.raises(DeclarationError, match="did you mean 'active'"):
        Stage("inactive")
    with pytest.raises(DeclarationError, match="days_until"):
        Stage("new", (Bound("days_until", below=3),))
    with pytest.raises(DeclarationError, match="5 <= days_since < 3"):
        Stage("new", (Bound("days_since", 5, 3),))
    with pytest.raises(DeclarationError, match="last stage has bounds"):
        stages_of(pd.DataFrame({"tenure_days": [1.0]}), LIFECYCLE[:1])


# Cutting, naming, placing ---------------------------------------------------------------------------------------------


def blobs(sizes: tuple[int, ...]) -> np.ndarray:
    random = np.random.default_rng(7)
    middles = [(-2.0, 2.0, 0.0), (2.0, -2.0, 0.0), (0.0, 0.0, 3.0)]
    return np.concatenate([random.normal(at, 0.2, (n, 3)) for at, n in zip(middles, sizes, strict=True)])


@pytest.mark.parametrize("method", METHODS)
def test_each_method_finds_what_is_there(method: str):
    rows = blobs((300, 200, 100))
    cut = METHODS[method](rows, 3)
    head = Scaling(np.zeros(3), np.ones(3)).head(cut, ("", "", ""), (0, 0, 0), ["x"] * 4)
    labels = Assigner.of(head)._place(rows).segment
    truth = np.repeat([0, 1, 2], [300, 200, 100])
    assert cut.segments == 3
    assert pd.crosstab(truth, labels).to_numpy().max(axis=1).tolist() == [300, 200, 100]


def test_density_names_the_largest_first_and_leaves_out_who_is_far_from_all():
    rows = np.concatenate([blobs((100, 300, 200)), [[9.0, 9.0, 9.0]]])
    cut = dbscan(rows)
    head = Scaling(np.zeros(3), np.ones(3)).head(cut, ("", "", ""), (0, 0, 0), ["a", "b", "c", OTHERS])
    placed = Assigner.of(head)._place(rows)
    assert np.bincount(placed.segment).tolist() == [300, 200, 100, 1]
    assert placed.strength[-1] == 0


def test_no_two_segments_have_one_name():
    middles = np.random.default_rng(3).normal(0, 1, (9, 3))
    names = names_of(middles)
    assert len(set(names)) == 9
    assert names[8] == OTHERS
    assert names_of(np.array(list(ARCHETYPES.values()))) == list(ARCHETYPES)
    assert {*ARCHETYPES, OTHERS} == set(SEGMENTS)


def test_strength_is_none_on_the_border_and_all_in_the_middle():
    cut = Cut(np.array([[0.0], [2.0]]), np.array([0, 1]))
    assigner = Assigner.of(Scaling(np.zeros(1), np.ones(1)).head(cut, ("x",), (0.0,), ["a", "b"]))
    rows = np.expm1([[0.0], [0.5], [1.0], [2.0], [3.0]])
    placed = assigner.place(rows)
    assert placed.segment.tolist() == [0, 0, 0, 1, 1]
    assert placed.distance == pytest.approx([0, 0.5, 1, 0, 1])
    assert placed.strength == pytest.approx([1, 2 / 3, 0, 1, 2 / 3])
    assert assigner.predict(None, pd.DataFrame({"x": [np.nan]})).segment.tolist() == ["a"]
    with pytest.raises(ValueError, match="lacks x"):
        assigner.predict(None, pd.DataFrame({"y": [1.0]}))


def tried(k: int, silhouette: float, stability: float) -> Candidate:
    cut = Cut(np.zeros((k, 1)), np.arange(k))
    return Candidate(k, silhouette, stability, stability, cut, Scaling(np.zeros(1), np.ones(1)))


def test_of_stable_cuts_with_enough_segments_the_best_separated_is_chosen():
    best = tried(5, 0.40, 0.93)
    others = [tried(2, 0.60, 0.99), tried(4, 0.39, 0.99), tried(6, 0.45, 0.89), tried(7, 0.31, 0.99)]
    assert choose([*others, best]) is best
    assert choose(others[:1] + others[2:]).k == 2  # none with enough holds: the few that hold
    assert choose(others[2:]).k == 6  # none holds: the best separated
    assert choose([tried(1, float("nan"), 1.0)]).k == 1


def test_stability_resamples_shoppers_and_not_rows(snapshots: Shoppers):
    sample = sample_of(snapshots)
    assert len(sample.matrix) > 1.9 * sample.shoppers
    [steady] = candidates(sample, "kmeans", [3], resamples=5)
    [again] = candidates(sample, "kmeans", [3], resamples=5)
    assert (steady.stability, steady.worst) == (again.stability, again.worst)
    assert steady.worst < steady.stability < 1
