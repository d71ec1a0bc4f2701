"""Which features answer which question. A model version names the service it was trained with; a new set is a new v."""

from feast import FeatureService

from feature_repo.definitions.derived import user_price_sensitivity, user_trends
from feature_repo.definitions.engagement import user_campaigns, user_redemptions
from feature_repo.definitions.facts import item_catalogue, user_demographics
from feature_repo.definitions.purchases import item_purchases, user_category_purchases, user_payments, user_purchases

profile_v1 = FeatureService(
    name="profile_v1",
    features=[
        user_demographics,
        user_payments,
        user_purchases,
        user_campaigns,
        user_redemptions,
        user_trends,
        user_price_sensitivity,
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
