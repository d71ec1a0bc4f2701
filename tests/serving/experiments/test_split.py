"""Who gets which variant: as often as declared, independent of every other experiment, the same in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare, kstest

from feature_repo.core.errors import DeclarationError
from serving.experiments.experiment import Experiment, Variant, all_experiments, find_experiment
from serving.experiments.split import shares_of, split
from shop_stream import pseudonym

START = datetime(2026, 3, 1, tzinfo=UTC)
USERS = [pseudonym(number) for number in range(20_000)]
HALVES = (Variant("control", "as ever"), Variant("other", "something else"))
PAGE = Experiment(
    name="home_page",
    question="Is the other page better?",
    subject="home_page",
    variants=HALVES,
    start=START,
    end=START + timedelta(days=28),
)


def test_places_are_uniform() -> None:
    for name in ("home_page", "redemption_model", "a"):
        places = np.fromiter(shares_of(name, USERS), float)
        assert kstest(places, "uniform").pvalue > 0.01
        assert chisquare(np.histogram(places, 100, (0, 1))[0]).pvalue > 0.01


@pytest.mark.parametrize("weights", [(1, 1), (9, 1), (1, 2, 3), (0.25, 0.25, 0.25, 0.25)])
def test_variants_get_their_weights(weights: tuple[float, ...]) -> None:
    variants = tuple(Variant(f"v{n}", "", weight=weight) for n, weight in enumerate(weights))
    experiment = replace(PAGE, variants=variants)
    counts = np.bincount(split(experiment, USERS), minlength=len(weights))
    assert chisquare(counts, np.array(weights) / sum(weights) * len(USERS)).pvalue > 0.01


def test_experiments_are_independent_of_each_other() -> None:
    """Of 45 pairs few are called dependent at 5 %, none at one in a thousand."""
    splits = [np.array(split(replace(PAGE, name=f"experiment_{n}"), USERS)) for n in range(10)]
    pairs = [(a, b) for n, a in enumerate(splits) for b in splits[:n]]
    found = [chi2_contingency([[np.sum((a == i) & (b == j)) for j in (0, 1)] for i in (0, 1)]).pvalue for a, b in pairs]
    assert len(found) == 45
    assert sum(p < 0.05 for p in found) <= 7
    assert min(found) > 0.001


def test_every_process_says_the_same_whatever_its_hash_seed() -> None:
    code = "from serving.experiments.split import shares_of; print(*shares_of('home_page', ['u_' + 'a' * 32, '李']))"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    # Written down: another hash would move every shopper of every experiment that runs.
    assert said == {"0.4291748678905506 0.47079228713126986\n"}


def test_a_shopper_stays_when_a_variants_meaning_or_the_time_changes() -> None:
    later = replace(PAGE, end=PAGE.end + timedelta(days=7), variants=(HALVES[0], replace(HALVES[1], meaning="new")))
    assert split(PAGE, USERS[:1000]) == split(later, USERS[:1000])


def test_every_declared_experiment_is_found_by_its_name() -> None:
    assert all(find_experiment(name) is each for name, each in all_experiments().items())
    with pytest.raises(DeclarationError, match=r"no experiment 'redemption_models'(.|\n)*'redemption_model'"):
        find_experiment("redemption_models")
    with pytest.raises(DeclarationError, match="of type int"):
        find_experiment(5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "Home Page"}, "no name"),
        ({"name": "a'b"}, "no name"),
        ({"variants": HALVES[:1]}, "two or more"),
        ({"variants": (HALVES[0], HALVES[0])}, "different names"),
        ({"variants": (HALVES[0], replace(HALVES[1], weight=0.0))}, "weight"),
        ({"variants": (HALVES[0], replace(HALVES[1], weight=float("nan")))}, "weight"),
        ({"variants": (HALVES[0], replace(HALVES[1], model="challenger"))}, "which model"),
        ({"subject": "", "task": "churn"}, "which model"),
        ({"task": "churn"}, "a task and a subject"),
        ({"subject": ""}, "a task and a subject"),
        ({"end": START}, "the end after the start"),
        ({"start": START.replace(tzinfo=None)}, "aware"),
        ({"outcome": "conversions"}, "'conversion'"),
        ({"conversion_days": 0}, "days"),
        ({"retention_days": 6}, "days"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        replace(PAGE, **change)
    assert said in str(caught.value)
