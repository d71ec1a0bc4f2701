from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, recall_score

from training.evaluation.decisions import best_f1, decide
from training.evaluation.lift import deciles, precision_at, ranks
from training.evaluation.tallies import Tallies

# A coarse grid: scores tie.
cases = st.lists(st.tuples(st.integers(1, 9).map(lambda k: k / 10), st.integers(0, 1)), min_size=2, max_size=40).filter(
    lambda pairs: any(label for _, label in pairs)
)


def arrays(pairs: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = map(np.array, zip(*pairs, strict=True))
    return scores, labels


def alone(rows: int) -> Tallies:
    return Tallies.of(np.array([f"u{n}" for n in range(rows)], object))


@given(cases)
def test_the_threshold_is_the_highest_of_those_with_the_best_f1(pairs: list[tuple[float, int]]):
    scores, labels = arrays(pairs)
    by_threshold = {t: f1_score(labels, scores >= t) for t in set(scores.tolist())}
    best = max(by_threshold.values())
    wanted = max(t for t, f1 in by_threshold.items() if f1 == pytest.approx(best, abs=1e-12))
    assert best_f1(scores, labels) == wanted


@given(cases)
def test_decisions_are_counted_as_scikit_learn_counts_them(pairs: list[tuple[float, int]]):
    scores, labels = arrays(pairs)
    found = decide(scores, labels, alone(len(scores)), threshold=0.5)
    yes = scores >= 0.5
    counts = found.confusion
    [[rest, false_alarm], [miss, hit]] = confusion_matrix(labels, yes, labels=[0, 1])
    assert (counts.true_positives, counts.false_positives) == (hit, false_alarm)
    assert (counts.false_negatives, counts.true_negatives) == (miss, rest)
    peers = {"accuracy": accuracy_score, "recall": recall_score, "f1": f1_score}
    if yes.any():
        peers["precision"] = precision_score
    for name, peer in peers.items():
        assert found.metrics[name].value == pytest.approx(peer(labels, yes)), name
    assert found.metrics["selection_rate"].value == pytest.approx(yes.mean())


@given(cases)
def test_the_lift_table_is_cut_from_the_rows_in_order(pairs: list[tuple[float, int]]):
    scores, labels = arrays(pairs)
    table = deciles(scores, labels, alone(len(scores)))
    ordered, taken = labels[np.argsort(-scores, kind="stable")], 0
    for decile in table:
        assert decile.positives == ordered[taken : taken + decile.rows].sum()
        taken += decile.rows
        assert decile.gain.value == pytest.approx(ordered[:taken].sum() / labels.sum())
        assert decile.cumulative_lift.value == pytest.approx(ordered[:taken].mean() / labels.mean())
    assert taken == len(scores)
    assert max(decile.rows for decile in table) - min(decile.rows for decile in table) <= 1


def test_precision_among_the_top_counts_the_rows_said():
    scores = np.arange(200)[::-1] / 200
    labels = (np.arange(200) < 5).astype(np.int64)
    found = precision_at(scores, labels, alone(200))
    assert {name: each.value for name, each in found.items()} == {"1pct": 1.0, "5pct": 0.5, "10pct": 0.25}


def test_of_equal_scores_the_earlier_row_comes_first():
    assert ranks(np.array([0.5, 0.5, 0.9, 0.5])).tolist() == [1, 2, 0, 3]
