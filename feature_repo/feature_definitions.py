"""The one door Feast sees: every declaration by name, the table of contents of the repo."""

from feature_repo.definitions.consent import consent_v1, user_consent
from feature_repo.definitions.derived import user_price_sensitivity, user_trends
from feature_repo.definitions.engagement import user_campaigns, user_redemptions
from feature_repo.definitions.entities import category, item, purpose, user
from feature_repo.definitions.facts import item_catalogue, user_demographics
from feature_repo.definitions.purchases import item_purchases, user_category_purchases, user_payments, user_purchases
from feature_repo.definitions.services import item_v1, profile_v1, redemption_v1, user_category_v1
from feature_repo.definitions.sources import (
    campaign_exposures,
    consents,
    coupon_redemptions,
    items,
    payments,
    purchases,
    users,
)

__all__ = [
    "campaign_exposures",
    "category",
    "consent_v1",
    "consents",
    "coupon_redemptions",
    "item",
    "item_catalogue",
    "item_purchases",
    "item_v1",
    "items",
    "payments",
    "profile_v1",
    "purchases",
    "purpose",
    "redemption_v1",
    "user",
    "user_campaigns",
    "user_category_purchases",
    "user_category_v1",
    "user_consent",
    "user_demographics",
    "user_payments",
    "user_price_sensitivity",
    "user_purchases",
    "user_redemptions",
    "user_trends",
    "users",
]
