"""What is wanted right now: how often an item is looked at, put into carts and bought within the hour and the day."""

from feature_repo.definitions.browsing import CART_CHANGE, PAGE_VIEW
from feature_repo.definitions.entities import item
from feature_repo.definitions.purchases import SALE
from feature_repo.definitions.sources import carts, purchases, views
from feature_repo.definitions.windows import count, five_minutes, windowed_view

item_views_live = windowed_view(
    name="item_views_live",
    entities=[item],
    source=views,
    hop=five_minutes,
    events=PAGE_VIEW,
    owner="merchandising",
    description="How often an item's page is opened.",
    zh="商品的浏览热度",
    features=count(hours=(1, 24)),
)

item_carts_live = windowed_view(
    name="item_carts_live",
    entities=[item],
    source=carts,
    hop=five_minutes,
    events=CART_CHANGE,
    owner="merchandising",
    description="How often an item is put into carts, or taken out.",
    zh="商品的加购热度",
    features=count(hours=(1, 24)),
)

item_purchases_live = windowed_view(
    name="item_purchases_live",
    entities=[item],
    source=purchases,
    hop=five_minutes,
    events=SALE,
    owner="merchandising",
    description="How often an item sells.",
    zh="商品的销售热度",
    features=count(hours=(1, 24)),
)
