"""Effects, intervals and p-values, of one value per shopper. All intervals are of 95 %.

Rates: Wilson's score interval of one, Newcombe's hybrid score interval (his method 10) of a difference, and the pooled
chi-squared test without correction, or Fisher's exact test where it expects fewer than 5 in a cell. Means: Welch's.

E. B. Wilson, JASA 22 (1927); R. G. Newcombe, Statistics in Medicine 17 (1998) 857 and 873; B. L. Welch, Biometrika 34
(1947).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import chdtrc, ndtri, stdtr, stdtrit

LEVEL = 0.95
_Z = float(ndtri(0.5 + LEVEL / 2))
_LEAST_EXPECTED = 5.0
_FEWEST = 2


@dataclass(frozen=True)
class Sample:
    """What is known of one variant's shoppers.

    Attributes
    ----------
    shoppers
        How many.
    mean, variance
        Of their values; a rate's are 0 and 1. The variance is that of a sample; NaN of fewer than two.
    """

    shoppers: int
    mean: float
    variance: float = math.nan


@dataclass(frozen=True)
class Comparison:
    """How one variant differs from the control: ``difference`` with the interval ``low`` to ``high``; NaN: unknown."""

    difference: float
    low: float
    high: float
    p_value: float


UNKNOWN = Comparison(math.nan, math.nan, math.nan, math.nan)


def wilson(rate: float, n: int) -> tuple[float, float]:
    """Interval of a rate.

    >>> [round(each, 4) for each in wilson(0.0, 20)]
    [0.0, 0.1611]
    """
    if not n:
        return math.nan, math.nan
    square = _Z * _Z
    middle = (rate + square / (2 * n)) / (1 + square / n)
    half = _Z / (1 + square / n) * math.sqrt(rate * (1 - rate) / n + square / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(sample: Sample) -> tuple[float, float]:
    """Interval of a mean, by Student's t."""
    if sample.shoppers < _FEWEST:
        return math.nan, math.nan
    half = float(stdtrit(sample.shoppers - 1, 0.5 + LEVEL / 2)) * math.sqrt(sample.variance / sample.shoppers)
    return sample.mean - half, sample.mean + half


def compare_rates(control: Sample, other: Sample) -> Comparison:
    """Difference of two rates, ``other - control``."""
    if not control.shoppers or not other.shoppers:
        return UNKNOWN
    difference = other.mean - control.mean
    (low, high), (low_control, high_control) = (wilson(each.mean, each.shoppers) for each in (other, control))
    below = math.hypot(other.mean - low, high_control - control.mean)
    above = math.hypot(high - other.mean, control.mean - low_control)
    return Comparison(difference, difference - below, difference + above, _rates_alike(control, other))


def compare_means(control: Sample, other: Sample) -> Comparison:
    """Difference of two means, ``other - control``, whose variances may differ."""
    if min(control.shoppers, other.shoppers) < _FEWEST:
        return UNKNOWN
    parts = [each.variance / each.shoppers for each in (control, other)]
    difference, error = other.mean - control.mean, math.sqrt(sum(parts))
    if not error:
        return Comparison(difference, difference, difference, 0.0 if difference else 1.0)
    degrees = sum(parts) ** 2 / sum(
        part**2 / (each.shoppers - 1) for part, each in zip(parts, (control, other), strict=True)
    )
    half = float(stdtrit(degrees, 0.5 + LEVEL / 2)) * error
    p_value = 2 * float(stdtr(degrees, -abs(difference) / error))
    return Comparison(difference, difference - half, difference + half, p_value)


def sample_ratio(counts: Sequence[int], shares: Sequence[float]) -> float:
    """P-value of counts, were shoppers split by these shares: chi-squared; NaN where there are none.

    >>> round(sample_ratio([480, 520], [0.5, 0.5]), 4)
    0.2059
    """
    whole = sum(counts)
    if not whole:
        return math.nan
    found = sum((count - whole * share) ** 2 / (whole * share) for count, share in zip(counts, shares, strict=True))
    return float(chdtrc(len(counts) - 1, found))


def _rates_alike(control: Sample, other: Sample) -> float:
    hits = [round(each.mean * each.shoppers) for each in (control, other)]
    misses = [each.shoppers - hit for each, hit in zip((control, other), hits, strict=True)]
    whole = control.shoppers + other.shoppers
    if not sum(hits) or not sum(misses):
        return 1.0
    fewest = min(sum(hits), sum(misses)) * min(control.shoppers, other.shoppers) / whole
    if fewest < _LEAST_EXPECTED:
        from scipy.stats import fisher_exact  # noqa: PLC0415 - a second to import, seldom needed

        return float(fisher_exact([hits, misses]).pvalue)
    margins = control.shoppers * other.shoppers * sum(hits) * sum(misses)
    return float(chdtrc(1, whole * (hits[0] * misses[1] - hits[1] * misses[0]) ** 2 / margins))
