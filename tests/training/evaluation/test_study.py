from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo.core.settings import Settings
from training.data.dataset import Dataset
from training.declaring.objective import PRECISION
from training.declaring.recipe import Linear, Recipe
from training.evaluation import study as study_module
from training.evaluation.attributes import Latest, Stated, Tenure, attributes_of
from training.evaluation.extras import Extras
from training.evaluation.fairness import MISSING
from training.evaluation.files import write_study
from training.evaluation.pages import sections
from training.evaluation.permutation import permutation
from training.evaluation.rolling import _splits, roll, spread
from training.evaluation.slices import SLICES, Bands, Names
from training.evaluation.study import study
from training.fitting.fit import Fitted, fit
from training.task import KNOWN_AT, Task

T = datetime(2026, 5, 1, 12, tzinfo=UTC)
US = timedelta(microseconds=1)
ANN, BOB = f"u_{'a' * 32}", f"u_{'b' * 32}"
PLAIN = Recipe(inputs=("user_payments__count_84d", "user_redemptions__count_364d", "campaign_type_a"), linear=Linear())


@pytest.fixture(scope="module")
def fitted(rows: Dataset) -> Fitted:
    return fit(PLAIN, rows)


def asked(rows: Dataset, *who: tuple[str, datetime]) -> Dataset:
    frame = pd.DataFrame(who, columns=["user_id", "event_timestamp"])
    return replace(rows, frame=frame, log_versions={})


@pytest.mark.slow(9)
def test_an_attribute_is_what_was_known_before_the_instant(
    rows: Dataset, shop: Settings, write: Callable[..., None]
) -> None:
    for at, store in ((T - 2 * US, "old"), (T - US, "new"), (T, "then")):
        write("payment", at, user_id=ANN, store_id=store)
    write("payment", T - timedelta(days=10), user_id=ANN, store_id=None)
    write("users", T + timedelta(days=1), user_id=BOB, age_band="25-34")
    wanted = (
        Latest("store", "store_id", ("payment", "login")),
        Tenure("tenure", ("payment",)),
        Stated("age", "age_band"),
        Latest("device", "device", ("view", "login")),
    )
    data = asked(rows, (ANN, T), (BOB, T), (ANN, T - 2 * US), (ANN, T))
    found = attributes_of(data, wanted, shop)
    assert list(found) == ["store", "tenure", "age"]  # nobody has a device
    assert found["store"].where(found["store"].notna(), None).tolist() == ["new", None, None, "new"]
    assert found["tenure"].round(6).tolist()[::3] == [10.0, 10.0]
    assert pd.isna(found["tenure"][1])
    first = asked(rows, (ANN, T - timedelta(days=10)), (ANN, T))
    assert attributes_of(first, wanted[1:2], shop)["tenure"].isna().tolist() == [True, False]
    assert found["age"].where(found["age"].notna(), None).tolist() == [None, "25-34", None, None]


def test_bands_are_quarters_of_the_training_rows_and_include_their_upper_end() -> None:
    values = pd.Series([10.0, 20.0, 30.0, 40.0, 50.0, 1000.0, np.nan])
    train = np.array([True] * 5 + [False] * 2)
    bands = Bands("spend", "x", shares=(0.25, 0.5, 0.75)).cut(values, train)
    assert bands.tolist() == ["up to 20"] * 2 + ["20 to 30", "30 to 40", "over 40", "over 40", "unknown"]


def test_values_too_rare_in_training_are_taken_together() -> None:
    values = pd.Series(["a", "a", "b", "c", "c", "c", None])
    train = np.array([True, True, True, False, False, False, True])
    names = Names(Latest("store", "store_id", ("payment",)), most=1).cut(values, train)
    assert names.tolist() == ["a", "a", *["others"] * 4, "unknown"]


def test_no_origin_is_fitted_on_answers_that_came_later(rows: Dataset) -> None:
    at, known_at = rows.frame.event_timestamp, rows.frame[KNOWN_AT]
    measured = np.zeros(len(at), int)
    for split, until in _splits(rows, 4):
        cut, end = (pd.Timestamp(instant, unit="us", tz="UTC") for instant in (split.cut, until))
        assert (known_at[split.train] <= cut).all()
        assert ((at[split.test] >= cut) & (at[split.test] < end)).all()
        assert not split.fit.any() or known_at[split.fit].max() <= at[split.valid].min()
        measured += split.test
    assert set(measured) == {0, 1}  # each row at one origin, or at none
    assert measured[at == at.max()].all()


def test_origins_have_intervals_and_a_spread_and_one_without_both_answers_is_listed(rows: Dataset) -> None:
    origins = roll(rows, PLAIN, origins=4, threads=1)
    assert [bool(origin.metrics) for origin in origins] == [False, True, True, True]
    values = [origin.metrics["auc"].value for origin in origins if origin.metrics]
    found = spread(origins)["auc"]
    assert (found.low, found.high) == (min(values), max(values))
    assert found.deviation == pytest.approx(np.std(values, ddof=1))
    assert all(origin.metrics["auc"].low < origin.metrics["auc"].high for origin in origins if origin.metrics)


BLOCK, THINNED = 20, 12


def whole_from(rows: Dataset) -> pd.Timestamp:
    return rows.frame.event_timestamp[rows.train].max()


def in_blocks(rows: Dataset) -> Dataset:
    """Rows that are ranked in blocks of twenty; of early instants three fifths of each block are there."""
    number = rows.frame.groupby("event_timestamp").cumcount()
    size = rows.frame.groupby("event_timestamp")["user_id"].transform("size")
    early = rows.frame.event_timestamp < whole_from(rows)
    kept = ((number < size // BLOCK * BLOCK) & (~early | (number % BLOCK < THINNED))).to_numpy()
    split = replace(rows.split, **{part: getattr(rows.split, part)[kept] for part in ("fit", "valid", "train", "test")})
    frame = rows.frame.assign(block=number // BLOCK)[kept].reset_index(drop=True)
    return replace(rows, task=replace(rows.task, groups=("event_timestamp", "block")), frame=frame, split=split)


def test_rankings_are_measured_at_origins_on_whole_groups_alone(rows: Dataset) -> None:
    data = in_blocks(rows)
    origins = roll(data, PLAIN, origins=8, threads=1)
    at = data.frame.event_timestamp
    whole = at >= whole_from(rows)
    for origin, (split, _) in zip(origins, _splits(data, 8), strict=True):
        ranked = split.test & whole.to_numpy() & bool(origin.metrics)
        assert origin.groups == ranked.sum() / BLOCK
        assert (PRECISION in origin.metrics) == bool(ranked.any())
        if ranked.any():
            scores = fit(PLAIN, replace(data, split=split)).scorer().score(data.matrix(PLAIN.inputs)[ranked])
            frame = data.frame[ranked].assign(score=scores).sort_values("score", ascending=False, kind="stable")
            best = frame.groupby(["event_timestamp", "block"]).head(5)
            assert origin.metrics[PRECISION].value == pytest.approx(best["label"].mean())
    assert {PRECISION in origin.metrics for origin in origins if origin.metrics} == {True, False}
    assert spread(origins)[PRECISION].low > 0


def test_the_page_says_where_there_were_no_whole_groups(rows: Dataset, fitted: Fitted, demo: Settings) -> None:
    *_, one, other = roll(rows, PLAIN, origins=4, threads=1)
    ranked = replace(other, metrics={**other.metrics, PRECISION: other.metrics["auc"]}, groups=3)
    found = replace(study(rows, fitted, demo), origins=(one, ranked), spread=spread((one, ranked)))
    assert "no whole groups" in "".join(sections(found, leading="auc", binary=True))


@dataclass
class OneColumn:
    """Reads the first of its columns."""

    columns: tuple[str, ...]

    def score(self, matrix: np.ndarray) -> np.ndarray:
        return np.asarray(np.nan_to_num(matrix[:, 0]))

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        return np.nan_to_num(matrix) * ([1.0] + [0.0] * (len(self.columns) - 1))


def test_only_a_view_that_the_model_reads_is_missed(rows: Dataset) -> None:
    columns = ("user_redemptions__count_364d", "user_redemptions__count_182d", "campaign_days")
    drops = permutation(rows, OneColumn(columns))
    assert list(drops) == ["user_redemptions", "what the caller says"]
    assert drops["user_redemptions"].mean > 3 * drops["user_redemptions"].deviation > 0
    assert (drops["what the caller says"].mean, drops["what the caller says"].deviation) == (0, 0)
    assert [drop.inputs for drop in drops.values()] == [2, 1]
    assert [drop.shap for drop in drops.values()] == [1, 0]


def test_a_study_is_the_same_twice_and_reads_no_answer_of_the_test_rows_for_its_threshold(
    rows: Dataset, fitted: Fitted, demo: Settings
) -> None:
    found = study(rows, fitted, demo)
    assert found == study(rows, fitted, demo)
    turned = rows.frame.assign(label=np.where(rows.test, 1 - rows.frame.label, rows.frame.label))
    other = study(replace(rows, frame=turned), fitted, demo)
    assert found.decisions
    assert other.decisions
    assert other.decisions.threshold == found.decisions.threshold
    assert other.decisions.confusion != found.decisions.confusion


def test_a_study_of_the_demo_covers_slices_and_protected_groups(rows: Dataset, fitted: Fitted, demo: Settings) -> None:
    found = study(rows, fitted, demo)
    assert {name.partition("=")[0] for name in found.slices} == {"campaign_type", "store", "tenure", "spend_band"}
    for column in ("campaign_type", "store", "spend_band"):
        parts = [part for name, part in found.slices.items() if name.startswith(f"{column}=")]
        assert sum(part.rows for part in parts) == rows.test.sum()
    assert set(found.fairness) == {"age", "income"}
    for each in found.fairness.values():
        assert sum(group.rows for group in each.groups.values()) + each.unknown_rows == rows.test.sum()
        assert not each.is_input
        assert set(each.gaps) == {"selection_rate", "tpr", "fpr", "auc", "share", "excess"}


def test_without_fairlearn_the_report_says_how_to_get_it(
    rows: Dataset, fitted: Fitted, demo: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(study_module, "available", lambda: False)
    found = study(rows, fitted, demo)
    write_study(found, tmp_path, task=rows.task)
    assert json.loads((tmp_path / "fairness.json").read_text()) == {"unavailable": MISSING}
    assert "pip install" in (tmp_path / "fairness.md").read_text()
    assert found.compact()["fairness"] == {"unavailable": MISSING}


def test_a_regression_is_studied_by_tenths_and_errors(
    rows: Dataset, demo: Settings, tmp_path: Path, redemption: Task
) -> None:
    task = replace(
        redemption, objective="reg:squarederror", model=PLAIN, gates=(), must_beat=(), not_worse_than=(), baselines={}
    )
    spent = replace(rows, task=task, frame=rows.frame.assign(label=rows.frame["user_payments__amount_sum_28d"] / 2.0))
    found = study(spent, fit(PLAIN, spent), demo, extras=Extras(rolling=2))
    assert (found.decisions, found.lift, found.precision_at) == (None, (), {})
    assert sum(tenth.rows for tenth in found.tenths) == spent.test.sum()
    assert [tenth.score for tenth in found.tenths] == sorted((each.score for each in found.tenths), reverse=True)
    assert {"r2", "mae"} <= set(found.spread)
    write_study(found, tmp_path, task=task)
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == {"tenths.png", "slices.png", "fairness_gaps.png", "fairness_groups.png", "rolling.png"}


def test_device_and_region_are_those_of_the_latest_visit_of_any_kind(
    rows: Dataset, shop: Settings, write: Callable[..., None]
) -> None:
    write("view", T - timedelta(hours=2), user_id=ANN, device="desktop", region="north")
    write("cart", T - timedelta(hours=1), user_id=ANN, device="mobile")
    wanted = tuple(each.source for each in SLICES if isinstance(each, Names))
    found = attributes_of(asked(rows, (ANN, T), (BOB, T)), wanted, shop)
    told = {name: values.where(values.notna(), None).tolist() for name, values in found.items()}
    assert told == {"device": ["mobile", None], "region": ["north", None]}
