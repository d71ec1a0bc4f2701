"""Will this shopper stay away for four weeks? Asked every week of whoever came in the last twelve."""

from datetime import timedelta

from feature_repo.core.degrading import LAST_KNOWN
from training.declaring.recipe import Boosting, Linear, Recipe
from training.declaring.snapshots import visitors
from training.task import Gate, Task

HORIZON = timedelta(days=28)

LABEL = f"""
WITH {visitors(horizon=HORIZON)}
SELECT user_id, event_timestamp, tenure, spend_band, (visits_ahead = 0)::BIGINT AS label
FROM visitor
"""

CHURN = Task(
    name="churn",
    description="Will this shopper, who came in the last 84 days, make no visit in the next 28?",
    service="churn_v1",
    label=LABEL,
    pulse="payment",
    horizon=HORIZON,
    # Its windows are weeks long, so that minutes do not matter. Defaults would: without events everybody has left.
    without_redis=LAST_KNOWN,
    slices=("tenure", "spend_band"),
    holdout=timedelta(days=98),
    validation=timedelta(days=56),
    model=Recipe(
        linear=Linear(without=("182d", "364d")),
        boosting=Boosting(eta=0.05, max_depth=4, min_child_weight=50.0, seeds=(7, 11), max_rounds=600, patience=40),
    ),
    baselines={"recency": Recipe(inputs=("user_payments__days_since",), linear=Linear())},
    gates=(
        Gate("auc", at_least=0.858),
        Gate("average_precision", at_least=0.45),
        Gate("ece", at_most=0.015),
    ),
    must_beat=("recency", "rfm_logistic"),
    not_worse_than=("all_feature_logistic",),
)
