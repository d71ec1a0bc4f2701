"""The task that ranks: metrics of lists, rows that know nothing of later, a model that holds nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

import made_baskets as shop_of
from feature_repo.candidates.proposals import COLUMNS, SHELF, TASTE
from feature_repo.core.clock import to_us
from feature_repo.core.errors import DeclarationError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.jobs.features import apply
from training.data.candidates import CATEGORY, IS_NEW, ITEM, RELEVANT, RELEVANT_NEW, candidate_rows
from training.data.dataset import Dataset, dataset
from training.data.labels import AT, Labels, label_rows
from training.data.log_views import head_versions
from training.declaring.candidates import BOUGHT, SEPARATOR, Candidates
from training.declaring.objective import MAP, NDCG, PRECISION_10, RECALL
from training.declaring.recipe import Boosting, Copy, Recipe
from training.evaluation.listed import of_groups
from training.evaluation.recommended import FIGURES, lists_of
from training.jobs.train import TrainReport, train
from training.runs.tracking import tracking
from training.task import LABEL, Context, Gate, Task, find_task

pytestmark = pytest.mark.slow(14)

SMALL = Boosting(eta=0.3, max_depth=3, min_child_weight=1.0, seeds=(7,), max_rounds=30, patience=10)


@pytest.fixture(scope="module")
def task() -> Task:
    return replace(
        find_task("items"),
        model=Recipe(boosting=SMALL),
        gates=(Gate(RECALL, at_least=0.2),),
        must_beat=(),
        surely_beats=("popular",),
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, task: Task) -> Iterator[tuple[Settings, TrainReport]]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PORTRAIT_REDIS_URL", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        patch.setenv("PORTRAIT_HOME", str(tmp_path_factory.mktemp("baskets") / "home"))
        settings = load_settings()
        apply()
        shop_of.fill(settings)
        yield settings, train(task)


@pytest.fixture(scope="module")
def rows(trained: tuple[Settings, TrainReport], task: Task) -> Dataset:
    return dataset(task)


def naive(metric: str, found: list[int], relevant: int) -> float:
    """A metric of one list, as it is written down in textbooks."""
    hits = found[:10]
    if metric == RECALL:
        return sum(hits) / relevant
    if metric == PRECISION_10:
        return sum(hits) / 10
    if metric == NDCG:
        best = sum(1 / np.log2(place + 2) for place in range(min(10, relevant)))
        return sum(hit / np.log2(place + 2) for place, hit in enumerate(hits)) / best
    precisions = [sum(hits[: place + 1]) / (place + 1) for place, hit in enumerate(hits) if hit]
    return sum(precisions) / min(10, relevant)


@pytest.mark.parametrize("metric", [RECALL, NDCG, MAP, PRECISION_10])
@pytest.mark.parametrize("seed", range(20))
def test_a_metric_of_lists_is_that_of_the_textbook(metric: str, seed: int) -> None:
    chance = np.random.default_rng(seed)
    groups = np.sort(chance.integers(0, 5, 60))
    scores, labels = chance.integers(0, 4, 60) / 4, chance.integers(0, 2, 60)
    missed = chance.integers(1, 4, 5)
    relevant = np.array([missed[group] + labels[groups == group].sum() for group in groups], float)
    found, firsts = of_groups(metric, scores, labels, groups, relevant)
    for value, group in zip(found, groups[firsts], strict=True):
        member = np.flatnonzero(groups == group)
        ranked = member[np.argsort(-scores[member], kind="stable")]
        assert value == pytest.approx(naive(metric, labels[ranked].tolist(), int(relevant[member[0]])))


def test_what_was_never_proposed_counts_as_missed() -> None:
    scores, labels, groups = np.array([0.9, 0.1]), np.array([1, 0]), np.array([0, 0])
    assert of_groups(RECALL, scores, labels, groups, np.array([4.0, 4.0]))[0].tolist() == [0.25]


def test_habits_are_found_and_the_model_is_champion(trained: tuple[Settings, TrainReport]) -> None:
    _, report = trained
    assert report.promoted, report.measured
    assert report.metrics[RECALL] > 0.6
    assert report.metrics[NDCG] > report.baselines["popular"][NDCG] + 0.1
    assert set(report.lists) == {"items", *report.baselines}
    assert set(report.lists["items"]) == set(FIGURES)


def test_the_model_holds_what_proposes_and_nobodys_basket(trained: tuple[Settings, TrainReport]) -> None:
    settings, report = trained
    with tracking(settings) as client:
        version = client.get_model_version("items", report.model_version)
        place = client.get_model_version_download_uri(version.name, version.version)
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=place)) / "artifacts"
    assert {TASTE, SHELF} <= {path.name for path in folder.iterdir()}
    texts = [path.read_bytes() for path in folder.iterdir()]
    with np.load(folder / TASTE, allow_pickle=False) as found:
        texts += [str(found["items"].tolist()).encode()]
    named = [shop_of.user(number) for number in range(shop_of.USERS)]
    assert not [who for who in named for text in texts if who.encode() in text]


def test_rows_are_those_of_a_log_that_ends_at_their_instant(
    trained: tuple[Settings, TrainReport], task: Task, rows: Dataset
) -> None:
    settings, _ = trained
    versions = head_versions(settings, {"purchase", "payment"})
    found = label_rows(task, settings, versions=versions, key="user_id")
    at = found.rows[AT].min()
    asked = Labels(found.rows[found.rows[AT] == at], found.log_end)
    before = candidate_rows(task, settings, asked, versions=versions)
    later = pd.Timestamp(at) + timedelta(days=1)
    extra = [
        shop_of.line(later.to_pydatetime(), shop_of.user(n), shop_of.item(1 - n % 2, n % 30), f"later {n}")
        for n in range(shop_of.USERS)
    ]
    shop_of.commit(settings, "purchase", extra)
    after = candidate_rows(task, settings, asked, versions=head_versions(settings, {"purchase", "payment"}))
    pd.testing.assert_frame_equal(before, after)


def test_a_row_holds_what_was_proposed_at_its_instant(rows: Dataset) -> None:
    frame = rows.frame
    assert (frame.groupby(["user_id", AT])[ITEM].nunique() == frame.groupby(["user_id", AT]).size()).all()
    assert frame[[*COLUMNS]].notna().all(axis=None)
    assert (frame[CATEGORY] != "").all()
    assert (frame[RELEVANT] >= frame.groupby(["user_id", AT])[LABEL].transform("sum")).all()
    assert (frame[RELEVANT_NEW] <= frame[RELEVANT]).all()
    # What the store says of shopper and item agrees with what the history says.
    assert ((frame["user_item_purchases__count_364d"] == 0) == frame[IS_NEW]).all()


def test_before_the_test_stretch_a_share_of_the_shoppers_is_asked_about(rows: Dataset) -> None:
    asked = rows.frame.groupby(rows.test)["user_id"].nunique()
    assert asked[True] > 100
    assert 0.2 * shop_of.USERS < asked[False] < 0.7 * shop_of.USERS


def test_lists_of_an_order_that_is_known_have_the_figures_it_should(rows: Dataset) -> None:
    test = rows.frame.loc[rows.test]
    best = test[LABEL].to_numpy(float)
    found = lists_of(rows, {"best": best, "worst": -best, "popular": test["popular"].to_numpy()})
    assert found["best"].figures["serendipity"] >= found["popular"].figures["serendipity"]
    assert found["worst"].figures["new_recall_at_10"] <= found["best"].figures["new_recall_at_10"]
    assert found["popular"].figures["popularity_bias"] > found["worst"].figures["popularity_bias"]
    assert 0 < found["best"].figures["coverage"] <= 1


def test_the_label_query_names_what_was_bought_within_two_weeks_the_instant_included(
    shop: Settings, task: Task
) -> None:
    end = shop_of.END
    at = end - timedelta(days=14)
    told = {
        "before": at - timedelta(microseconds=1),
        "at": at,
        "last": end - timedelta(microseconds=1),
        "end": end,
        "long ago": end - timedelta(days=200),
    }
    lines = [shop_of.line(when, shop_of.user(0), what, what) for what, when in told.items()]
    shop_of.commit(shop, "purchase", lines)
    found = label_rows(task, shop, versions=head_versions(shop, {"purchase"}), key="user_id").rows
    [row] = found[found[AT] == at].to_dict("records")
    assert row[BOUGHT].split(SEPARATOR) == ["at", "last"]


@pytest.mark.parametrize("change", [{"candidates": None}, {"groups": ()}, {"objective": "binary:logistic"}])
def test_a_task_that_ranks_declares_all_it_takes(change: dict[str, object], task: Task) -> None:
    whole = {"gates": (), "surely_beats": (), **change}
    with pytest.raises(DeclarationError, match="ranks what is not proposed"):
        replace(task, **whole)  # type: ignore[arg-type]


def test_a_baseline_that_is_surely_beaten_is_one_of_the_task(task: Task) -> None:
    with pytest.raises(DeclarationError, match="no baseline 'fame'"):
        replace(task, surely_beats=("fame",))


def test_a_baseline_of_lists_gives_an_input_back(rows: Dataset, task: Task) -> None:
    assert all(isinstance(each.copy, Copy) for each in task.all_baselines.values())
    assert isinstance(task.candidates, Candidates)
    assert {each.name for each in task.context} == set(COLUMNS)
    assert all(isinstance(each, Context) for each in task.context)
    assert json.dumps(task.fingerprint)
    assert to_us(rows.frame[AT].max().to_pydatetime()) == to_us(shop_of.END - timedelta(days=14))
