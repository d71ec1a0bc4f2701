"""A regression by tenths of its score: what was foreseen, what came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluation.evaluate import Estimate
from training.evaluation.lift import TENTHS, ranks
from training.evaluation.tallies import Floats, Tallies, ratio


@dataclass(frozen=True)
class Tenth:
    """A tenth of the rows, the highest scores first: their number, mean score, and mean answer with its interval."""

    rows: int
    score: float
    answer: Estimate


def tenths(scores: Floats, labels: npt.NDArray[Any], tallies: Tallies) -> tuple[Tenth, ...]:
    """Return the table; of equal scores the earlier row comes first."""
    tenth = ranks(scores) * TENTHS // max(1, len(scores))
    return tuple(_tenth(scores, labels, tallies, tenth == n) for n in np.unique(tenth))


def _tenth(scores: Floats, labels: npt.NDArray[Any], tallies: Tallies, member: npt.NDArray[np.bool_]) -> Tenth:
    sums = tallies.sums(member * labels, member)
    found = tallies.estimates(sums, lambda each: {"answer": ratio(each[:, 0], each[:, 1])})
    return Tenth(int(member.sum()), float(scores[member].mean()), found["answer"])
