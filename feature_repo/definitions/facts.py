"""Ordinary facts: the latest row holds until a later one replaces it."""

from datetime import timedelta

from feast import FeatureView, Field
from feast.types import String

from feature_repo.definitions.entities import item, user
from feature_repo.definitions.sources import items, users


def _texts(**labels: tuple[str, str]) -> list[Field]:
    return [
        Field(name=name, dtype=String, description=english, tags={"zh": chinese})
        for name, (english, chinese) in labels.items()
    ]


user_demographics = FeatureView(
    name="user_demographics",
    entities=[user],
    source=users,
    ttl=timedelta(0),
    schema=_texts(
        age_band=("Age band.", "年龄段"),
        income=("Income band.", "收入段"),
        home_ownership=("Owner or renter.", "住房情况"),
        marital_status=("Marital status.", "婚姻状况"),
        household_size=("Persons in the household.", "家庭人数"),
        household_comp=("Composition of the household.", "家庭构成"),
        kids_count=("Children.", "子女数"),
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
    schema=_texts(
        category=("Category.", "品类"),
        department=("Department.", "部门"),
        manufacturer_id=("Manufacturer.", "厂商"),
        brand=("National or private brand.", "品牌"),
        package_size=("Package as printed.", "包装规格"),
    ),
    description="What an item is.",
    tags={"zh": "商品目录"},
    owner="merchandising",
)
