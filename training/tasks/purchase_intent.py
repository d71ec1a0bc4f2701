"""Will this shopper buy within 24 hours? Asked every 25 hours of whoever looked around lately."""

from datetime import timedelta

from feature_repo.core.degrading import REFUSE
from training.declaring.recipe import Boosting, Linear, Recipe
from training.task import Gate, Task

HORIZON = timedelta(hours=24)
DAYS = 70  # so many questions, the last a day before the log ends

# Questions 25 hours apart pass through the hours of the day.
LABEL = f"""
WITH asked AS (
    SELECT last_at - INTERVAL 24 HOUR - number * INTERVAL 25 HOUR AS event_timestamp
    FROM log_span, range({DAYS}) AS numbers (number)
    WHERE last_at - INTERVAL 24 HOUR - number * INTERVAL 25 HOUR >= first_at + INTERVAL 28 DAY
), visitor AS (
    SELECT DISTINCT user_id, asked.event_timestamp
    FROM asked JOIN view AS seen
        ON seen.event_timestamp >= asked.event_timestamp - INTERVAL 28 DAY
        AND seen.event_timestamp < asked.event_timestamp
    WHERE user_id IS NOT NULL
), bought AS (
    SELECT DISTINCT user_id, asked.event_timestamp
    FROM asked JOIN purchase
        ON purchase.event_timestamp >= asked.event_timestamp
        AND purchase.event_timestamp < asked.event_timestamp + INTERVAL 24 HOUR
)
SELECT user_id, event_timestamp, (bought.user_id IS NOT NULL)::BIGINT AS label
FROM visitor LEFT JOIN bought USING (user_id, event_timestamp)
"""

PURCHASE_INTENT = Task(
    name="purchase_intent",
    description="Will this shopper, who looked around in the last 28 days, buy within 24 hours?",
    service="purchase_intent_v1",
    label=LABEL,
    pulse="view",
    horizon=HORIZON,
    # What decides it happened in the last minutes: an answer from before them is one about another moment.
    without_redis=REFUSE,
    holdout=timedelta(days=21),
    validation=timedelta(days=14),
    model=Recipe(boosting=Boosting(eta=0.05, max_depth=3, min_child_weight=50.0, seeds=(7, 11, 23), max_rounds=600)),
    baselines={"cart_recency": Recipe(inputs=("user_carts__days_since",), linear=Linear())},
    gates=(Gate("auc", at_least=0.6),),
    must_beat=("cart_recency", "rfm_logistic"),
    not_worse_than=("all_feature_logistic",),
    ceiling=0.95,
)
