"""A service of texts is trained on, registered, reproduced and loaded for serving."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feast import FeatureService

from feature_repo.core.clock import FixedClock
from feature_repo.core.errors import DeclarationError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.definitions.facts import user_demographics
from feature_repo.definitions.purchases import user_payments
from feature_repo.engine.feature_store import open_store, quiet_feast
from serving.scoring import ModelRegistry
from training.data.dataset import Dataset, _check_inputs, dataset
from training.declaring.recipe import Boosting, Linear, Recipe
from training.evaluation.comparison import scores_on_test
from training.evaluation.trained import fit_and_measure
from training.fitting.fit import fit
from training.jobs.reproduce import reproduce
from training.registry.register import Registered, register
from training.task import Task

pytestmark = pytest.mark.slow(25)

INCOME = "user_demographics__income"
SERVICE = FeatureService(
    name="texts_v1", features=[user_demographics, user_payments[["days_since", "count_84d", "amount_sum_84d"]]]
)
QUICK = Boosting(seeds=(1,), max_rounds=20, patience=5)


def silent(what: str, done: float) -> None:
    del what, done


@pytest.fixture(scope="module")
def texts(redemption: Task) -> Task:
    model = Recipe(linear=Linear(strength=0.03), boosting=QUICK)
    return replace(redemption, service="texts_v1", model=model, baselines={}, gates=(), must_beat=(), not_worse_than=())


@pytest.fixture(scope="module")
def made(
    demo_home: Path, tmp_path_factory: pytest.TempPathFactory, texts: Task
) -> Iterator[tuple[Path, Dataset, Registered]]:
    home = tmp_path_factory.mktemp("texts") / "home"
    shutil.copytree(demo_home, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("PORTRAIT_HOME", str(home))
        with quiet_feast():
            open_store().apply([SERVICE])
        data = dataset(texts)
        yield home, data, register(fit_and_measure(data, threads=1, step=silent), load_settings())


@pytest.fixture
def data(made: tuple[Path, Dataset, Registered]) -> Dataset:
    return made[1]


@pytest.fixture
def settings(made: tuple[Path, Dataset, Registered], home: Path) -> Settings:
    shutil.copytree(made[0], home)
    return load_settings()


def test_the_numbers_of_texts_are_their_places_by_frequency_in_training(data: Dataset):
    train = data.frame.loc[data.train, INCOME].dropna()
    known = data.categories[INCOME]
    assert list(train.value_counts()[list(known)]) == sorted(train.value_counts(), reverse=True)
    [column] = data.matrix((INCOME,)).T
    for row in np.flatnonzero(data.frame[INCOME].notna())[:200]:
        assert known[int(column[row])] == data.frame[INCOME].iloc[row]
    assert np.isnan(column[data.frame[INCOME].isna()]).all()
    assert set(data.categories) == {name for name in data.features if name.startswith("user_demographics__")}


def test_a_champion_that_reads_texts_is_loaded_for_serving_with_the_texts_it_knows(
    made: tuple[Path, Dataset, Registered], settings: Settings, data: Dataset
):
    model = ModelRegistry(settings, FixedClock(0)).champion("redemption")
    assert model.version == made[2].version
    assert model.texts == {name: list(known) for name, known in data.categories.items()}
    rows = data.frame.head(300)
    expected = model.scorer.predict(None, rows)
    np.testing.assert_array_equal(model.scorer.score(data.matrix()[:300]), expected)
    assert np.abs(model.scorer.predict(None, rows.assign(**{INCOME: None})) - expected).max() > 1e-3


def test_a_run_that_read_texts_comes_out_the_same(
    made: tuple[Path, Dataset, Registered], settings: Settings, texts: Task
):
    assert reproduce(texts, made[2].run_id, settings, progress=silent).outcome == "same"


def test_a_model_keeps_its_own_numbers_of_texts_on_later_rows(data: Dataset):
    scorer = fit(data.task.model, data).scorer()
    flipped = replace(data, frame=data.frame.copy())
    vars(flipped)["categories"] = {name: tuple(reversed(known)) for name, known in data.categories.items()}
    assert not np.array_equal(flipped.matrix(), data.matrix(), equal_nan=True)
    np.testing.assert_array_equal(scores_on_test(scorer, flipped), scores_on_test(scorer, data))


def test_a_context_of_texts_is_refused_as_no_caller_can_say_it(data: Dataset):
    frame = data.frame.assign(campaign_days="long")
    with pytest.raises(DeclarationError, match="context campaign_days of texts"):
        _check_inputs(data.task, frame, data.features)
