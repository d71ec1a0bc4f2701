from __future__ import annotations

import numpy as np
import pytest

from training.fitting.calibration import KNOT_ROWS, UNCALIBRATED, Choice, choose, isotonic, platt
from training.fitting.fit import Fitted
from training.scorer import calibrated

RANDOM = np.random.default_rng(5)
MARGIN = RANDOM.normal(size=20_000) * 2
SHOPPERS = np.array([f"s{n // 4}" for n in range(len(MARGIN))], object)


def drawn(logit):
    return (np.random.default_rng(6).uniform(size=len(logit)) < 1 / (1 + np.exp(-logit))).astype(np.int64)


STEP = np.where(MARGIN < 0, -3.0, np.where(MARGIN < 2, 0.0, 0.2))


@pytest.mark.parametrize(
    ("logit", "name"),
    [(MARGIN, "platt"), (0.5 * MARGIN - 1, "platt"), (STEP, "isotonic")],
    ids=lambda each: str(each)[:9],
)
def test_the_calibration_that_made_the_labels_is_chosen(name, logit):
    found = choose(MARGIN, drawn(logit), SHOPPERS)
    assert found.name == name
    assert set(found.losses) == {"none", "platt", "isotonic"}


def test_a_model_that_needs_no_calibration_stays_as_it_is():
    found = choose(MARGIN, drawn(MARGIN), SHOPPERS).calibration
    assert found["slope"] == pytest.approx(1, abs=0.03)
    assert found["offset"] == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("calibration", [{"slope": 2.0, "offset": 3.0}, {"x": [-1.0, 1.0], "y": [-4.0, 0.5]}])
def test_a_centred_calibration_foresees_the_share_of_positives_and_keeps_its_shape(calibration):
    labels = drawn(MARGIN - 2)
    moved = Choice("any", calibration).centred(MARGIN, labels).calibration
    logits = calibrated(moved, MARGIN)
    assert (1 / (1 + np.exp(-logits))).mean() == pytest.approx(labels.mean(), abs=1e-9)
    np.testing.assert_allclose(np.diff(logits), np.diff(calibrated(calibration, MARGIN)), atol=1e-9)


def test_knots_beat_a_line_where_the_truth_has_steps():
    found = choose(MARGIN, drawn(STEP), SHOPPERS)
    assert found.losses["isotonic"] < found.losses["platt"] - 0.005


def test_knots_are_not_taken_for_noise():
    random = np.random.default_rng(8)
    for _ in range(10):
        margin = random.normal(size=400)
        labels = (random.uniform(size=400) < 1 / (1 + np.exp(-margin))).astype(np.int64)
        assert choose(margin, labels, np.arange(400).astype(object)).name != "isotonic"


def test_every_calibration_keeps_the_order_strictly():
    labels = drawn(STEP)
    rows = np.linspace(-30, 30, 5_001)
    for calibration in (platt(MARGIN, labels), isotonic(MARGIN, labels)):
        assert (np.diff(calibrated(calibration, rows)) > 0).all()


def test_a_line_that_falls_is_not_taken():
    assert platt(MARGIN, drawn(-MARGIN)) == UNCALIBRATED


def test_a_knot_stands_for_enough_rows_and_a_sure_one_is_not_certain():
    margin = np.arange(1_000.0)
    found = isotonic(margin, (margin >= 500).astype(np.int64))
    assert len(found["x"]) == 2
    assert np.isfinite(found["y"]).all()
    tail = isotonic(margin, np.r_[np.tile([0, 1], 495), np.ones(10)].astype(np.int64))
    assert len(tail["x"]) == 1
    assert KNOT_ROWS > 10


@pytest.mark.parametrize(
    "calibration", [{"slope": 0.5, "offset": -1.0}, {"x": [-1.0, 0.0, 2.0], "y": [-4.0, 0.5, 1.0]}]
)
def test_contributions_of_a_calibrated_model_sum_to_its_logit_and_keep_signs_and_proportions(calibration):
    part = {"fill": [0.0, 0.0], "mean": [1.0, 2.0], "scale": [1.0, 1.0], "coef": [0.7, -0.4], "intercept": -0.3}
    head = {
        "columns": ["a", "b"],
        "weights": {"linear": 1.0, "boosting": 0.0},
        "linear": {**part, "logarithmic": False},
        "calibration": UNCALIBRATED,
    }
    plain, bent = (Fitted({**head, "calibration": each}, (), 0).scorer() for each in (UNCALIBRATED, calibration))
    matrix = np.random.default_rng(1).normal(size=(200, 2)) * 3
    shares, before = bent.contributions(matrix), plain.contributions(matrix)
    np.testing.assert_allclose(1 / (1 + np.exp(-shares.sum(axis=1))), bent.score(matrix), rtol=1e-9)
    np.testing.assert_allclose(shares[:, 0] * before[:, 1], shares[:, 1] * before[:, 0], atol=1e-9)
    assert (shares[:, :2] * before[:, :2] >= 0).all()
