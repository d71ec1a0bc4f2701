"""What an expression says of rows: NULL, freshness, strength, and numbers on a threshold."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from feature_repo.core.clock import DAY
from feature_repo.definitions.tag_kinds import Bands, ModelTag, RuleTag
from serving.tags.evaluator import STRENGTH, Evaluator
from serving.tags.inputs import NEVER, Inputs, rounded

NOW = 20_000 * DAY
SAID: dict[str, Any] = {
    "english": "A",
    "chinese": "甲",
    "description": "A.",
    "owner": "growth",
    "version": 1,
    "dimension": "value",
}


class Rows:
    """A reading of two columns."""

    def __init__(self, **columns: pa.Array) -> None:
        self.columns = columns
        self.plan = self
        self.types = {name: column.type for name, column in columns.items()}


def inputs(ranks: list[float | None], counts: list[int], ages: list[int], **scores: list[float]) -> Inputs:
    reading = Rows(user_habits__spend_rank=pa.array(ranks, pa.float64()), user_payments__count_84d=pa.array(counts))
    stamps = np.array([NEVER if age < 0 else NOW - age for age in ages], np.int64)
    asked = {task: np.array(values) for task, values in scores.items()}
    names = [f"u{n}" for n in range(len(counts))]
    return Inputs(names, np.ones(len(counts), bool), reading, {"user_habits": stamps}, asked, {}, NOW)  # type: ignore[arg-type]


def rank(name: str, days: int | None, **said: Any) -> RuleTag:
    fresh = None if days is None else timedelta(days=days)
    sql = "CASE WHEN user_payments__count_84d = 0 THEN 'gone' WHEN user_habits__spend_rank >= 0.5 THEN 'high' END"
    return RuleTag(**{**SAID, "name": name, "fresh": fresh, "sql": sql, **said})


def test_a_row_that_is_too_old_is_as_none_for_those_that_ask_for_fresher() -> None:
    tags = [rank("week", 7), rank("ever", None), rank("month", 30)]
    ages = [7 * DAY, 7 * DAY + 1, 30 * DAY, 31 * DAY, -1]
    found = Evaluator(tags).evaluate(inputs([0.9, 0.9, 0.9, 0.9, None], [1] * 5, ages))
    assert found["week"].to_pylist() == ["high", None, None, None, None]
    assert found["month"].to_pylist() == ["high", "high", "high", None, None]
    assert found["ever"].to_pylist() == ["high", "high", "high", "high", None]


def test_what_windows_say_is_never_old() -> None:
    found = Evaluator([rank("week", 7)]).evaluate(inputs([0.9, None], [0, 0], [99 * DAY, -1]))
    assert found["week"].to_pylist() == ["gone", "gone"]


def test_retired_tags_are_not_computed() -> None:
    evaluator = Evaluator([rank("live", None), rank("past", None, lifecycle="retired")])
    assert evaluator.evaluate(inputs([0.9], [1], [0])).column_names == ["live", f"{STRENGTH}live"]


def test_a_score_is_a_word_of_those_the_model_is_asked_about() -> None:
    bands = Bands(("high", 0.4), ("medium", 0.2), ("low", 0.0), most=1.0)
    tag = ModelTag(**SAID, name="risk", fresh=None, asked="churn", bands=bands, only="user_payments__count_84d > 0")
    scores = [0.4, 0.4 - 1e-12, 0.39, 0.3, 0.2, 0.1, 0.0, 1.0, 0.9]
    counts = [1] * 8 + [0]
    found = Evaluator([tag]).evaluate(inputs([None] * 9, counts, [-1] * 9, churn=scores))
    words = ["high", "high", "medium", "medium", "medium", "low", "low", "high", None]
    assert found["risk"].to_pylist() == words
    strengths = found[f"{STRENGTH}risk"].to_pylist()
    assert strengths[:8] == pytest.approx([0, 0, 0.1, 1.0, 0, 0.5, 1.0, 1.0], abs=1e-9)
    assert strengths[8] is None


def test_without_a_score_a_model_tag_is_not_known() -> None:
    bands = Bands(("high", 0.4), ("low", 0.0), most=1.0)
    tag = ModelTag(**SAID, name="risk", fresh=None, asked="churn", bands=bands, only="true")
    for scores in ({}, {"churn": [np.nan]}):
        found = Evaluator([tag]).evaluate(inputs([None], [1], [-1], **scores))
        assert found["risk"].to_pylist() == [None]


@pytest.mark.parametrize("said", [-3.0, 0.25, 7.0, None])
def test_strength_is_within_0_and_1_and_null_stays_null(said: float | None) -> None:
    tag = rank("often", None, strength_sql="user_habits__spend_rank", sql="user_payments__count_84d > 0")
    found = Evaluator([tag]).evaluate(inputs([said], [1], [0]))
    assert found[f"{STRENGTH}often"].to_pylist() == [None if said is None else min(1.0, max(0.0, said))]


def test_one_statement_answers_table_after_table_in_the_order_of_rows() -> None:
    evaluator = Evaluator([rank("often", None)])
    for counts in ([0], [0, 1, 0], [], list(range(5000))):
        found = evaluator.evaluate(inputs([0.9] * len(counts), counts, [0] * len(counts)))
        assert found["often"].to_pylist() == ["high" if count else "gone" for count in counts]


def test_numbers_are_rounded_to_what_both_sources_agree_on() -> None:
    values = np.array([0.1 + 0.2, 0.3, 1e-300, -1e300, np.inf, np.nan, 0.0, 99999999.4])
    found = rounded(values)
    assert found[0] == found[1] == 0.3
    assert found[3:5].tolist() == [-1e300, np.inf]
    assert np.isnan(found[5])
    assert found[6:].tolist() == [0.0, 99999999.0]
