"""Which features answer which question. A model version names the service it was trained with; a new set is a new v."""

from feast import FeatureService

from feature_repo.definitions.affinity import user_category_carts, user_category_views
from feature_repo.definitions.browsing import (
    user_carts,
    user_carts_live,
    user_clicks,
    user_clicks_live,
    user_searches,
    user_searches_live,
    user_views,
    user_views_live,
)
from feature_repo.definitions.context import shop_calendar
from feature_repo.definitions.derived import user_intent, user_price_sensitivity, user_trends
from feature_repo.definitions.engagement import user_campaigns, user_feedback, user_item_feedback, user_redemptions
from feature_repo.definitions.facts import item_catalogue, user_demographics
from feature_repo.definitions.popularity import item_carts_live, item_purchases_live, item_views_live
from feature_repo.definitions.purchases import (
    category_purchases,
    item_purchases,
    user_category_purchases,
    user_item_purchases,
    user_payments,
    user_purchases,
)
from feature_repo.definitions.segments import user_segments

# The instant of reading is there for the calendar; a portrait says it once, as its freshness.
LIVE = [
    user_views_live[[feature.name for feature in user_views_live.aggregations if feature.name != "read_at"]],
    user_searches_live,
    user_clicks_live,
    user_carts_live,
    user_views,
    user_searches,
    user_clicks,
    user_carts,
]

profile_v1 = FeatureService(
    name="profile_v1",
    features=[
        user_demographics,
        user_payments,
        user_purchases,
        user_campaigns,
        user_redemptions,
        user_feedback,
        user_trends,
        user_price_sensitivity,
        user_segments,
        *LIVE,
    ],
    description="Everything known about one shopper.",
    tags={"zh": "单个顾客的完整画像"},
    owner="growth",
)

redemption_v1 = FeatureService(
    name="redemption_v1",
    features=[
        user_payments[
            [
                "count_28d",
                "count_84d",
                "amount_sum_28d",
                "amount_sum_84d",
                "amount_mean_84d",
                "retail_discount_sum_84d",
                "coupon_discount_count_28d",
                "coupon_discount_count_84d",
                "coupon_discount_count_182d",
                "days_since",
                "coupon_discount_days_since",
            ]
        ],
        user_purchases[
            [
                "coupon_discount_count_28d",
                "coupon_discount_count_84d",
                "coupon_discount_count_182d",
                "coupon_discount_sum_84d",
                "coupon_discount_sum_182d",
                "coupon_match_discount_sum_84d",
                "coupon_match_discount_sum_182d",
            ]
        ],
        user_redemptions[["count_84d", "count_182d", "count_364d", "days_since"]],
        user_campaigns[["count_84d", "count_182d"]],
        user_trends[["visits_trend_28d_84d"]],
        user_price_sensitivity,
    ],
    description="Will this shopper redeem a coupon of a campaign?",
    tags={"zh": "顾客是否会核销某营销活动的优惠券"},
    owner="marketing",
)

OF_NO_USE_IN_WEEKS = ("last_event_at", "count_2d")
VISITS = user_payments[[each.name for each in user_payments.aggregations if each.name not in OF_NO_USE_IN_WEEKS]]

churn_v1 = FeatureService(
    name="churn_v1",
    features=[VISITS, user_purchases, user_campaigns, user_redemptions, user_trends, user_price_sensitivity],
    description="Will this shopper stay away?",
    tags={"zh": "顾客是否会流失"},
    owner="growth",
)

spend_v1 = FeatureService(
    name="spend_v1",
    features=[VISITS, user_purchases, user_campaigns, user_redemptions, user_trends, user_price_sensitivity],
    description="How much will this shopper spend?",
    tags={"zh": "顾客未来的消费金额"},
    owner="growth",
)

category_v1 = FeatureService(
    name="category_v1",
    features=[
        user_category_purchases,
        category_purchases,
        user_payments[
            [
                "count_14d",
                "count_28d",
                "count_84d",
                "count_182d",
                "count_364d",
                "amount_sum_28d",
                "amount_sum_84d",
                "lines_mean_84d",
                "days_since",
            ]
        ],
        user_purchases[["count_28d", "count_84d", "count_182d"]],
        user_trends,
    ],
    description="Will this shopper buy of this category?",
    tags={"zh": "顾客是否会购买某一品类"},
    owner="growth",
)

items_v1 = FeatureService(
    name="items_v1",
    features=[
        user_item_purchases,
        user_category_purchases[["count_28d", "count_84d", "decayed_count_56d", "days_since"]],
        item_purchases[["count_7d", "count_28d", "count_84d"]],
        user_payments[["count_28d", "count_84d", "days_since"]],
        user_purchases[["count_84d"]],
    ],
    description="Will this shopper buy this item?",
    tags={"zh": "顾客是否会购买某一商品"},
    owner="growth",
)

item_feedback_v1 = FeatureService(
    name="item_feedback_v1",
    features=[user_item_feedback],
    description="What a shopper said of one item that was recommended.",
    tags={"zh": "顾客对某一商品推荐的反馈"},
    owner="growth",
)

purchase_intent_v1 = FeatureService(
    name="purchase_intent_v1",
    features=[
        *[view for view in LIVE if view is not user_views],
        user_views[[each.name for each in user_views.aggregations if each.name != "last_event_at"]],
        user_payments[["count_2d", "count_7d", "count_28d", "amount_sum_84d", "count_84d", "count_182d", "days_since"]],
        user_intent,
        shop_calendar,
    ],
    description="Is this shopper about to buy?",
    tags={"zh": "顾客近期的购买意向"},
    owner="growth",
)

user_category_v1 = FeatureService(
    name="user_category_v1",
    features=[user_category_purchases],
    description="One shopper's interest in one category.",
    tags={"zh": "顾客对某一品类的兴趣"},
    owner="growth",
)

item_v1 = FeatureService(
    name="item_v1",
    features=[item_catalogue, item_purchases],
    description="What an item is and how it sells.",
    tags={"zh": "商品及其销售"},
    owner="merchandising",
)

live_v1 = FeatureService(
    name="live_v1",
    features=[*LIVE, shop_calendar],
    description="What a shopper does now, and what day it is in the shop.",
    tags={"zh": "顾客的实时行为与当地日历"},
    owner="growth",
)

item_live_v1 = FeatureService(
    name="item_live_v1",
    features=[item_views_live, item_carts_live, item_purchases_live],
    description="How much an item is wanted now.",
    tags={"zh": "商品的实时热度"},
    owner="merchandising",
)

user_category_live_v1 = FeatureService(
    name="user_category_live_v1",
    features=[user_category_views, user_category_carts],
    description="One shopper's interest in one category, as it fades.",
    tags={"zh": "顾客对某一品类随时间衰减的兴趣"},
    owner="growth",
)
