"""Ordinary facts: the latest row holds until a later one replaces it."""

from datetime import timedelta

from feast import FeatureView, Field
from feast.types import String

from feature_repo.definitions.entities import item, user
from feature_repo.definitions.sources import items, users


def _texts(*names: str) -> list[Field]:
    return [Field(name=name, dtype=String) for name in names]


user_demographics = FeatureView(
    name="user_demographics",
    entities=[user],
    source=users,
    ttl=timedelta(0),
    schema=_texts(
        "age_band", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count"
    ),
    description="What a shopper said about the household; known for some only, and undated.",
    tags={"zh": "顾客自述的家庭信息"},
    owner="growth",
)

item_catalogue = FeatureView(
    name="item_catalogue",
    entities=[item],
    source=items,
    ttl=timedelta(0),
    schema=_texts("category", "department", "manufacturer_id", "brand", "package_size"),
    description="What an item is.",
    tags={"zh": "商品目录"},
    owner="merchandising",
)
