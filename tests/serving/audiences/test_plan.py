"""A budget goes to whose answer is worth most, and no further than it reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from made_snapshots import write_snapshot
from serving.audiences.audiences import Audiences
from serving.audiences.plan import Plan, plan

PEOPLE = {
    "tag__risk": ["high", "high", "high", "high", "low", "high", "high"],
    "score__redemption": [0.9, 0.5, 0.1, None, 1.0, 0.3, 0.6],
    "user_payments__amount_mean_84d": [1.0, 10.0, 90.0, 50.0, 90.0, None, 2.0],
}


def planned(home: Path, **asked: Any) -> Plan:
    write_snapshot(home, PEOPLE)
    given = {"task": "redemption", "value": "4", "cost": 1.0, "budget": 3.0, "spread": 0.3, **asked}
    return plan(Audiences(Settings(home=home)), "risk = 'high'", **given)


def test_the_likeliest_are_addressed_where_answers_are_worth_the_same(tmp_path: Path) -> None:
    found = planned(tmp_path)
    assert (found.candidates, found.addressed, found.least_score, found.cost) == (5, 3, 0.5, 3.0)
    assert found.answers.value == pytest.approx(2.0)
    assert found.value.value == pytest.approx(8.0)
    assert found.by_chance == pytest.approx(3 * 2.4 / 5)
    assert 0 <= found.answers.low <= 2 <= found.answers.high <= 3


def test_who_is_not_worth_the_cost_is_left_out_though_the_budget_would_reach(tmp_path: Path) -> None:
    found = planned(tmp_path, value="1.7", budget=100.0)
    assert (found.addressed, found.least_score) == (2, 0.6)


def test_a_column_says_what_each_answer_is_worth_and_who_has_none_is_no_candidate(tmp_path: Path) -> None:
    found = planned(tmp_path, value="amount_mean_84d", budget=2.0)
    assert (found.candidates, found.addressed, found.least_score) == (4, 2, 0.1)
    assert found.value.value == pytest.approx(0.5 * 10 + 0.1 * 90)


def test_nobody_is_worth_it(tmp_path: Path) -> None:
    found = planned(tmp_path, cost=50.0, budget=500.0)
    assert (found.addressed, found.cost, found.answers.value) == (0, 0.0, 0.0)


@pytest.mark.parametrize("asked", [{"cost": 0.0}, {"budget": -1.0}, {"cost": float("nan")}])
def test_a_cost_and_a_budget_are_more_than_nothing(tmp_path: Path, asked: dict[str, float]) -> None:
    with pytest.raises(DataError, match="more than 0"):
        planned(tmp_path, **asked)


@pytest.mark.parametrize("asked", [{"task": "churn"}, {"value": "risk"}, {"value": "nan"}, {"value": "nothing"}])
def test_what_the_snapshot_cannot_tell_is_named(tmp_path: Path, asked: dict[str, str]) -> None:
    with pytest.raises(DataError, match="has no column of numbers"):
        planned(tmp_path, **asked)
