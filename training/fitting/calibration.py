"""Makes probabilities of margins: by a line (Platt) or by knots (isotonic), whichever foresees better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from training.data.dataset import Labels
from training.scorer import calibrated

Margins = npt.NDArray[np.float64]
Calibration = dict[str, Any]

UNCALIBRATED: Calibration = {"slope": 1.0, "offset": 0.0}
PLATT, ISOTONIC = "platt", "isotonic"
FOLDS = 5
KNOT_ROWS = 50


@dataclass(frozen=True)
class Choice:
    """A calibration, and why it was taken.

    Attributes
    ----------
    name
        ``platt`` or ``isotonic``; ``none`` of what has no calibration.
    calibration
        As ``head.json`` stores it, see :func:`training.scorer.calibrated`.
    losses
        Name -> log loss on shoppers that the calibration was not fitted on, ``none`` of no calibration among them;
        empty if there was nothing to choose.
    """

    name: str
    calibration: Calibration = field(repr=False)
    losses: Mapping[str, float] = field(default_factory=dict)

    def centred(self, margin: Margins, labels: Labels) -> Choice:
        """Return the same calibration moved so that the mean probability of rows is their share of positives.

        >>> moved = Choice("platt", {"slope": 1.0, "offset": 5.0}).centred(np.array([-1.0, 1.0]), np.array([0, 1]))
        >>> abs(moved.calibration["offset"]) < 1e-9
        True
        """
        logits, share = calibrated(self.calibration, margin), float(labels.mean())
        if not 0 < share < 1:
            return self
        reach = float(np.abs(logits).max()) + abs(float(np.log(share / (1 - share)))) + 1.0
        by = float(brentq(lambda offset: float(expit(logits + offset).mean()) - share, -reach, reach))
        return replace(self, calibration=_moved(self.calibration, by))


NO_CHOICE = Choice("none", UNCALIBRATED)


def choose(margin: Margins, labels: Labels, shoppers: npt.NDArray[np.object_]) -> Choice:
    """Choose a calibration by log loss on the validation slice, cross-fitted by shopper; then fit it on all of it.

    Cross-fitted, as on the rows they are fitted on knots always win. Knots are taken only if they are better than the
    line by more than a standard error of the paired difference: the final model is not the one they are fitted on, and
    what is steep carries over badly. No calibration is measured and never taken, as a line may be that.

    Parameters
    ----------
    shoppers
        Key of each row: a shopper's rows, which are alike, are all in one of the five folds.
    """
    fold = pd.factorize(shoppers)[0] % FOLDS
    found = {name: _losses(fit, margin, labels, fold) for name, fit in METHODS.items()}
    losses = {name: float(each.mean()) for name, each in found.items()}
    best = PLATT if _alike(found[PLATT], found[ISOTONIC]) else ISOTONIC
    return Choice(best, METHODS[best](margin, labels), losses)


def _moved(calibration: Calibration, by: float) -> Calibration:
    if "x" in calibration:
        return {**calibration, "y": [value + by for value in calibration["y"]]}
    return {**calibration, "offset": calibration["offset"] + by}


def platt(margin: Margins, labels: Labels) -> Calibration:
    """Fit ``slope * margin + offset`` to labels by maximum likelihood (Platt 1999, without his smoothing of labels).

    A line that falls would turn the order round, and is not taken.
    """
    fitted = LogisticRegression(C=1e6, max_iter=1000).fit(margin[:, None], labels)
    slope = float(fitted.coef_[0, 0])
    return {"slope": slope, "offset": float(fitted.intercept_[0])} if slope > 0 else UNCALIBRATED


def isotonic(margin: Margins, labels: Labels) -> Calibration:
    """Fit rising knots to labels: centred isotonic regression (Oron and Flournoy 2017), on the logit.

    Pooled rows give one knot, at their mean margin and share of positives: between knots the score goes on rising, so
    that rows that were told apart stay so. Blocks are joined until each has ``KNOT_ROWS`` rows; a share of 0 or 1,
    which has no logit, becomes that of half a row.
    """
    pooled = IsotonicRegression().fit(margin, labels).predict(margin).round(12)
    frame = pd.DataFrame({"margin": margin, "label": labels, "block": _joined(pooled)})
    blocks = frame.groupby("block").agg(margin=("margin", "mean"), share=("label", "mean"), rows=("label", "size"))
    share = np.clip(blocks["share"].to_numpy(), *_bounds(blocks["share"].to_numpy(), blocks["rows"].to_numpy()))
    return {"x": blocks["margin"].tolist(), "y": np.log(share / (1 - share)).tolist()}


def _joined(pooled: Margins) -> npt.NDArray[np.int64]:
    """Number of each row's block: values of at least ``KNOT_ROWS`` rows together, the last one perhaps joined down."""
    values, place, sizes = np.unique(pooled, return_inverse=True, return_counts=True)
    number, rows, block = 0, 0, np.zeros(len(values), np.int64)
    for n, size in enumerate(sizes):
        block[n], rows = number, rows + size
        if rows >= KNOT_ROWS:
            number, rows = number + 1, 0
    block[block == number] = max(number - 1, 0) if rows else number
    return np.asarray(block[place])


def _bounds(shares: Margins, sizes: npt.NDArray[np.int64]) -> tuple[float, float]:
    """The lowest and the highest share: of half a row, and still apart from the next block's."""
    low, high = 0.5 / sizes[0], 1 - 0.5 / sizes[-1]
    if len(shares) > 1:
        low, high = min(low, shares[1] / 2), max(high, (1 + shares[-2]) / 2)
    return low, high


def _nothing(margin: Margins, labels: Labels) -> Calibration:
    del margin, labels
    return UNCALIBRATED


METHODS: dict[str, Callable[[Margins, Labels], Calibration]] = {
    "none": _nothing,
    PLATT: platt,
    ISOTONIC: isotonic,
}


def _losses(
    fit: Callable[[Margins, Labels], Calibration], margin: Margins, labels: Labels, fold: npt.NDArray[np.int64]
) -> Margins:
    """Log loss of each row, by what was fitted on the other folds."""
    logits = np.empty(len(margin))
    for number in range(FOLDS):
        held = fold == number
        if held.any():
            logits[held] = calibrated(_fitted(fit, margin[~held], labels[~held]), margin[held])
    return np.asarray(np.logaddexp(0.0, np.where(labels == 1, -logits, logits)))


def _alike(losses: Margins, best: Margins) -> bool:
    difference = losses - best
    return bool(difference.mean() <= difference.std() / np.sqrt(len(difference)))


def _fitted(fit: Callable[[Margins, Labels], Calibration], margin: Margins, labels: Labels) -> Calibration:
    return fit(margin, labels) if len(np.unique(labels)) > 1 else UNCALIBRATED
