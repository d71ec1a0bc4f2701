"""How much will this shopper spend in four weeks? Asked every week of whoever came in the last twelve."""

from datetime import timedelta

from feature_repo.core.degrading import LAST_KNOWN
from training.declaring.objective import REGRESSION
from training.declaring.recipe import Copy, Linear, Recipe
from training.declaring.snapshots import visitors
from training.task import Gate, Task

HORIZON = timedelta(days=28)

LABEL = f"""
WITH {visitors(horizon=HORIZON)}
SELECT user_id, event_timestamp, tenure, spend_band, spend_ahead AS label
FROM visitor
"""

SPEND = Task(
    name="spend",
    description="How much will this shopper, who came in the last 84 days, spend in the next 28?",
    service="spend_v1",
    label=LABEL,
    pulse="payment",
    horizon=HORIZON,
    # Its windows are weeks long, so that minutes do not matter. Defaults would: without events nobody spends.
    without_redis=LAST_KNOWN,
    objective=REGRESSION,
    slices=("tenure", "spend_band"),
    holdout=timedelta(days=98),
    validation=timedelta(days=56),
    model=Recipe(linear=Linear(logarithmic=False, without=("182d", "364d"))),
    baselines={
        "last_28d": Recipe(copy=Copy("user_payments__amount_sum_28d")),
        "third_of_84d": Recipe(copy=Copy("user_payments__amount_sum_84d", times=1 / 3)),
    },
    gates=(
        Gate("r2", at_least=0.68),
        Gate("mae", at_most=71.0),
        Gate("spearman", at_least=0.765),
    ),
    must_beat=("last_28d", "third_of_84d"),
    not_worse_than=("all_feature_linear",),
)
