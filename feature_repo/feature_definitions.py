"""The one door Feast sees: every declaration by name, the table of contents of the repo."""

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
from feature_repo.definitions.consent import consent_v1, user_consent
from feature_repo.definitions.context import shop_calendar
from feature_repo.definitions.derived import user_price_sensitivity, user_trends
from feature_repo.definitions.engagement import user_campaigns, user_redemptions
from feature_repo.definitions.entities import category, item, purpose, user
from feature_repo.definitions.facts import item_catalogue, user_demographics
from feature_repo.definitions.popularity import item_carts_live, item_purchases_live, item_views_live
from feature_repo.definitions.purchases import (
    category_purchases,
    item_purchases,
    user_category_purchases,
    user_payments,
    user_purchases,
)
from feature_repo.definitions.services import (
    category_v1,
    churn_v1,
    item_live_v1,
    item_v1,
    live_v1,
    profile_v1,
    purchase_intent_v1,
    redemption_v1,
    spend_v1,
    user_category_live_v1,
    user_category_v1,
)
from feature_repo.definitions.sources import (
    campaign_exposures,
    carts,
    clicks,
    consents,
    coupon_redemptions,
    items,
    payments,
    purchases,
    searches,
    users,
    views,
)

__all__ = [
    "campaign_exposures",
    "carts",
    "category",
    "category_purchases",
    "category_v1",
    "churn_v1",
    "clicks",
    "consent_v1",
    "consents",
    "coupon_redemptions",
    "item",
    "item_carts_live",
    "item_catalogue",
    "item_live_v1",
    "item_purchases",
    "item_purchases_live",
    "item_v1",
    "item_views_live",
    "items",
    "live_v1",
    "payments",
    "profile_v1",
    "purchase_intent_v1",
    "purchases",
    "purpose",
    "redemption_v1",
    "searches",
    "shop_calendar",
    "spend_v1",
    "user",
    "user_campaigns",
    "user_carts",
    "user_carts_live",
    "user_category_carts",
    "user_category_live_v1",
    "user_category_purchases",
    "user_category_v1",
    "user_category_views",
    "user_clicks",
    "user_clicks_live",
    "user_consent",
    "user_demographics",
    "user_payments",
    "user_price_sensitivity",
    "user_purchases",
    "user_redemptions",
    "user_searches",
    "user_searches_live",
    "user_trends",
    "user_views",
    "user_views_live",
    "users",
    "views",
]
