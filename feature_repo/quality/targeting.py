"""How many of those who are addressed will answer, and whom a budget is best spent on: training measures with it what
serving promises.

Answers are counted as independent coins of the scores' probabilities, moved together by something that a campaign has
and no model knows beforehand (its offers, the season): on the logit scale every probability of one campaign is shifted
by the same amount, normal with mean 0 and deviation ``spread``. With a spread of 0 intervals are those of coins alone,
which real campaigns fall out of far too often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, logsumexp, ndtr, ndtri

Floats: TypeAlias = npt.NDArray[np.float64]

LEVEL = 0.95
SPREAD_TAG = "spread"
_LEAST = 1e-6
_NODES = 201
_WIDEST = 3.0
_STEPS = 301


@dataclass(frozen=True)
class Expected:
    """How much is expected of a list, with a 95 % interval."""

    value: float
    low: float
    high: float

    def covers(self, found: float) -> bool:
        """Whether what was found is within the interval."""
        return self.low <= found <= self.high


@dataclass(frozen=True, eq=False)
class Answered:
    """Rows of one campaign that were scored before it began: probabilities, and what was answered (0 or 1)."""

    scores: Floats
    labels: npt.NDArray[np.int64]


def expected(scores: Floats, spread: float, worth: Floats | None = None) -> Expected:
    """Return how many answers are expected of a list, or how much they are worth.

    Parameters
    ----------
    scores
        Calibrated probabilities, ``float64[n]``.
    spread
        See above; of :func:`spread_of`.
    worth
        Of each answer, not negative; 1 unless given. The interval of a count ends at whole numbers.

    >>> expected(np.full(100, 0.5), 0.0)
    Expected(value=50.0, low=40.0, high=60.0)
    """
    each = np.ones(len(scores)) if worth is None else worth
    shifted = expit(logit(_inside(scores))[None, :] + spread * _nodes()[:, None])
    means = shifted @ each
    deviations = np.sqrt((shifted * (1 - shifted)) @ each**2)
    tail, whole = (1 - LEVEL) / 2, float(each.sum())
    low, high = (_quantile(means, deviations, share, whole) for share in (tail, 1 - tail))
    if worth is None:
        low, high = np.floor(low + 0.5), np.ceil(high - 0.5)
    return Expected(float(scores @ each), float(max(low, 0.0)), float(min(high, whole)))


def spread_of(campaigns: Sequence[Answered]) -> float:
    """Return the deviation between campaigns that makes what was answered likeliest; 0 where coins alone explain it."""
    spreads = np.linspace(0, _WIDEST, _STEPS)
    likelihood = sum((_likelihoods(each, spreads) for each in campaigns), np.zeros(_STEPS))
    return float(spreads[int(np.argmax(likelihood))])


def best(scores: Floats, worth: Floats, *, cost: float, most: int) -> npt.NDArray[np.int64]:
    """Return the places of whom to address, the best first: whose answer is worth more than addressing them costs.

    Parameters
    ----------
    worth
        Of an answer of each.
    cost
        Of addressing one, answer or not.
    most
        How many at most.

    >>> best(np.array([0.5, 0.1, 0.9]), np.array([10.0, 10.0, 1.0]), cost=0.95, most=5).tolist()
    [0, 1]
    """
    gain = scores * worth - cost
    order = np.argsort(-gain, kind="stable")
    return order[: min(most, int((gain > 0).sum()))]


def _inside(scores: Floats) -> Floats:
    return np.clip(scores, _LEAST, 1 - _LEAST)


def _nodes() -> Floats:
    """Equally likely places of a normal."""
    return np.asarray(ndtri((np.arange(_NODES) + 0.5) / _NODES), np.float64)


def _quantile(means: Floats, deviations: Floats, share: float, whole: float) -> float:
    """Of the mixture of normals, each as likely."""
    low, high = -1.0, whole + 1.0
    deviations = np.maximum(deviations, _LEAST)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if ndtr((middle - means) / deviations).mean() < share else (low, middle)
    return (low + high) / 2


def _likelihoods(campaign: Answered, spreads: Floats) -> Floats:
    """Log-likelihood of a campaign's answers at each spread: averaged over how it may be shifted."""
    shifts = np.linspace(-_WIDEST * 3, _WIDEST * 3, 721)
    odds, labels = logit(_inside(campaign.scores)), campaign.labels
    known = np.array([labels @ (odds + shift) - np.logaddexp(0, odds + shift).sum() for shift in shifts])
    found = []
    for spread in spreads:
        if spread == 0:
            found.append(known[len(shifts) // 2])
            continue
        weights = -0.5 * (shifts / spread) ** 2
        found.append(logsumexp(known + weights) - logsumexp(weights))
    return np.array(found)
