"""Will this shopper redeem a coupon of this campaign? Asked when the campaign starts, answered when it has ended."""

from datetime import timedelta

from feature_repo.core.allowed import Allowed
from feature_repo.core.degrading import DEFAULTS
from training.declaring.recipe import Boosting, Linear, Recipe
from training.task import Context, Gate, Task

# A campaign that began before the log, or ends after it, has redemptions the log cannot show.
LABEL = """
WITH addressed AS (
    SELECT
        user_id, campaign_id,
        min(event_timestamp) AS event_timestamp,
        any_value(campaign_type) AS campaign_type,
        min(coalesce(starts_at, event_timestamp)) AS starts_at,
        max(ends_at) AS ends_at
    FROM campaign_exposure GROUP BY user_id, campaign_id
)
SELECT
    user_id,
    event_timestamp,
    campaign_id,
    ends_at AS known_at,
    CASE WHEN campaign_type = 'A' THEN 'A' ELSE 'B/C' END AS campaign_type,
    (campaign_type IS NOT DISTINCT FROM 'A')::BIGINT AS campaign_type_a,
    round((epoch_us(ends_at) - epoch_us(starts_at)) / 86400e6)::BIGINT AS campaign_days,
    EXISTS (
        FROM coupon_redeem redeemed
        WHERE redeemed.user_id = addressed.user_id
          AND redeemed.campaign_id = addressed.campaign_id
          AND redeemed.event_timestamp >= greatest(addressed.event_timestamp, addressed.starts_at)
          AND redeemed.event_timestamp < addressed.ends_at
    )::BIGINT AS label
FROM addressed, log_span
WHERE starts_at >= first_at AND ends_at <= last_at AND event_timestamp < ends_at
"""

COUPON_USE = (
    "user_payments__coupon_discount_count_28d",
    "user_payments__coupon_discount_count_84d",
    "user_payments__coupon_discount_count_182d",
    "user_purchases__coupon_discount_count_28d",
    "user_purchases__coupon_discount_count_84d",
    "user_purchases__coupon_discount_count_182d",
    "user_purchases__coupon_discount_sum_84d",
    "user_purchases__coupon_discount_sum_182d",
    "user_purchases__coupon_match_discount_sum_84d",
    "user_purchases__coupon_match_discount_sum_182d",
    "user_price_sensitivity__coupon_visit_share_84d",
    "user_price_sensitivity__coupon_visit_share_182d",
    "user_price_sensitivity__coupon_line_share_182d",
    "user_price_sensitivity__coupon_money_share_182d",
)
REDEMPTIONS = (
    "user_redemptions__count_84d",
    "user_redemptions__count_182d",
    "user_redemptions__count_364d",
    "user_price_sensitivity__redemptions_per_campaign_182d",
)

REDEMPTION = Task(
    name="redemption",
    description="Will this shopper redeem a coupon of this campaign before it ends?",
    service="redemption_v1",
    label=LABEL,
    context=(
        Context(
            "campaign_type_a",
            "Campaign of type A, sent to many (1), or of types B and C (0).",
            default=1.0,
            allowed=Allowed(values=(0, 1)),
            zh="活动类型（A类群发为1，B、C类为0）",
        ),
        Context(
            "campaign_days",
            "Length of the campaign in days.",
            default=47.0,
            allowed=Allowed(at_least=1, at_most=366),
            zh="活动时长（天）",
        ),
    ),
    # A shopper without events is one like any who came in this week, and got this model's answer then too: a guess on
    # the low side, which costs a coupon that is not sent.
    without_redis=DEFAULTS,
    slices=("campaign_type",),
    holdout=timedelta(days=92),
    validation=timedelta(days=84),
    model=Recipe(
        linear=Linear(strength=0.03),
        boosting=Boosting(
            rising=(*COUPON_USE, *REDEMPTIONS),
            falling=("user_redemptions__days_since", "user_payments__coupon_discount_days_since"),
        ),
    ),
    baselines={
        "seven_feature_logistic": Recipe(
            inputs=(
                "user_payments__days_since",
                "user_payments__count_84d",
                "user_payments__amount_sum_84d",
                "user_payments__coupon_discount_count_84d",
                "user_redemptions__count_364d",
                "user_campaigns__count_182d",
                "campaign_type_a",
            ),
            linear=Linear(),
        ),
    },
    gates=(
        Gate("auc", at_least=0.83),
        Gate("average_precision", at_least=0.57),
        Gate("ece", at_most=0.03),
        Gate("auc", at_least=0.77, where="campaign_type=B/C"),
    ),
    must_beat=("rfm_logistic", "seven_feature_logistic"),
    not_worse_than=("all_feature_logistic",),
)
