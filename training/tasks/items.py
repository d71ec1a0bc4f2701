"""Which items will this shopper buy within two weeks? Asked every two weeks; some 200 are proposed and ranked."""

from datetime import timedelta

from feature_repo.core.allowed import Allowed
from training.declaring.candidates import Candidates
from training.declaring.objective import RANKING
from training.declaring.recipe import Boosting, Copy, Recipe
from training.task import Context, Gate, Task

HORIZON = timedelta(days=14)
ORIGINS = 5  # the last is for the test, the one before chooses the rounds
HISTORY = timedelta(days=84)

LABEL = f"""
WITH asked AS (
    SELECT last_at - number * INTERVAL {HORIZON.days} DAY AS event_timestamp
    FROM log_span, range(1, {ORIGINS + 1}) AS numbers (number)
    WHERE last_at - number * INTERVAL {HORIZON.days} DAY >= first_at + INTERVAL {HISTORY.days} DAY
), known AS (
    SELECT
        user_id,
        asked.event_timestamp,
        count(DISTINCT order_id) FILTER (
            purchase.event_timestamp >= asked.event_timestamp - INTERVAL {HISTORY.days} DAY
        ) AS orders
    FROM purchase JOIN asked ON purchase.event_timestamp < asked.event_timestamp
    WHERE item_id IS NOT NULL
    GROUP BY ALL
), later AS (
    SELECT
        user_id,
        asked.event_timestamp,
        array_to_string(list_sort(list_distinct(list(item_id))), chr(31)) AS bought
    FROM purchase JOIN asked
        ON purchase.event_timestamp >= asked.event_timestamp
        AND purchase.event_timestamp < asked.event_timestamp + INTERVAL {HORIZON.days} DAY
    WHERE item_id IS NOT NULL
    GROUP BY ALL
)
SELECT
    user_id,
    event_timestamp,
    CASE WHEN orders < 5 THEN 'under 5' WHEN orders < 20 THEN '5 to 19' ELSE '20 and more' END AS orders_84d,
    (bought IS NOT NULL)::BIGINT AS label,
    coalesce(bought, '') AS bought
FROM known LEFT JOIN later USING (user_id, event_timestamp)
"""

# What is said of an item where it is proposed; see ``feature_repo.candidates.proposals``.
PROPOSED = {
    "popular": ("Share of shoppers who bought it in 28 days.", "近28天购买该商品的顾客占比"),
    "neighbours": ("How near it is to what the shopper buys.", "与顾客所购商品的相近程度"),
    "factors": ("How much the shopper's factors like it.", "矩阵分解得出的喜好程度"),
    "alike": ("Share of shoppers alike who buy it.", "相似顾客的购买占比"),
    "content": ("Popular, and of categories and makers the shopper buys.", "常购品类与厂商中的热门程度"),
    "store": ("Share of the store's shoppers who bought it in 84 days.", "近84天同店顾客的购买占比"),
    "trending": ("How much it sells this week against the weeks before.", "本周相对前几周的热度"),
    "personal": ("The shopper's orders with it, halved every 60 days.", "顾客购买次数（60天衰减一半）"),
    "own_gap_days": ("Mean days between the shopper's orders with it; -1 under two.", "顾客两次购买的平均间隔天数"),
    "own_due": ("Days since the last of them against that; -1 under two.", "距上次购买的天数与平均间隔之比"),
    "category_share": ("Share of its category in what the shopper buys.", "该品类在顾客购买中的占比"),
    "maker_share": ("Share of its maker in what the shopper buys.", "该厂商在顾客购买中的占比"),
    "repeat_rate": ("Share of its buyers who bought it again.", "购买者的复购率"),
    "price": ("Mean amount of a line with it.", "平均每行金额"),
    "days_sold": ("Days since it was first sold.", "首次售出至今的天数"),
}
METHODS = tuple(PROPOSED)[:8]

ITEMS = Task(
    name="items",
    description="Which items will this shopper buy in the next 14 days?",
    service="items_v1",
    label=LABEL,
    horizon=HORIZON,
    others=("item", "category"),
    objective=RANKING,
    groups=("user_id", "event_timestamp"),
    context=tuple(
        Context(name, english, default=-1.0 if name in ("own_gap_days", "own_due") else 0.0, allowed=Allowed(), zh=zh)
        for name, (english, zh) in PROPOSED.items()
    ),
    slices=("orders_84d",),
    holdout=HORIZON,
    validation=HORIZON,
    candidates=Candidates(),
    model=Recipe(
        boosting=Boosting(
            eta=0.1,
            max_depth=6,
            subsample=0.8,
            colsample_bytree=0.7,
            min_child_weight=20.0,
            reg_lambda=1.0,
            max_bin=256,
            seeds=(7,),
            max_rounds=400,
            patience=30,
        ),
    ),
    baselines={name: Recipe(copy=Copy(name)) for name in METHODS},
    gates=(Gate("recall_at_10", at_least=0.111), Gate("ndcg_at_10", at_least=0.322)),
    must_beat=METHODS,
    surely_beats=("personal",),
)
