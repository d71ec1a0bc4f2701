"""Intervals and p-values against published values, and against scipy's own tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from serving.experiments.inference import (
    UNKNOWN,
    Sample,
    compare_means,
    compare_rates,
    mean_interval,
    sample_ratio,
    wilson,
)


def rate(hits: int, n: int) -> Sample:
    return Sample(n, hits / n)


# Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3; to four places.
@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_an_interval_of_a_rate_is_wilsons(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits / n, n) == pytest.approx((low, high), abs=5e-5)


# Newcombe, Statistics in Medicine 17 (1998) 873, table II, method 10.
@pytest.mark.parametrize(
    ("a", "b", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_an_interval_of_a_difference_is_newcombes(
    a: tuple[int, int], b: tuple[int, int], low: float, high: float
) -> None:
    found = compare_rates(rate(*b), rate(*a))
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert found.difference == pytest.approx(a[0] / a[1] - b[0] / b[1])


def test_rates_are_tested_as_scipy_does() -> None:
    for a, b in (((56, 70), (48, 80)), ((1_000, 10_000), (1_080, 10_000)), ((400_000, 10**6), (401_000, 10**6))):
        table = [[a[0], a[1] - a[0]], [b[0], b[1] - b[0]]]
        expected = stats.chi2_contingency(table, correction=False).pvalue
        assert compare_rates(rate(*a), rate(*b)).p_value == pytest.approx(expected)
    few = ((3, 20), (0, 25))
    exact = stats.fisher_exact([[3, 17], [0, 25]]).pvalue
    assert compare_rates(rate(*few[0]), rate(*few[1])).p_value == pytest.approx(exact)


def test_means_are_compared_as_scipy_does() -> None:
    chance = np.random.default_rng(7)
    for sizes in ((40, 400), (2, 2), (1_000, 900)):
        a, b = (chance.lognormal(0.3 * n, 0.5 + n, size) for n, size in enumerate(sizes))
        found = compare_means(*(Sample(len(x), x.mean(), x.var(ddof=1)) for x in (a, b)))
        expected = stats.ttest_ind(b, a, equal_var=False)
        interval = expected.confidence_interval(0.95)
        assert found.p_value == pytest.approx(expected.pvalue)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
        alone = stats.t.interval(0.95, len(a) - 1, a.mean(), stats.sem(a))
        assert mean_interval(Sample(len(a), a.mean(), a.var(ddof=1))) == pytest.approx(alone)


def test_nobody_and_equal_values_are_no_error() -> None:
    nobody = Sample(0, math.nan)
    assert compare_rates(nobody, rate(1, 2)) is UNKNOWN
    assert compare_means(Sample(1, 5.0), Sample(9, 5.0, 1.0)) is UNKNOWN
    assert all(math.isnan(each) for each in (*wilson(math.nan, 0), *mean_interval(nobody)))
    assert compare_means(Sample(3, 5.0, 0.0), Sample(3, 5.0, 0.0)).p_value == 1.0
    assert compare_means(Sample(3, 5.0, 0.0), Sample(3, 6.0, 0.0)).p_value == 0.0
    assert compare_rates(rate(0, 50), rate(0, 60)).p_value == compare_rates(rate(9, 9), rate(8, 8)).p_value == 1.0


def test_a_split_is_checked_as_scipy_does() -> None:
    counts, shares = [480, 530, 1_040], (0.25, 0.25, 0.5)
    expected = stats.chisquare(counts, np.array(shares) * sum(counts)).pvalue
    assert sample_ratio(counts, shares) == pytest.approx(expected)
    assert math.isnan(sample_ratio([0, 0], (0.5, 0.5)))
