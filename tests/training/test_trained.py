"""Which rows of a trained model's test set are explained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.data.dataset import Dataset
from training.declaring.recipe import Linear, Recipe
from training.evaluation import trained as module
from training.evaluation.evaluate import evaluate
from training.evaluation.trained import Trained, rows_to_measure
from training.fitting.fit import fit
from training.fitting.preparation import Prepared


@pytest.fixture(scope="module")
def trained(rows: Dataset) -> Trained:
    recipe = Recipe(linear=Linear())
    fitted = fit(recipe, rows)
    scores = fitted.scorer().score(rows.matrix()[rows.test])
    return Trained(rows, Prepared(recipe), fitted, evaluate(scores, rows_to_measure(rows)), {}, {}, {})


def test_all_test_rows_are_explained_where_they_are_few(trained: Trained, rows: Dataset):
    np.testing.assert_array_equal(trained.explained, rows.matrix()[rows.test])


def test_of_many_test_rows_some_are_explained_from_the_first_instant_to_the_last(
    trained: Trained, rows: Dataset, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "EXPLAINED", 50)
    several = replace(trained)  # nothing of it is computed yet
    places = module.spread(int(rows.test.sum()), 50)
    assert several.contributions.shape == several.explained.shape == (50, len(rows.inputs))
    assert places[0] == 0
    assert np.diff(places).max() - np.diff(places).min() <= 1
    assert places[-1] + np.diff(places).max() >= rows.test.sum()
    np.testing.assert_array_equal(several.explained, rows.matrix()[rows.test][places])
