"""What tags may read: features of one shopper alone, and the tasks that are asked about one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from feast import FeatureService
from feast.types import Bool, Float64, Int64, String, UnixTimestamp

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
from feature_repo.definitions.derived import user_intent, user_price_sensitivity, user_trends
from feature_repo.definitions.engagement import user_campaigns, user_feedback, user_redemptions
from feature_repo.definitions.facts import user_demographics
from feature_repo.definitions.habits import user_habits
from feature_repo.definitions.purchases import user_payments, user_purchases
from feature_repo.definitions.segments import user_segments, user_unusual
from feature_repo.definitions.services import churn_v1, purchase_intent_v1, redemption_v1, spend_v1

VIEWS: tuple[Any, ...] = (
    user_demographics,
    user_payments,
    user_purchases,
    user_campaigns,
    user_redemptions,
    user_feedback,
    user_trends,
    user_price_sensitivity,
    user_intent,
    user_habits,
    user_segments,
    user_unusual,
    user_views_live,
    user_searches_live,
    user_clicks_live,
    user_carts_live,
    user_views,
    user_searches,
    user_clicks,
    user_carts,
)

_SQL_TYPES = {
    String: "VARCHAR",
    Int64: "BIGINT",
    Float64: "DOUBLE",
    Bool: "BOOLEAN",
    UnixTimestamp: "TIMESTAMP WITH TIME ZONE",
}


def _features(view: Any) -> list[Any]:
    keys = getattr(view, "join_keys", [])
    return [field for field in view.features if field.name not in keys]


# Full name of a feature -> DuckDB's type.
FEATURE_TYPES: dict[str, str] = {
    f"{view.name}__{field.name}": _SQL_TYPES[field.dtype] for view in VIEWS for field in _features(view)
}

# A task is asked through a service that bears its name: churn through churn_v1.
TASKS = tuple(service.name.rpartition("_v")[0] for service in (churn_v1, purchase_intent_v1, redemption_v1, spend_v1))


def service_of(name: str, features: Iterable[str], **said: Any) -> FeatureService:
    """Return the feature service of some features by full name, view by view in the order above."""
    wanted = set(features)
    picked = []
    for view in VIEWS:
        names = [each.name for each in _features(view) if f"{view.name}__{each.name}" in wanted]
        if names:
            picked.append(view[names])
    return FeatureService(name=name, features=picked, **said)
