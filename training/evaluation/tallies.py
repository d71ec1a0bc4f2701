"""Sums by shopper: whatever follows from sums over rows is measured from them, and resampled, at the cost of a product.

Drawing shoppers with replacement multiplies each shopper's sums by how often the shopper was drawn, so the resampled
sums are ``draws @ sums``, whatever the number of rows. Rates, confusion, lift and R2 follow from sums; AUC does from
the numbers of positive and negative rows at each score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from training.evaluation.evaluate import LEVEL, RESAMPLES, SEED, Estimate

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Figures: TypeAlias = dict[str, Floats]
Measure: TypeAlias = Callable[[Floats], Figures]

SCORE_BINS = 200
_BLOCK_CELLS = 4_000_000


@dataclass(frozen=True, eq=False)
class Tallies:
    """The shoppers of some rows.

    Attributes
    ----------
    codes
        Number of each row's shopper, from 0.
    shoppers
        How many there are.
    """

    codes: Ints
    shoppers: int

    @classmethod
    def of(cls, shoppers: npt.NDArray[np.object_]) -> Tallies:
        """Number the shoppers of some rows by their key."""
        codes, known = pd.factorize(shoppers)
        return cls(np.asarray(codes, np.int64), len(known))

    def sums(self, *columns: npt.NDArray[Any]) -> Floats:
        """Sum columns over each shopper's rows: ``float64[shoppers, columns]``.

        >>> Tallies.of(np.array(["a", "b", "a"])).sums(np.array([1, 2, 4])).tolist()
        [[5.0], [2.0]]
        """
        totals = [np.bincount(self.codes, np.asarray(column, np.float64), self.shoppers) for column in columns]
        return np.stack(totals, axis=1)

    def counts(self, cells: Ints, size: int) -> Any:
        """Count each shopper's rows in each of ``size`` cells, as a sparse matrix."""
        ones = np.ones(len(cells))
        return sparse.csr_matrix((ones, (self.codes, cells)), shape=(self.shoppers, size))

    def draws(self) -> Iterator[Floats]:
        """Blocks of ``float64[b, shoppers]``: how often each shopper is drawn, the same at every call."""
        if not self.shoppers:
            return
        random = np.random.default_rng(SEED)
        even = np.full(self.shoppers, 1 / self.shoppers)
        block = max(1, min(RESAMPLES, _BLOCK_CELLS // self.shoppers))
        for start in range(0, RESAMPLES, block):
            yield random.multinomial(self.shoppers, even, min(block, RESAMPLES - start)).astype(np.float64)

    def estimates(self, sums: Any, measure: Measure) -> dict[str, Estimate]:
        """Return figures of the rows with their 95% intervals over shoppers.

        Parameters
        ----------
        sums
            ``[shoppers, c]``, of :meth:`sums` or :meth:`counts`.
        measure
            Sums ``float64[b, c]`` -> figure -> ``float64[b]``, NaN where it cannot be computed.
        """
        values = measure(np.asarray(sums.sum(axis=0), np.float64).reshape(1, -1))
        drawn = [measure(np.asarray(draws @ sums)) for draws in self.draws()]
        return {
            name: interval(float(value[0]), np.concatenate([block[name] for block in drawn]) if drawn else value[:0])
            for name, value in values.items()
        }


def interval(value: float, drawn: Floats) -> Estimate:
    """Return a figure with the percentile interval of its resamples, NaN among them left out."""
    known = drawn[~np.isnan(drawn)]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(known, [tail, 1 - tail]) if known.size else (np.nan, np.nan)
    return Estimate(value, float(low), float(high))


def ratio(part: Floats, whole: Floats) -> Floats:
    """Divide, NaN where there is nothing to divide by.

    >>> ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0])).tolist()
    [0.5, nan]
    """
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0))


def score_cells(scores: Floats, labels: npt.NDArray[Any]) -> tuple[Ints, int]:
    """Cell of each row for :func:`auc_of_counts`, and how many there are: by score, negatives before positives.

    Each distinct score has its own bin if there are few, else bins hold about as many rows each: pairs within a bin
    count half, which moves the AUC in the fourth digit: an interval may rest on it, a value is measured exactly.
    """
    known = np.unique(scores)
    edges = known if len(known) <= SCORE_BINS else np.unique(np.quantile(scores, np.linspace(0, 1, SCORE_BINS)))
    bins = np.searchsorted(edges, scores, side="right") - 1
    return np.asarray(bins + len(edges) * labels, np.int64), 2 * len(edges)


def auc_of_counts(counts: Floats) -> Floats:
    """AUC from the numbers of rows in the cells of :func:`score_cells`.

    >>> cells, size = score_cells(np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1]))
    >>> auc_of_counts(np.bincount(cells, minlength=size).astype(float)[None]).tolist()
    [0.875]
    """
    half = counts.shape[1] // 2
    negative, positive = counts[:, :half], counts[:, half:]
    below = np.cumsum(negative, axis=1) - negative / 2
    return ratio((positive * below).sum(axis=1), positive.sum(axis=1) * negative.sum(axis=1))
