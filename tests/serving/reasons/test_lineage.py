"""What an on-demand feature is computed from is found by asking its function."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

from feature_repo.core.settings import Settings
from feature_repo.engine.feature_store import open_store
from feature_repo.jobs.features import apply
from serving.catalogue import Label
from serving.online_features import ServicePlan
from serving.reasons.families import families
from serving.reasons.lineage import Lineage, inputs_of
from serving.service_views import OnDemandPart

CHURN, INTENT = "churn_v1", "purchase_intent_v1"
OF = {
    "user_trends__visits_trend_28d_84d": {"user_payments__count_28d", "user_payments__count_84d"},
    "user_trends__spend_trend_28d_84d": {"user_payments__amount_sum_28d", "user_payments__amount_sum_84d"},
    "user_price_sensitivity__coupon_visit_share_84d": {
        "user_payments__coupon_discount_count_84d",
        "user_payments__count_84d",
    },
    "user_price_sensitivity__coupon_visit_share_182d": {
        "user_payments__coupon_discount_count_182d",
        "user_payments__count_182d",
    },
    "user_price_sensitivity__coupon_line_share_182d": {
        "user_purchases__coupon_discount_count_182d",
        "user_purchases__count_182d",
    },
    "user_price_sensitivity__coupon_money_share_182d": {
        "user_purchases__coupon_discount_sum_182d",
        "user_purchases__amount_sum_182d",
    },
    "user_price_sensitivity__discount_share_84d": {
        "user_purchases__retail_discount_sum_84d",
        "user_purchases__amount_sum_84d",
    },
    "user_price_sensitivity__redemptions_per_campaign_182d": {
        "user_redemptions__count_182d",
        "user_campaigns__count_182d",
    },
}
OF_INTENT = {
    "user_intent__open_carts_2d": {"user_carts__session_id_count_distinct_2d", "user_payments__count_2d"},
    "user_intent__open_cart_days": {"user_carts__days_since", "user_payments__days_since"},
    "user_intent__days_looked_around_after_cart": {"user_carts__days_since", "user_views__days_since"},
    "shop_calendar__weekday": {"user_views_live__read_at"},
    "shop_calendar__days_to_holiday": {"user_views_live__read_at"},
}


@pytest.fixture
def lineage(home: Settings) -> Lineage:
    apply()
    return Lineage(ServicePlan.of(open_store(), CHURN))


def test_each_shipped_feature_is_computed_from_what_its_text_says(lineage: Lineage) -> None:
    assert {name: set(lineage.behind(name)) for name in OF} == OF
    intent = Lineage(ServicePlan.of(open_store(), INTENT))
    assert {name: set(intent.behind(name)) for name in OF_INTENT} == OF_INTENT
    assert lineage.behind("user_payments__count_28d") == ("user_payments__count_28d",)
    assert lineage.behind("campaign_days") == ()


def test_inputs_of_one_column_are_one_family_with_what_is_computed_from_them(lineage: Lineage) -> None:
    columns = [*lineage.plan.contract, "days"]
    labels = {"user_payments__count_7d": Label("Visits", "", "loyalty")}
    found = families(lineage, columns, {"days": 1.0}, labels)
    assert sorted(name for family in found for name in family.members) == sorted(columns)
    [visits] = [family for family in found if "user_payments__count_7d" in family.members]
    assert "user_trends__visits_trend_28d_84d" in visits.members
    assert (visits.function, visits.dimension) == ("count", "loyalty")
    [share] = [family for family in found if "user_price_sensitivity__coupon_line_share_182d" in family.members]
    assert (len(share.members), share.function, share.dimension) == (1, "", "preference")
    assert set(share.behind) == OF["user_price_sensitivity__coupon_line_share_182d"]
    [asked] = [family for family in found if "days" in family.members]
    assert (asked.dimension, asked.behind) == ("question", ())


def test_a_feature_that_follows_nothing_is_taken_to_follow_everything() -> None:
    kinds = {"v__a": pa.int64(), "v__b": pa.float64(), "v__c": pa.string(), "v__d": pa.bool_()}

    def function(frame: pd.DataFrame) -> pd.DataFrame:
        corner = frame["v__a"].fillna(0).astype("float64") > 30
        return pd.DataFrame({"constant": 7.0, "corner": frame["v__b"].where(corner), "text": frame["v__c"]})

    types = {"o__constant": pa.float64(), "o__corner": pa.float64(), "o__text": pa.string()}
    part = OnDemandPart(kinds, {name: name[3:] for name in types}, types, function)
    assert inputs_of(part) == {"o__constant": tuple(kinds), "o__corner": ("v__a", "v__b"), "o__text": ("v__c",)}
