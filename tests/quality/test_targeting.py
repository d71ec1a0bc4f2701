"""Intervals of what a list brings hold as often as they say, also where campaigns differ; a budget is spent best."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from feature_repo.quality.targeting import Answered, best, expected, spread_of


def campaigns(spread: float, many: int, seed: int, rows: int = 300) -> list[Answered]:
    """Campaigns whose answers are coins, shifted together by a normal of this deviation."""
    random, found = np.random.default_rng(seed), []
    for _ in range(many):
        scores = random.beta(1, 5, rows)
        truth = expit(logit(np.clip(scores, 1e-6, 1 - 1e-6)) + spread * random.standard_normal())
        found.append(Answered(scores, (random.random(rows) < truth).astype(np.int64)))
    return found


@pytest.mark.slow(20)
@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("rows", [20, 300])
def test_nineteen_of_twenty_campaigns_are_within_their_intervals(spread: float, rows: int) -> None:
    made = campaigns(spread, 2000, seed=1, rows=rows)
    held = np.mean([expected(each.scores, spread).covers(each.labels.sum()) for each in made])
    assert 0.935 <= held <= 0.985  # counts are whole numbers: intervals of few answers hold a little more often


def test_coins_alone_hold_far_too_seldom_where_campaigns_differ() -> None:
    made = campaigns(1.0, 500, seed=2)
    assert np.mean([expected(each.scores, 0.0).covers(each.labels.sum()) for each in made]) < 0.5


@pytest.mark.slow(9)
@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_the_spread_that_was_put_in_is_found(spread: float) -> None:
    assert spread_of(campaigns(spread, 60, seed=3)) == pytest.approx(spread, abs=0.2)


def test_a_worth_of_one_each_is_a_count_without_whole_ends() -> None:
    scores = np.linspace(0.05, 0.9, 40)
    count, worth = expected(scores, 0.4), expected(scores, 0.4, np.ones(40))
    assert worth.value == pytest.approx(count.value)
    assert abs(worth.low - count.low) <= 1
    assert abs(worth.high - count.high) <= 1
    double = expected(scores, 0.4, np.full(40, 2.0))
    assert (double.value, double.low, double.high) == pytest.approx((2 * worth.value, 2 * worth.low, 2 * worth.high))


def test_nobody_answers_an_empty_list_and_certain_ones_all_do() -> None:
    assert expected(np.empty(0), 0.5) == expected(np.empty(0), 0.0)
    assert (expected(np.empty(0), 0.5).low, expected(np.empty(0), 0.5).high) == (0.0, 0.0)
    assert expected(np.ones(10), 0.0).low == 10


@given(
    pairs=st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.sampled_from([0.0, 1.0, 3.0, 9.0])), max_size=6),
    cost=st.sampled_from([0.05, 0.3, 1.0, 2.0]),
    most=st.integers(0, 6),
)
def test_no_other_choice_within_the_budget_is_worth_more(
    pairs: list[tuple[float, float]], cost: float, most: int
) -> None:
    scores, worth = (np.array([pair[n] for pair in pairs], np.float64) for n in (0, 1))
    chosen = best(scores, worth, cost=cost, most=most)
    gain = scores * worth - cost
    every = [
        sum(gain[list(some)]) for n in range(min(most, len(pairs)) + 1) for some in combinations(range(len(pairs)), n)
    ]
    assert gain[chosen].sum() == pytest.approx(max(every))
    assert len(set(chosen.tolist())) == len(chosen) <= most
