"""Tags are checked when they are declared, and what they read follows from them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from feature_repo.core.errors import DeclarationError
from feature_repo.definitions.tag_features import FEATURE_TYPES, TASKS
from feature_repo.definitions.tag_kinds import Bands, FactTag, ModelTag, RuleTag, Tag, check_distinct
from feature_repo.definitions.tag_sql import expression
from feature_repo.definitions.tags import TAGS, find_tag, tags_v1
from training.task import all_tasks

SAID: dict[str, Any] = {
    "name": "often",
    "english": "Comes often",
    "chinese": "常来",
    "description": "Comes often.",
    "owner": "growth",
    "version": 1,
    "dimension": "behaviour",
    "fresh": None,
}
LEVELS = Bands(("high", 0.5), ("low", 0.0), most=1.0)


def rule(sql: str = "user_payments__count_28d > 4", **said: Any) -> RuleTag:
    return RuleTag(**{**SAID, "sql": sql, **said})


def model(**said: Any) -> ModelTag:
    return ModelTag(**{**SAID, "asked": "churn", "bands": LEVELS, "only": "user_payments__count_84d > 0", **said})


def test_what_a_tag_reads_follows_from_its_expressions() -> None:
    found = rule("CASE WHEN user_payments__days_since < 7 THEN 'now' END", strength_sql="user_habits__visit_rank")
    assert found.columns == ("user_habits__visit_rank", "user_payments__days_since")
    assert model().columns == ("score__churn", "user_payments__count_84d")
    assert model().features == ("user_payments__count_84d",)


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("user_payments__cuont_28d > 4", "did you mean 'user_payments__count_28d'"),
        ("current_date > DATE '2026-01-01'", "'current_date', which is no feature"),
        ("user_payments__count_28d >", "does not parse"),
        ("user_payments__count_28d > 4; DROP TABLE x", "does not parse"),
        ("true) FROM (SELECT 1 AS user_payments__count_28d", "more than an SQL expression"),
        ("true), (false", "more than an SQL expression"),
        ("(SELECT true)", "has a subquery"),
        ("sum(user_payments__count_28d) OVER () > 4", "has a window"),
        ("count(*) > 4", "calls 'count_star'"),
        ("user_payments__count_28d > ?", "has a parameter"),
        ("random() > 0.5", "calls 'random'"),
        ("getenv('HOME') = ''", "calls 'getenv'"),
        ("now() > TIMESTAMP '2026-01-01'", "calls 'now'"),
        ("user_payments.count_28d > 4", "which is no feature"),
        ("user_payments__count_28d > 'often'", "do not fit"),
        ("user_payments__count_28d", "values of type BIGINT"),
    ],
)
def test_an_expression_that_looks_at_more_than_a_shoppers_features_is_refused(sql: str, why: str) -> None:
    with pytest.raises(DeclarationError, match="Tag 'often'") as refused:
        rule(sql)
    assert why in str(refused.value)


def test_a_comment_is_gone_from_what_is_evaluated() -> None:
    assert "--" not in rule("user_payments__count_28d > 4 -- often").value.sql


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"name": "Often"}, "is named 'Often'"),
        ({"dimension": "behavior"}, "did you mean 'behaviour'"),
        ({"lifecycle": "alive"}, "did you mean 'live'"),
        ({"chinese": "often"}, "lacks words"),
        ({"values": {"high": ("High", "")}}, "lacks words"),
        ({"version": 0}, "has version 0"),
        ({"fresh": timedelta(0)}, "above 0"),
        ({"strength_sql": "'much'"}, "strength of type VARCHAR"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(said: dict[str, Any], why: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        rule(**said)
    assert why in str(refused.value)


def test_an_unknown_task_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(DeclarationError, match="did you mean 'churn'"):
        model(asked="chrun")


def test_a_fact_is_a_feature_as_it_is() -> None:
    with pytest.raises(DeclarationError, match="RuleTag"):
        FactTag(**SAID, feature="lower(user_demographics__age_band)")
    with pytest.raises(DeclarationError, match="type BIGINT"):
        FactTag(**SAID, feature="user_payments__count_28d")


def test_two_tags_of_one_name_are_refused() -> None:
    with pytest.raises(DeclarationError, match="Two tags are named 'often'"):
        check_distinct([rule(), rule(version=2)])


def test_an_unknown_tag_is_told_with_the_one_that_was_meant() -> None:
    with pytest.raises(DeclarationError, match="did you mean 'churn_risk'"):
        find_tag("chrun_risk")


@pytest.mark.parametrize("parts", [(("high", 0.5),), (("high", 0.5), ("low", 0.5)), (("high", 1.0), ("low", 0.0))])
def test_thresholds_fall(parts: tuple[tuple[str, float], ...]) -> None:
    with pytest.raises(DeclarationError, match="do not fall"):
        Bands(*parts, most=1.0)


def test_tasks_of_model_tags_are_those_that_are_trained() -> None:
    assert set(TASKS) <= set(all_tasks())


def test_the_service_holds_what_tags_read_and_nothing_else() -> None:
    served = {f"{view.name}__{field.name}" for view in tags_v1.feature_view_projections for field in view.features}
    assert served == {name for tag in TAGS for name in tag.features}
    assert served <= set(FEATURE_TYPES)


@pytest.mark.parametrize("tag", TAGS, ids=lambda tag: tag.name)
def test_every_word_of_a_score_is_named(tag: Tag) -> None:
    if isinstance(tag, ModelTag):
        assert set(tag.bands.words) == set(tag.values)


def test_a_tag_is_what_it_was_declared_as() -> None:
    again = replace(find_tag("churn_risk"), version=2)
    assert (again.version, again.value.sql) == (2, find_tag("churn_risk").value.sql)


def test_an_expression_without_features_is_one() -> None:
    assert expression("NULL::DOUBLE", {}, whose="x").columns == ()
