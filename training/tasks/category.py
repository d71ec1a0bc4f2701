"""Will this shopper buy of this category within two weeks? Asked every week, of the categories that sell best."""

from datetime import timedelta

from feature_repo.core.degrading import LAST_KNOWN
from training.declaring.recipe import Boosting, Linear, Recipe
from training.declaring.snapshots import ACTIVE, WEEK, weekly
from training.task import Gate, Task

HORIZON = timedelta(days=14)
HOLDOUT = timedelta(days=98)
CATEGORIES = 60
TRAIN_ROWS = 400_000  # of some millions; more do not help
TEST_GROUPS = 12_000  # shoppers at an instant, each with all categories: precision among them needs them all, and many

# Purchases are counted in the weeks between two questions: week n holds [t0 - n weeks, t0 - (n - 1) weeks), where t0 is
# the last question, so that windows of whole weeks before and after a question are sums of them. Which rows are kept
# is decided by a hash of the row, in which a shopper is the first purchase they ever made: pseudonyms differ between
# homes, and would choose others in each.
LABEL = f"""
WITH {weekly(horizon=HORIZON)}, bought AS (
    SELECT
        user_id,
        category,
        (ceil((epoch_us(asked.event_timestamp) - epoch_us(purchase.event_timestamp)) / {WEEK.total_seconds() * 1e6})
        )::BIGINT AS week,
        min((purchase.event_timestamp, event_id)) AS first_line
    FROM purchase, asked
    WHERE asked.week = 0 AND category IS NOT NULL
    GROUP BY ALL
), shopper AS (
    SELECT user_id, min(first_line)[2] AS seen FROM bought GROUP BY user_id
), visitor AS (
    SELECT DISTINCT user_id, asked.week, event_timestamp
    FROM bought JOIN asked ON bought.week > asked.week AND bought.week <= asked.week + {ACTIVE // WEEK}
), crowd AS (
    SELECT week, count(*) AS visitors FROM visitor GROUP BY week
), popular AS (
    SELECT asked.week, category
    FROM bought JOIN asked ON bought.week > asked.week AND bought.week <= asked.week + {ACTIVE // WEEK}
    GROUP BY asked.week, category
    QUALIFY row_number() OVER (PARTITION BY asked.week ORDER BY count(*) DESC, category) <= {CATEGORIES}
), quota AS (
    SELECT
        week,
        held_out,
        {TEST_GROUPS} / test_weeks / visitors AS of_groups,
        {TRAIN_ROWS} / train_weeks / visitors / {CATEGORIES} AS of_rows
    FROM (
        SELECT *, count(*) FILTER (held_out) OVER () AS test_weeks, count(*) OVER () - test_weeks AS train_weeks
        FROM (SELECT *, event_timestamp >= last_at - INTERVAL {HOLDOUT.days} DAY AS held_out FROM asked, log_span)
    ) JOIN crowd USING (week)
), row AS (
    SELECT user_id, category, week, event_timestamp
    FROM visitor JOIN shopper USING (user_id) JOIN quota USING (week) JOIN popular USING (week)
    WHERE CASE WHEN held_out THEN {{share}} < of_groups ELSE {{share_of_row}} < of_rows END
), later AS (
    SELECT DISTINCT user_id, category, unnest([{", ".join(f"week + {n}" for n in range(HORIZON // WEEK))}]) AS week
    FROM bought
)
SELECT user_id, category, event_timestamp, (later.week IS NOT NULL)::BIGINT AS label
FROM row LEFT JOIN later USING (user_id, category, week)
"""


def _share(*parts: str) -> str:
    """Return a number in [0, 1) that follows from texts, as SQL."""
    return f"('0x' || left(md5(concat_ws('|', {', '.join(parts)})), 13))::BIGINT / {16**13}"


CATEGORY = Task(
    name="category",
    description="Will this shopper, who came in the last 84 days, buy of this category in the next 14?",
    service="category_v1",
    label=LABEL.format(share=_share("seen", "week"), share_of_row=_share("seen", "week", "category")),
    horizon=HORIZON,
    # What a shopper buys of changes in weeks. By defaults all categories would be alike, and the order chance.
    without_redis=LAST_KNOWN,
    others=("category",),
    groups=("user_id", "event_timestamp"),
    holdout=HOLDOUT,
    validation=timedelta(days=42),
    model=Recipe(
        linear=Linear(),
        boosting=Boosting(
            eta=0.15,
            max_depth=5,
            colsample_bytree=0.6,
            min_child_weight=100.0,
            seeds=(7,),
            max_rounds=400,
            patience=20,
        ),
    ),
    baselines={
        "popularity": Recipe(inputs=("category_purchases__count_84d",), linear=Linear()),
        "count_84d": Recipe(inputs=("user_category_purchases__count_84d",), linear=Linear()),
        "category_rfm_logistic": Recipe(
            inputs=(
                "user_category_purchases__days_since",
                "user_category_purchases__count_84d",
                "user_category_purchases__amount_sum_84d",
            ),
            linear=Linear(),
        ),
    },
    gates=(
        Gate("auc", at_least=0.82),
        Gate("average_precision", at_least=0.51),
        # Of shoppers who buy something, as recommenders are measured: of all, the best order of all reaches 0.636.
        Gate("precision_at_5_with_any", at_least=0.58),
    ),
    must_beat=("popularity", "count_84d", "category_rfm_logistic"),
    not_worse_than=("all_feature_logistic",),
)
