"""Scores are told as what they are, each reason against the largest, and who cannot answer says why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from feature_repo.core.errors import DataError, ModelUnavailableError, StoreUnavailableError
from serving.console.desk import Desk
from serving.console.scores import score_text, score_views, told
from serving.console.words import Words
from serving.reasons.explanation import Explanation, Part, Reason, Trace

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
EN = Words("en")


def reason(contribution: float, count: int = 1) -> Reason:
    part = Part("user_payments__days_since", 1.5, contribution, "Days.", "天")
    trace = Trace("user_payments__count_7d", "user_payments", count, "payment", {}, NOW, NOW, 1)
    return Reason("value", contribution, "Spent more", "消费更多", (), (part,), (trace,))


def explanation(*contributions: float, value: float = 0.25, margin: float = -1.1) -> Explanation:
    reasons = tuple(map(reason, contributions))
    return Explanation("u_1", "churn", "churn@1", value, margin, -1.0, {}, reasons, NOW, True, ("a",), ("b",))


class Client:
    """Answers about tasks as a client does, or raises."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers

    def tasks(self) -> tuple[str, ...]:
        return tuple(self._answers)

    def explain(self, task: str, user: str) -> Explanation:
        if isinstance(self._answers[task], Exception):
            raise self._answers[task]
        found: Explanation = replace(self._answers[task], task=task)
        return found


class Away:
    """MLflow, which answers nobody."""

    def models(self) -> Any:
        raise StoreUnavailableError("MLflow is away.")


def test_a_probability_is_in_per_cent_and_a_number_is_one() -> None:
    assert score_text(explanation()) == "25.0%"
    assert score_text(explanation(value=148.35, margin=148.35)) == "148.35"
    assert score_text(explanation(value=0.5, margin=0.5)) == "0.50"


def test_a_bar_is_as_long_as_its_reason_against_the_largest() -> None:
    found = told(explanation(0.5, -1.0, 0.0), "Will they?", NOW, EN)
    assert [line.share for line in found.reasons] == [0.5, -1.0, 0.0]
    assert [line.adds for line in found.reasons] == ["+0.500", "-1.000", "+0.000"]
    assert found.reasons[0].behind == (
        ("user_payments__days_since", "1.5 days", "+0.500"),
        ("user_payments__count_7d", "1", ""),
    )
    assert (found.question, found.defaults, found.missing) == ("Will they?", ("b",), ("a",))


def test_reasons_are_all_there_the_smaller_ones_folded() -> None:
    found = told(explanation(*range(20, 0, -1)), "", NOW, Words("zh"))
    assert len(found.reasons) == 8
    assert len(found.smaller) == 12
    assert {line.sentence for line in (*found.reasons, *found.smaller)} == {"消费更多"}


def test_who_cannot_answer_comes_last_and_says_why() -> None:
    answers = {
        "broken": ModelUnavailableError("It was trained on others.", hint="train."),
        "pairs": DataError("one list"),
        "churn": explanation(1.0),
        "items": DataError("asked in a part of its own"),
    }
    client: Any = Client(**answers)
    shelf: Any = Away()
    views = score_views(Desk(None, _Clock(), client, shelf), "u_1", EN)  # type: ignore[arg-type]
    assert [view.task for view in views] == ["churn", "broken", "pairs"]
    assert views[0].question == ""
    assert views[1].why_not == "It was trained on others. train."
    assert "portrait explain pairs USER --about" in views[2].why_not


def test_without_mlflow_the_part_says_so() -> None:
    class Gone(Client):
        def tasks(self) -> tuple[str, ...]:
            raise ModelUnavailableError("MLflow does not answer.")

    client: Any = Gone()
    with pytest.raises(ModelUnavailableError):
        score_views(Desk(None, _Clock(), client, None), "u_1", EN)  # type: ignore[arg-type]


class _Clock:
    def now_us(self) -> int:
        return round(NOW.timestamp() * 1e6)
