"""How shoppers answer campaigns."""

from feature_repo.definitions.entities import item, user
from feature_repo.definitions.sources import answers, campaign_exposures, coupon_redemptions
from feature_repo.definitions.texts import Noun
from feature_repo.definitions.windows import count, days_since, hour, last, mean, windowed_view

user_campaigns = windowed_view(
    name="user_campaigns",
    entities=[user],
    source=campaign_exposures,
    hop=hour,
    events=Noun("campaign", "campaigns", "收到活动"),
    owner="marketing",
    description="Campaigns a shopper was addressed by.",
    zh="顾客收到的营销活动",
    features=[*count(days=(84, 182, 364)), *days_since(within_days=364)],
)

user_redemptions = windowed_view(
    name="user_redemptions",
    entities=[user],
    source=coupon_redemptions,
    hop=hour,
    events=Noun("redemption", "redemptions", "核销"),
    owner="marketing",
    description="Coupons of campaigns a shopper redeemed.",
    zh="顾客核销的优惠券",
    features=[*count(days=(84, 182, 364)), *days_since(within_days=364)],
)

user_feedback = windowed_view(
    name="user_feedback",
    entities=[user],
    source=answers,
    hop=hour,
    events=Noun("answer", "answers", "反馈"),
    owner="growth",
    description="How a shopper answers what was shown or said.",
    zh="顾客对推荐与预测的反馈",
    features=[
        *count(days=(7, 28, 84)),
        *mean("value", days=(28, 84)),
        *last("action", days=(84,)),
        *days_since(within_days=84),
    ],
)

user_item_feedback = windowed_view(
    name="user_item_feedback",
    entities=[user, item],
    source=answers,
    hop=hour,
    events=Noun("answer", "answers", "反馈"),
    owner="growth",
    description="What a shopper last said of one item that was recommended.",
    zh="顾客对某一商品推荐的反馈",
    features=[*last("action", days=(28,)), *count(days=(28,))],
)
