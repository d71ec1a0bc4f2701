"""What shoppers look at, search for and put into carts: minutes ago, and over weeks.

A view named ``..._live`` has tiles of five minutes and windows of up to a day. Longer windows stand in a view of hourly
tiles: a month of five-minute tiles would be a dozen times the state, for an edge that a month does not feel.
"""

from feature_repo.definitions.entities import user
from feature_repo.definitions.sources import carts, clicks, searches, views
from feature_repo.definitions.texts import Noun
from feature_repo.definitions.windows import (
    count,
    count_distinct,
    days_since,
    five_minutes,
    hour,
    last_event_at,
    read_at,
    total,
    windowed_view,
)

PAGE_VIEW = Noun("page view", "page views", "浏览")
SEARCH = Noun("search", "searches", "搜索")
CLICK = Noun("click", "clicks", "点击")
CART_CHANGE = Noun("cart change", "cart changes", "加减购")

user_views_live = windowed_view(
    name="user_views_live",
    entities=[user],
    source=views,
    hop=five_minutes,
    events=PAGE_VIEW,
    owner="growth",
    description="What a shopper looks at today.",
    zh="顾客当日的浏览与访问",
    features=[
        *count(hours=(1, 6, 24)),
        *count_distinct("session_id", hours=(1, 6, 24)),
        *count_distinct("item_id", hours=(1, 24)),
        *read_at(),
    ],
)

user_searches_live = windowed_view(
    name="user_searches_live",
    entities=[user],
    source=searches,
    hop=five_minutes,
    events=SEARCH,
    owner="growth",
    description="What a shopper searches for today.",
    zh="顾客当日的搜索",
    features=count(hours=(1, 6, 24)),
)

user_clicks_live = windowed_view(
    name="user_clicks_live",
    entities=[user],
    source=clicks,
    hop=five_minutes,
    events=CLICK,
    owner="growth",
    description="What a shopper clicks in lists today.",
    zh="顾客当日的列表点击",
    features=count(hours=(1, 6, 24)),
)

user_carts_live = windowed_view(
    name="user_carts_live",
    entities=[user],
    source=carts,
    hop=five_minutes,
    events=CART_CHANGE,
    owner="growth",
    description="What a shopper puts into the cart, or takes out, today.",
    zh="顾客当日的加购与移除",
    features=count(hours=(1, 6, 24)),
)

user_views = windowed_view(
    name="user_views",
    entities=[user],
    source=views,
    hop=hour,
    events=PAGE_VIEW,
    owner="growth",
    description="How often and how long a shopper looks around.",
    zh="顾客的浏览频次与停留",
    features=[
        *count(days=(7, 28)),
        *count_distinct("session_id", days=(2, 7, 28, 84)),
        *total("dwell_s", days=(7,)),
        *days_since(within_days=28),
        *last_event_at(within_days=28),
    ],
)

user_searches = windowed_view(
    name="user_searches",
    entities=[user],
    source=searches,
    hop=hour,
    events=SEARCH,
    owner="growth",
    description="How often a shopper searches.",
    zh="顾客的搜索频次",
    features=[*count(days=(7, 28)), *days_since(within_days=28)],
)

user_clicks = windowed_view(
    name="user_clicks",
    entities=[user],
    source=clicks,
    hop=hour,
    events=CLICK,
    owner="growth",
    description="How often a shopper clicks in lists.",
    zh="顾客的列表点击频次",
    features=count(days=(7, 28)),
)

user_carts = windowed_view(
    name="user_carts",
    entities=[user],
    source=carts,
    hop=hour,
    events=CART_CHANGE,
    owner="growth",
    description="How often a shopper changes the cart.",
    zh="顾客的加减购频次",
    features=[
        *count(days=(7, 28)),
        *count_distinct("session_id", days=(2, 28, 84)),
        *days_since(within_days=28),
    ],
)
