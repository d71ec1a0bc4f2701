"""A shopper's interest in a category: every event counts, less and less as time goes by."""

from feature_repo.definitions.browsing import CART_CHANGE, PAGE_VIEW
from feature_repo.definitions.entities import category, user
from feature_repo.definitions.sources import carts, views
from feature_repo.definitions.windows import days_since, decayed_count, hour, windowed_view

user_category_views = windowed_view(
    name="user_category_views",
    entities=[user, category],
    source=views,
    hop=hour,
    events=PAGE_VIEW,
    owner="growth",
    description="How much a shopper looks at one category.",
    zh="顾客对某一品类的浏览兴趣",
    features=[*decayed_count(half_life_hours=(6,), half_life_days=(7,)), *days_since(within_days=28)],
)

user_category_carts = windowed_view(
    name="user_category_carts",
    entities=[user, category],
    source=carts,
    hop=hour,
    events=CART_CHANGE,
    owner="growth",
    description="How much a shopper puts things of one category into the cart.",
    zh="顾客对某一品类的加购兴趣",
    features=[*decayed_count(half_life_hours=(6,), half_life_days=(7,)), *days_since(within_days=28)],
)
