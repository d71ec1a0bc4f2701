from __future__ import annotations

from datetime import timedelta

import pytest
from feast import Aggregation, Field, StreamFeatureView
from feast.types import Float64, Int64, String

from feature_repo import feature_definitions
from feature_repo.core.errors import DeclarationError
from feature_repo.definitions.entities import user
from feature_repo.definitions.sources import purchases
from feature_repo.definitions.texts import Noun
from feature_repo.definitions.windows import count, day, definition_tag, hour, mean, total, windowed, windowed_view
from feature_repo.engine.spec import is_windowed, windowed_view_of


def declare(*features: Aggregation, hop: timedelta = hour, name: str = "tried") -> StreamFeatureView:
    return windowed_view(
        name=name,
        entities=[user],
        source=purchases,
        hop=hop,
        events=Noun("purchase", "purchases", "购买"),
        features=list(features),
        description="Tried.",
        zh="试",
        owner="tests",
    )


def test_names_and_types_follow_from_column_function_and_window() -> None:
    view = declare(*count(days=(7,)), *total("quantity", days=(28,)), *mean("quantity", hours=(36,)))
    assert {field.name: field.dtype for field in view.schema} == {
        "count_7d": Int64,
        "quantity_sum_28d": Int64,
        "quantity_mean_36h": Float64,
        "user_id": String,
    }


def test_features_over_one_column_share_state() -> None:
    view = windowed_view_of(
        declare(*total("amount", days=(7, 28)), *mean("amount", days=(7,)), *count("amount", days=(7,)))
    )
    assert [monoid.key for monoid in view.monoids] == ["present.i8(amount)", "sum.f8(amount)"]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (lambda: declare(*total("amuont", days=(7,))), "reads column 'amuont', which event 'purchase' lacks.*'amount'"),
        (lambda: declare(*windowed("median", "amount", [day])), "no aggregation 'median'.*'mean'"),
        (lambda: declare(*count(hours=(7,)), hop=timedelta(hours=2)), "7:00:00 of 'count_7h' is not a multiple"),
        (lambda: declare(*count(days=(7,)), hop=timedelta(hours=5)), "neither divides a day nor is whole days"),
        (lambda: declare(*total("category", days=(7,))), "aggregates 'category'.*holds string"),
        (lambda: declare(*windowed("sum", "", [day])), "aggregates no column of event 'purchase'"),
        (lambda: declare(*count(days=(7,)), *count(days=(7,))), "twice"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused_with_what_to_do(declared: object, message: str) -> None:
    with pytest.raises(DeclarationError, match=f"(?s){message}") as caught:
        declared()  # type: ignore[operator]
    assert caught.value.hint


def test_an_output_missing_from_the_schema_is_refused() -> None:
    view = declare(*count(days=(7,)))
    view.aggregations.append(Aggregation(function="count", time_window=timedelta(days=28), name="count_28d"))
    with pytest.raises(DeclarationError, match="aggregates into 'count_28d', which its schema lacks"):
        windowed_view_of(view)


def test_a_ttl_shorter_than_the_longest_window_is_refused() -> None:
    view = declare(*count(days=(7,)))
    view.ttl = timedelta(days=6)
    with pytest.raises(DeclarationError, match=r"ttl 6 days.* is shorter than its longest window 7 days"):
        windowed_view_of(view)


def test_a_field_nothing_aggregates_into_is_refused() -> None:
    view = declare(*count(days=(7,)))
    view.schema.append(Field(name="idle", dtype=Int64))
    view.features.append(Field(name="idle", dtype=Int64))
    with pytest.raises(DeclarationError, match="declares idle in its schema"):
        windowed_view_of(view)


def test_other_windows_of_the_same_columns_keep_the_stored_state() -> None:
    short, longer = (windowed_view_of(declare(*total("amount", days=days))) for days in ((7, 20), (14, 28)))
    beyond = windowed_view_of(declare(*total("amount", days=(7, 29))))
    assert short.state_hash == longer.state_hash
    assert short.state_hash != beyond.state_hash


def test_a_changed_window_under_an_unchanged_name_changes_the_views_tag() -> None:
    views = [
        windowed_view_of(declare(*windowed("count", "", [timedelta(days=days)], name="visits"))) for days in (7, 8)
    ]
    assert definition_tag(views[0]) != definition_tag(views[1])


def test_every_declared_view_survives_the_registry_unchanged() -> None:
    declared = [getattr(feature_definitions, name) for name in feature_definitions.__all__]
    windowed_views = [view for view in declared if is_windowed(view)]
    assert windowed_views
    for view in windowed_views:
        assert windowed_view_of(StreamFeatureView.from_proto(view.to_proto())) == windowed_view_of(view)


def test_every_view_speaks_english_and_chinese() -> None:
    for name in feature_definitions.__all__:
        declared = getattr(feature_definitions, name)
        if hasattr(declared, "tags") and not hasattr(declared, "timestamp_field"):
            assert declared.description, name
            assert declared.tags.get("zh"), name


def test_every_windowed_feature_has_a_sentence_in_both_languages() -> None:
    for view in (getattr(feature_definitions, name) for name in feature_definitions.__all__):
        if is_windowed(view):
            for field in view.schema:
                if field.name not in view.join_keys:
                    assert field.description.endswith("."), field
                    assert any("一" <= letter <= "鿿" for letter in field.tags["zh"]), field
