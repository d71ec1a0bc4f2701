"""How many segments: each number is judged by how far apart they are, and by whether other shoppers give the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from sklearn.metrics import adjusted_rand_score, silhouette_score

from training.segments.assigner import Assigner
from training.segments.clustering import METHODS, SEED, Cut, Scaling
from training.segments.naming import OTHERS

SILHOUETTE, STABILITY = 0.32, 0.90
LEAST, MOST = 2, 8
# Two or three segments only say who is busy; what one does with them needs a few more.
WANTED = 4
RESAMPLES = 40
_SHOWN = 5_000
_STARTS = 3

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows to cut, and which are whose.

    Attributes
    ----------
    matrix
        ``float64[n, d]``, not scaled, NULLs filled.
    shopper
        ``int64[n]``, 0 the first: rows of one shopper are resampled together.
    shown
        Rows, one of each shopper, that the segments are judged on.
    """

    matrix: Matrix
    shopper: npt.NDArray[np.int64]
    shown: npt.NDArray[np.bool_]

    @cached_property
    def shoppers(self) -> int:
        """How many there are."""
        return int(self.shopper.max()) + 1


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way to cut, and how it did.

    Attributes
    ----------
    k
        Number of segments.
    silhouette
        Mean over the judged rows; NaN where all are in one segment.
    stability
        Mean adjusted Rand index between these segments and those of resampled shoppers, over the judged rows.
    worst
        The least of them.
    """

    k: int
    silhouette: float
    stability: float
    worst: float
    cut: Cut
    scaling: Scaling

    @property
    def holds(self) -> bool:
        """Whether both gates hold."""
        return self.silhouette >= SILHOUETTE and self.stability >= STABILITY


def candidates(sample: Sample, method: str, ks: Sequence[int], *, resamples: int = RESAMPLES) -> list[Candidate]:
    """Cut a sample in each number of segments, and judge each; DBSCAN finds its own number, so it is asked once."""
    asked = list(ks) if method != "dbscan" else [0]
    return [_candidate(sample, method, k, resamples) for k in asked]


def choose(found: Sequence[Candidate]) -> Candidate:
    """Return the best separated of those whose gates hold and that have enough segments.

    Where there is none, those with fewer segments are considered, and then those whose gates do not hold.
    """
    enough = [each for each in found if each.k >= WANTED]
    for group in ([each for each in enough if each.holds], [each for each in found if each.holds], enough or found):
        if group:
            return max(group, key=lambda each: np.nan_to_num(each.silhouette, nan=-1.0))
    raise ValueError("nothing to choose from")


def labels_of(cut: Cut, scaling: Scaling, matrix: Matrix) -> npt.NDArray[np.int64]:
    """Place rows."""
    width = matrix.shape[1]
    head = scaling.head(cut, ("",) * width, (0.0,) * width, [OTHERS] * (cut.segments + 1))
    return Assigner.of(head).place(matrix).segment


def _candidate(sample: Sample, method: str, k: int, resamples: int) -> Candidate:
    scaling, cut = _fit(sample.matrix, method, k, starts=10, seed=SEED)
    judged = sample.matrix[sample.shown]
    labels = labels_of(cut, scaling, judged)
    random = np.random.default_rng(SEED)
    agreed = []
    for turn in range(resamples):
        times = np.bincount(random.integers(0, sample.shoppers, sample.shoppers), minlength=sample.shoppers)
        rows = np.repeat(np.arange(len(sample.matrix)), times[sample.shopper])
        other_scaling, other = _fit(sample.matrix[rows], method, k, starts=_STARTS, seed=SEED + turn)
        agreed.append(adjusted_rand_score(labels, labels_of(other, other_scaling, judged)))
    scaled = (np.log1p(judged) - scaling.mean) / scaling.scale
    return Candidate(
        cut.segments, _silhouette(scaled, labels), float(np.mean(agreed)), float(np.min(agreed)), cut, scaling
    )


def _fit(matrix: Matrix, method: str, k: int, *, starts: int, seed: int) -> tuple[Scaling, Cut]:
    scaling = Scaling.of(matrix)
    rows = (np.log1p(matrix) - scaling.mean) / scaling.scale
    return scaling, METHODS[method](rows, k, starts=starts, seed=seed)


def _silhouette(rows: Matrix, labels: npt.NDArray[np.int64]) -> float:
    if not 1 < len(np.unique(labels)) < len(labels):
        return float("nan")
    size = _SHOWN if len(rows) > _SHOWN else None
    return float(silhouette_score(rows, labels, sample_size=size, random_state=SEED))
