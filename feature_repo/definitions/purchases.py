"""What shoppers buy, pay and save: lines of orders, and whole orders."""

from feature_repo.definitions.entities import category, item, user
from feature_repo.definitions.sources import payments, purchases
from feature_repo.definitions.texts import Noun
from feature_repo.definitions.windows import (
    count,
    count_distinct,
    day,
    days_since,
    decayed_count,
    hour,
    largest,
    last_event_at,
    mean,
    total,
    windowed_view,
)

VISIT = Noun("visit", "visits", "到店")
LINE = Noun("order line", "order lines", "购买")
SALE = Noun("sale", "sales", "销售")

user_payments = windowed_view(
    name="user_payments",
    entities=[user],
    source=payments,
    hop=hour,
    events=VISIT,
    owner="growth",
    description="How often a shopper comes, and what each visit is worth.",
    zh="顾客的到店频次与客单价",
    features=[
        *count(days=(7, 14, 28, 56, 84, 182, 364)),
        *count(days=(2,)),
        *total("amount", days=(7, 14, 28, 56, 84, 182, 364)),
        *mean("amount", days=(28, 84)),
        *largest("amount", days=(84,)),
        *total("items", days=(28, 84)),
        *mean("lines", days=(84,)),
        *total("retail_discount", days=(84,)),
        *count("coupon_discount", days=(28, 84, 182)),
        *total("coupon_discount", days=(84,)),
        *days_since(within_days=364),
        *days_since("coupon_discount", within_days=364),
        *last_event_at(within_days=364),
    ],
)

user_purchases = windowed_view(
    name="user_purchases",
    entities=[user],
    source=purchases,
    hop=hour,
    events=LINE,
    owner="growth",
    description="What a shopper's order lines are worth, and how many were bought with a coupon.",
    zh="顾客的购买明细与优惠券使用",
    features=[
        *count(days=(28, 84, 182)),
        *total("amount", days=(84, 182)),
        *total("quantity", days=(28, 84)),
        *total("retail_discount", days=(84,)),
        *count("coupon_discount", days=(28, 84, 182)),
        *total("coupon_discount", days=(84, 182)),
        *total("coupon_match_discount", days=(84, 182)),
    ],
)

user_category_purchases = windowed_view(
    name="user_category_purchases",
    entities=[user, category],
    source=purchases,
    hop=day,
    events=LINE,
    owner="growth",
    description="What a shopper buys within one category.",
    zh="顾客在某一品类的购买",
    features=[
        *count(days=(7, 14, 28, 56, 84, 182, 364)),
        *count_distinct("order_id", days=(28, 84, 182, 364)),
        *decayed_count(half_life_days=(14, 28, 56, 112)),
        *total("amount", days=(28, 84)),
        *count("coupon_discount", days=(84,)),
        *days_since(within_days=364),
    ],
)

# A state for every item of every shopper: 864,318 of a year of 2,469 households, 426 MB in Redis.
user_item_purchases = windowed_view(
    name="user_item_purchases",
    entities=[user, item],
    source=purchases,
    hop=day,
    events=LINE,
    owner="growth",
    description="How often and how lately a shopper buys one item.",
    zh="顾客对某一商品的购买",
    features=[
        *count(days=(14, 28, 84, 182, 364)),
        *count("retail_discount", days=(182,)),
        *decayed_count(half_life_days=(7, 21, 60, 182)),
        *total("quantity", days=(182,)),
        *days_since(within_days=364),
    ],
    when_asked=True,
)

category_purchases = windowed_view(
    name="category_purchases",
    entities=[category],
    source=purchases,
    hop=day,
    events=SALE,
    owner="merchandising",
    description="How a category sells.",
    zh="品类的销售",
    features=[*count(days=(7, 28, 84, 182, 364)), *total("retail_discount", days=(7,))],
)

item_purchases = windowed_view(
    name="item_purchases",
    entities=[item],
    source=purchases,
    hop=day,
    events=SALE,
    owner="merchandising",
    description="How an item sells.",
    zh="商品的销售",
    features=[
        *count(days=(7, 28, 84)),
        *total("amount", days=(28,)),
        *total("quantity", days=(28,)),
        *count("coupon_discount", days=(28,)),
        *last_event_at(within_days=84),
    ],
)
