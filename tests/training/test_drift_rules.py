"""What is an alarm: arithmetic, without a log."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.monitor.bins import Bins, noise, psi
from training.monitor.cli import _line
from training.monitor.drift import Finding, Verdict, judge, judge_answers
from training.monitor.panels import Panel
from training.monitor.references import Answers
from training.monitor.signals import MOST_LAG, Seen, Signal, _largest, signals_of
from training.monitor.thresholds import USUAL

COUNTS = st.lists(st.integers(0, 500), min_size=3, max_size=8)
EVEN = (100,) * 10


def signal(**changes) -> Signal:
    facts = {
        "name": "x",
        "kind": "feature",
        "bins": Bins(edges=tuple(float(n) for n in range(8))),
        "counts": EVEN,
        "shoppers": 1_000,
        "quiet": (0.01,) * MOST_LAG,
        "quiet_null": (0.01,) * MOST_LAG,
        "comparisons": 100,
    }
    return Signal(**{**facts, **changes})


def judged(now, *, lag: int = 1, shoppers: int | None = None, **changes) -> Finding:
    found = np.asarray(now, np.int64)
    return judge(signal(**changes), Seen(found, shoppers or int(found.sum())), lag, USUAL)


@given(COUNTS)
def test_nothing_differs_from_itself(counts: list[int]):
    found = np.asarray(counts)
    assert np.isnan(psi(found, found)) if not sum(counts) else psi(found, found) == pytest.approx(0)


@given(COUNTS, st.randoms(use_true_random=False))
def test_the_index_is_symmetric_and_never_negative(counts: list[int], random):
    other = random.sample(counts, len(counts))
    if sum(counts):
        one, two = psi(np.asarray(counts), np.asarray(other)), psi(np.asarray(other), np.asarray(counts))
        assert one == pytest.approx(two)
        assert one >= 0


def test_sampling_alone_rarely_passes_the_bound_of_noise():
    generator = np.random.default_rng(7)
    shares = np.full(10, 0.1)
    draws = [psi(generator.multinomial(8_000, shares), generator.multinomial(60, shares)) for _ in range(2_000)]
    assert np.mean(np.asarray(draws) > noise(10, 60, 8_000, level=0.99)) < 0.02
    assert np.mean(np.asarray(draws) > 0.25) > 0.05  # the usual rule would have alarmed


def test_a_small_week_that_looks_different_by_chance_does_not_alarm():
    few = [1, 9, 2, 7, 3, 8, 1, 6, 2, 1]
    assert judged(few).psi > USUAL.alarm
    never = (0.0,) * MOST_LAG
    assert judged(few, quiet=never).verdict is Verdict.QUIET
    assert judged([30 * n for n in few], quiet=never).verdict is Verdict.ALARM


def test_rows_of_few_shoppers_are_trusted_less_than_their_number_says():
    counts = [150, 60, 150, 60, 150, 60, 150, 60, 150, 60]
    steady = {"quiet": (0.03,) * MOST_LAG}
    assert judged(counts, **steady).verdict is Verdict.WATCH
    assert judged(counts, shoppers=100, **steady).verdict is Verdict.QUIET


def test_what_quiet_weeks_show_at_the_same_distance_is_no_alarm():
    counts = [400, 100, 100, 100, 50, 50, 50, 50, 50, 50]
    grows = {"quiet": (0.01, 0.01, 0.01, 0.4, 0.4, 0.4, 0.4, 0.4)}
    assert judged(counts).verdict is Verdict.ALARM
    assert judged(counts, lag=3, **grows).verdict is Verdict.ALARM
    assert judged(counts, lag=4, **grows).verdict is Verdict.QUIET


def test_a_column_that_becomes_null_alarms_by_its_share():
    counts = (*[1000] * 9, 0)
    half = judged([90] * 9 + [190], counts=counts)
    assert half.verdict is Verdict.ALARM
    assert (half.null_then, round(half.null_now, 2)) == (0.0, 0.19)
    swinging = judged([100] * 9 + [130], counts=counts, quiet_null=(0.2,) * MOST_LAG, quiet=(9.0,) * MOST_LAG)
    assert swinging.verdict is Verdict.QUIET


def test_more_null_alarms_where_the_index_hardly_moves():
    found = judged([39] * 9 + [650], counts=(*[500] * 9, 4_500))
    assert found.psi < USUAL.watch
    assert found.verdict is Verdict.ALARM


def test_a_week_farther_away_is_allowed_what_a_nearer_one_was():
    assert _largest([(1, 0.5), (1, 0.2), (3, 0.1)]) == (0.5,) * MOST_LAG


def test_what_the_reference_hardly_knows_or_nobody_did_has_no_verdict():
    assert judged([1000] + [0] * 9, comparisons=USUAL.least_weeks - 1).verdict is Verdict.UNKNOWN
    assert judged([0] * 10).verdict is Verdict.UNKNOWN


def test_a_reader_is_told_no_figure_where_nobody_was_asked():
    assert _line(judged([0] * 10))[3:5] == ("-", "-")
    assert _line(judged(EVEN))[3] == "0.000"


ANSWERS = Answers(until=0, rows=10_000, mean=0.1, deviation=0.3, spread=0.02)


@pytest.mark.parametrize(
    ("rate", "rows", "verdict"),
    [
        (0.11, 5_000, Verdict.QUIET),
        (0.124, 5_000, Verdict.QUIET),
        (0.14, 5_000, Verdict.ALARM),
        (0.06, 5_000, Verdict.ALARM),
        (0.14, 200, Verdict.QUIET),
        (0.9, USUAL.least_answers - 1, Verdict.UNKNOWN),
    ],
)
def test_answers_alarm_beyond_their_weekly_spread_and_chance(rate: float, rows: int, verdict: Verdict):
    labels = np.zeros(rows)
    labels[: round(rate * rows)] = 1
    assert judge_answers(ANSWERS, labels, USUAL).verdict is verdict


def weeks(values: dict[int, list]) -> Panel:
    rows = [(week, f"s{n}", value) for week, found in values.items() for n, value in enumerate(found)]
    return Panel("event", pd.DataFrame(rows, columns=["week", "shopper", "x"]))


def test_a_signal_learns_the_largest_move_between_weeks_by_distance():
    steps = {week: [float(week >= 10)] * 20 + [float(week < 10)] * 20 for week in range(20)}
    steps[2] = [1.0] * 40
    [found] = list(signals_of(weeks(steps)))
    assert found.quiet == tuple(sorted(found.quiet))
    assert found.quiet[0] > 1
    assert found.shoppers == 40
    assert sum(found.counts) == 8 * 40


def test_texts_are_counted_by_value_and_rare_ones_are_not_kept():
    frame = pd.Series(["milk"] * 30 + ["bread"] * 25 + ["a letter to Ms. Li"] * 3 + [None])
    bins = Bins.of(frame)
    assert bins.texts == ("milk", "bread")
    assert bins.count(frame).tolist() == [30, 25, 3, 1]


def test_a_stricter_rule_is_data():
    strict = replace(USUAL, alarm=0.05, watch=0.01)
    counts = np.asarray([150, 70, 150, 70, 150, 70, 150, 70, 150, 70])
    assert judge(signal(quiet=(0.0,) * MOST_LAG), Seen(counts, 1_100), 1, strict).verdict is Verdict.ALARM
    assert judge(signal(quiet=(0.0,) * MOST_LAG), Seen(counts, 1_100), 1, USUAL).verdict is not Verdict.ALARM
