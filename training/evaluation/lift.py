"""Lift and gain: how many more positives a list made by score holds than one made by chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluation.evaluate import Estimate
from training.evaluation.tallies import Figures, Floats, Ints, Tallies, ratio

TENTHS = 10
TOP_SHARES = {"1pct": 0.01, "5pct": 0.05, "10pct": 0.10}


@dataclass(frozen=True)
class Decile:
    """A tenth of the rows, the highest scores first.

    Attributes
    ----------
    rows, positives
        In this tenth.
    lowest
        Lowest score in it.
    share
        Of positives among its rows.
    lift
        That share over the share among all rows.
    cumulative_lift
        The same of this tenth and all before.
    gain
        Share of all positives that are in this tenth and those before.
    """

    rows: int
    positives: int
    lowest: float
    share: float
    lift: float
    cumulative_lift: Estimate
    gain: Estimate


def deciles(scores: Floats, labels: npt.NDArray[Any], tallies: Tallies) -> tuple[Decile, ...]:
    """Return the lift table. Of equal scores the earlier row comes first; intervals keep the tenths as they are."""
    tenth = ranks(scores) * TENTHS // max(1, len(scores))
    positives = np.bincount(tenth, labels, TENTHS)
    rows = np.bincount(tenth, minlength=TENTHS)
    cells = np.asarray(tenth + TENTHS * labels, np.int64)
    found = tallies.estimates(tallies.counts(cells, 2 * TENTHS), _cumulative)
    base = labels.mean()
    return tuple(
        Decile(
            rows=int(rows[n]),
            positives=int(positives[n]),
            lowest=float(scores[tenth == n].min()),
            share=float(positives[n] / rows[n]),
            lift=float(positives[n] / rows[n] / base),
            cumulative_lift=found[f"lift_{n}"],
            gain=found[f"gain_{n}"],
        )
        for n in np.flatnonzero(rows)
    )


def precision_at(scores: Floats, labels: npt.NDArray[Any], tallies: Tallies) -> dict[str, Estimate]:
    """Return the share of positives among the rows with the highest scores, by how many of all rows they are."""
    place, shares = ranks(scores), {}
    for name, share in TOP_SHARES.items():
        top = place < max(1, round(share * len(scores)))
        sums = tallies.sums(top & (labels == 1), top)
        shares[name] = tallies.estimates(sums, lambda each: {"precision": ratio(each[:, 0], each[:, 1])})["precision"]
    return shares


def ranks(scores: Floats) -> Ints:
    """Place of each row by descending score, from 0; of equal scores the earlier row comes first.

    >>> ranks(np.array([0.2, 0.9, 0.2])).tolist()
    [1, 0, 2]
    """
    place = np.empty(len(scores), np.int64)
    place[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    return place


def _cumulative(counts: Floats) -> Figures:
    negative, positive = counts[:, :TENTHS], counts[:, TENTHS:]
    hits, rows = np.cumsum(positive, axis=1), np.cumsum(positive + negative, axis=1)
    base = ratio(hits[:, -1], rows[:, -1])
    lifts = {f"lift_{n}": ratio(ratio(hits[:, n], rows[:, n]), base) for n in range(TENTHS)}
    return lifts | {f"gain_{n}": ratio(hits[:, n], hits[:, -1]) for n in range(TENTHS)}
