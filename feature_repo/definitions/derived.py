"""Ratios and trends over windowed features, computed on demand by the same code offline and online.

Feast restores these functions from their source text, so each imports what it needs in its body and calls no helper of
this module. Inputs carry their full names, ``view__feature``. A ratio over nothing is NULL.
"""

import pandas as pd
from feast import Field
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64

from feature_repo.definitions.browsing import user_carts, user_views
from feature_repo.definitions.engagement import user_campaigns, user_redemptions
from feature_repo.definitions.purchases import user_payments, user_purchases

# Feature -> what it is. Feast compares whole fields when it checks an on-demand view, so the texts are its tags.
TRENDS = {
    "visits_trend_28d_84d": "Visits in 28 days against the average 28 of 84 days. 到店频次趋势",
    "spend_trend_28d_84d": "Spend in 28 days against the average 28 of 84 days. 消费金额趋势",
}
SHARES = {
    "coupon_visit_share_84d": "Visits with a coupon, of all in 84 days. 近84天用券到店占比",
    "coupon_visit_share_182d": "Visits with a coupon, of all in 182 days. 近182天用券到店占比",
    "coupon_line_share_182d": "Order lines with a coupon, of all in 182 days. 近182天用券明细占比",
    "coupon_money_share_182d": "Paid by coupon against spend in 182 days. 近182天优惠券抵扣占比",
    "discount_share_84d": "Loyalty discounts against spend in 84 days. 近84天折扣占比",
    "redemptions_per_campaign_182d": "Coupons redeemed per campaign in 182 days. 近182天每活动核销数",
}
INTENT = {
    "open_carts_2d": "Visits of 2 days that changed the cart, less payments of 2 days. 近2天未结算的加购访问数",
    "open_cart_days": "Days since the cart changed, if within 2 days and not paid since. 未结算购物车的天数",
    "days_looked_around_after_cart": "Days from the last cart change to the last page view. 末次加购后继续浏览的天数",
}


@on_demand_feature_view(
    sources=[user_payments[["count_28d", "count_84d", "amount_sum_28d", "amount_sum_84d"]]],
    schema=[Field(name=name, dtype=Float64) for name in TRENDS],
    mode="pandas",
    description="Where a shopper is heading: 1 is steady, below 1 is falling.",
    tags={"zh": "近28天相对近84天的趋势", **TRENDS},
    owner="growth",
)
def user_trends(inputs: pd.DataFrame) -> pd.DataFrame:
    """Visits and spend of 28 days, times 3, over those of 84."""
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    result = {}
    for name, column in (("visits_trend_28d_84d", "count"), ("spend_trend_28d_84d", "amount_sum")):
        recent = inputs[f"user_payments__{column}_28d"].to_numpy("float64", na_value=np.nan)
        usual = inputs[f"user_payments__{column}_84d"].to_numpy("float64", na_value=np.nan)
        with np.errstate(invalid="ignore"):
            result[name] = 3.0 * recent / np.where(usual != 0, usual, np.nan)
    return pd.DataFrame(result, index=inputs.index)


@on_demand_feature_view(
    sources=[
        user_payments[["count_84d", "count_182d", "coupon_discount_count_84d", "coupon_discount_count_182d"]],
        user_purchases[
            [
                "count_182d",
                "amount_sum_84d",
                "amount_sum_182d",
                "retail_discount_sum_84d",
                "coupon_discount_count_182d",
                "coupon_discount_sum_182d",
            ]
        ],
        user_campaigns[["count_182d"]],
        user_redemptions[["count_182d"]],
    ],
    schema=[Field(name=name, dtype=Float64) for name in SHARES],
    mode="pandas",
    description="How much a shopper's buying leans on coupons and discounts.",
    tags={"zh": "顾客的价格与优惠敏感度", **SHARES},
    owner="marketing",
)
def user_price_sensitivity(inputs: pd.DataFrame) -> pd.DataFrame:
    """Shares of visits, lines and money."""
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    shares = {
        "coupon_visit_share_84d": ("user_payments__coupon_discount_count_84d", "user_payments__count_84d"),
        "coupon_visit_share_182d": ("user_payments__coupon_discount_count_182d", "user_payments__count_182d"),
        "coupon_line_share_182d": ("user_purchases__coupon_discount_count_182d", "user_purchases__count_182d"),
        "coupon_money_share_182d": ("user_purchases__coupon_discount_sum_182d", "user_purchases__amount_sum_182d"),
        "discount_share_84d": ("user_purchases__retail_discount_sum_84d", "user_purchases__amount_sum_84d"),
        "redemptions_per_campaign_182d": ("user_redemptions__count_182d", "user_campaigns__count_182d"),
    }
    result = {}
    for name, (part, whole) in shares.items():
        below = inputs[whole].to_numpy("float64", na_value=np.nan)
        above = inputs[part].to_numpy("float64", na_value=np.nan)
        with np.errstate(invalid="ignore"):
            result[name] = above / np.where(below != 0, below, np.nan)
    return pd.DataFrame(result, index=inputs.index)


@on_demand_feature_view(
    sources=[
        user_payments[["count_2d", "days_since"]],
        user_carts[["session_id_count_distinct_2d", "days_since"]],
        user_views[["days_since"]],
    ],
    schema=[Field(name=name, dtype=Float64) for name in INTENT],
    mode="pandas",
    description="What a shopper has put into the cart and not paid, and whether they came back.",
    tags={"zh": "顾客未结算的购物车", **INTENT},
    owner="growth",
)
def user_intent(inputs: pd.DataFrame) -> pd.DataFrame:
    """Carts that were left; a payment at the instant of the last change of the cart pays it."""
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    columns = (
        "user_carts__days_since",
        "user_payments__days_since",
        "user_views__days_since",
        "user_carts__session_id_count_distinct_2d",
        "user_payments__count_2d",
    )
    still_open = 2.0  # days
    changed, paid, seen, filled, payments = (inputs[name].to_numpy("float64", na_value=np.nan) for name in columns)
    result = {
        "open_carts_2d": filled - payments,
        "open_cart_days": np.where((changed < still_open) & ~(paid <= changed), changed, np.nan),
        "days_looked_around_after_cart": changed - seen,
    }
    return pd.DataFrame(result, index=inputs.index)
