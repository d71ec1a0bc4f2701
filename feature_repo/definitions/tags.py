"""Tags (标签) of shoppers, as code: one declaration each. What they are is said in ``definitions.tag_kinds``.

Where a word depends on the shop (who spends much, what is dear), the rule reads a rank among all shoppers
(``user_habits__spend_rank``) and not an amount: ranks are written weekly with history, so that a tag of last March is
by last March's shop, and the same declaration fits a shop of another size. Shares and days mean the same in any shop,
and their thresholds stand here. So do those of scores: they are probabilities, and calibrated.
"""

from __future__ import annotations

from datetime import timedelta

from feature_repo.core.errors import DeclarationError, did_you_mean
from feature_repo.definitions.segment_names import SEGMENTS, STAGES, TIERS, Words
from feature_repo.definitions.tag_features import service_of
from feature_repo.definitions.tag_kinds import Bands, FactTag, ModelTag, RuleTag, Tag, check_distinct

MONTH = timedelta(days=35)  # written weekly; a job that did not run for a while keeps what it said for so long

_VALUE = Bands(("top", 0.9), ("high", 0.7), ("middle", 0.3), ("low", 0.0), most=1.0)
_VALUE_SCORE = "(user_habits__spend_rank + user_habits__visit_rank) / 2"
_SPEND = Bands(("high", 300.0), ("middle", 75.0), ("low", 0.0), most=1000.0)
_DISCOUNTS = Bands(("high", 0.25), ("some", 0.12), ("low", 0.0), most=0.5)
_COUPONS = Bands(("strong", 0.15), ("some", 0.02), ("none", 0.0), most=0.5)
_PRICES = Bands(("premium", 0.75), ("middle", 0.25), ("budget", 0.0), most=1.0)
_BASKETS = Bands(("stock_up", 0.75), ("mixed", 0.25), ("top_up", 0.0), most=1.0)
_TREND = Bands(("rising", 1.33), ("steady", 0.67), ("falling", 0.0), most=3.0)
_CYCLE = Bands(("monthly_or_less", 18.0), ("fortnightly", 10.0), ("weekly", 4.5), ("every_few_days", 0.0), most=36.0)
_CHURN = Bands(("high", 0.4), ("medium", 0.15), ("low", 0.0), most=1.0)
_REDEMPTION = Bands(("high", 0.4), ("medium", 0.12), ("low", 0.0), most=1.0)

_ACTIVE = "user_payments__count_84d > 0"
_LEVELS = {"high": ("High", "高"), "medium": ("Medium", "中"), "low": ("Low", "低")}
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY_CASES = " ".join(f"WHEN {n} THEN '{day}'" for n, day in enumerate(_DAYS, 1))


def _named(words: dict[str, Words]) -> dict[str, tuple[str, str]]:
    return {name: (each.english, each.chinese) for name, each in words.items()}


TAGS: tuple[Tag, ...] = check_distinct(
    (
        # Basic ------------------------------------------------------------------------------------------------------
        FactTag(
            name="age_band",
            english="Age band",
            chinese="年龄段",
            description="What the shopper said, if anything.",
            owner="growth",
            version=1,
            dimension="basic",
            fresh=None,
            feature="user_demographics__age_band",
        ),
        FactTag(
            name="income_band",
            english="Income band",
            chinese="收入段",
            description="What the shopper said, if anything.",
            owner="growth",
            version=1,
            dimension="basic",
            fresh=None,
            feature="user_demographics__income",
        ),
        # Behaviour --------------------------------------------------------------------------------------------------
        RuleTag(
            name="shopping_day",
            english="Shopping day",
            chinese="常购日",
            description="Weekday of at least 30% of the visits in 182 days; any day if there is none.",
            owner="growth",
            version=1,
            dimension="behaviour",
            fresh=MONTH,
            values={day: (day.capitalize(), f"周{each}") for day, each in zip(_DAYS, "一二三四五六日", strict=True)}
            | {"any": ("Any day", "不固定")},
            sql=f"CASE WHEN user_habits__weekday_share >= 0.3 THEN CASE user_habits__weekday {_DAY_CASES} END "
            "WHEN user_habits__weekday_share IS NOT NULL THEN 'any' END",
            strength_sql="abs(user_habits__weekday_share - 0.3) / "
            "CASE WHEN user_habits__weekday_share >= 0.3 THEN 0.7 ELSE 0.3 END",
        ),
        RuleTag(
            name="shopping_hours",
            english="Shopping hours",
            chinese="常购时段",
            description="Part of the day of at least half of the visits in 182 days; any if there is none.",
            owner="growth",
            version=1,
            dimension="behaviour",
            fresh=MONTH,
            values={
                "morning": ("Morning, 6 to 12", "上午"),
                "afternoon": ("Afternoon, 12 to 17", "下午"),
                "evening": ("Evening, 17 to 21", "傍晚"),
                "night": ("Night, 21 to 6", "夜间"),
                "any": ("Any hour", "不固定"),
            },
            sql="CASE WHEN user_habits__daypart_share >= 0.5 THEN user_habits__daypart "
            "WHEN user_habits__daypart_share IS NOT NULL THEN 'any' END",
            strength_sql="abs(user_habits__daypart_share - 0.5) / 0.5",
        ),
        RuleTag(
            name="visit_cycle",
            english="Visit cycle",
            chinese="购物周期",
            description="Median days from one day of visits to the next.",
            owner="growth",
            version=1,
            dimension="behaviour",
            fresh=MONTH,
            values={
                "every_few_days": ("Every few days", "几天一次"),
                "weekly": ("Weekly", "每周"),
                "fortnightly": ("Fortnightly", "每两周"),
                "monthly_or_less": ("Monthly or less", "每月或更少"),
            },
            sql=_CYCLE.sql("user_habits__cycle_days"),
            strength_sql=_CYCLE.strength_sql("user_habits__cycle_days"),
        ),
        RuleTag(
            name="regular",
            english="Comes regularly",
            chinese="规律到店",
            description="Half of the gaps between visits differ by at most three quarters of their median.",
            owner="growth",
            version=1,
            dimension="behaviour",
            fresh=MONTH,
            sql="user_habits__cycle_spread <= 0.75",
            strength_sql="least(1.0, abs(user_habits__cycle_spread - 0.75) / 0.75)",
        ),
        RuleTag(
            name="basket_style",
            english="Basket style",
            chinese="购物篮风格",
            description="Lines a visit, among all shoppers: the largest quarter stocks up, the smallest tops up.",
            owner="merchandising",
            version=1,
            dimension="behaviour",
            fresh=MONTH,
            values={
                "stock_up": ("Stocks up", "囤货型"),
                "mixed": ("Mixed", "混合型"),
                "top_up": ("Tops up", "随买型"),
            },
            sql=_BASKETS.sql("user_habits__basket_rank"),
            strength_sql=_BASKETS.strength_sql("user_habits__basket_rank"),
        ),
        RuleTag(
            name="browsing_now",
            english="Looking around now",
            chinese="正在浏览",
            description="Opened a page of the shop within the hour.",
            owner="growth",
            version=1,
            dimension="behaviour",
            fresh=None,
            sql="user_views_live__count_1h > 0",
        ),
        # Preference -------------------------------------------------------------------------------------------------
        RuleTag(
            name="favourite_category",
            english="Favourite category",
            chinese="偏好品类",
            description="Category of most order lines in 182 days, of at least 5% of them.",
            owner="merchandising",
            version=1,
            dimension="preference",
            fresh=MONTH,
            sql="CASE WHEN user_habits__category_share >= 0.05 THEN user_habits__favourite_category END",
            strength_sql="CASE WHEN user_habits__category_share >= 0.05 THEN "
            "least(1.0, (user_habits__category_share - 0.05) / 0.2) END",
        ),
        FactTag(
            name="second_category",
            english="Second category",
            chinese="次偏好品类",
            description="Category of the second most order lines in 182 days.",
            owner="merchandising",
            version=1,
            dimension="preference",
            fresh=MONTH,
            feature="user_habits__second_category",
        ),
        FactTag(
            name="favourite_brand",
            english="Favourite brand",
            chinese="偏好品牌",
            description="Brand of most order lines in 182 days.",
            owner="merchandising",
            version=1,
            dimension="preference",
            fresh=MONTH,
            feature="user_habits__favourite_brand",
            measured="user_habits__brand_share",
        ),
        FactTag(
            name="favourite_maker",
            english="Favourite manufacturer",
            chinese="偏好厂商",
            description="Manufacturer of most order lines in 182 days.",
            owner="merchandising",
            version=1,
            dimension="preference",
            fresh=MONTH,
            feature="user_habits__favourite_maker",
            measured="user_habits__maker_share",
        ),
        RuleTag(
            name="price_band",
            english="Price band",
            chinese="价格带",
            description="Who chooses dear items of a category: the dearest quarter of shoppers, or the cheapest.",
            owner="merchandising",
            version=1,
            dimension="preference",
            fresh=MONTH,
            values={"premium": ("Premium", "高价"), "middle": ("Middle", "中价"), "budget": ("Budget", "低价")},
            sql=_PRICES.sql("user_habits__price_rank"),
            strength_sql=_PRICES.strength_sql("user_habits__price_rank"),
        ),
        RuleTag(
            name="price_sensitivity",
            english="Price sensitivity",
            chinese="价格敏感度",
            description="Loyalty discounts against spend in 84 days: who waits for offers saves more of it.",
            owner="marketing",
            version=1,
            dimension="preference",
            fresh=None,
            values={"high": ("High", "高"), "some": ("Some", "一般"), "low": ("Low", "低")},
            sql=_DISCOUNTS.sql("user_price_sensitivity__discount_share_84d"),
            strength_sql=_DISCOUNTS.strength_sql("least(0.5, user_price_sensitivity__discount_share_84d)"),
        ),
        RuleTag(
            name="coupon_affinity",
            english="Coupon affinity",
            chinese="优惠券偏好",
            description="Visits with a coupon, of all in 182 days.",
            owner="marketing",
            version=1,
            dimension="preference",
            fresh=None,
            values={"strong": ("Strong", "强"), "some": ("Some", "一般"), "none": ("None", "无")},
            sql=_COUPONS.sql("user_price_sensitivity__coupon_visit_share_182d"),
            strength_sql=_COUPONS.strength_sql("least(0.5, user_price_sensitivity__coupon_visit_share_182d)"),
        ),
        ModelTag(
            name="redemption_propensity",
            english="Redemption propensity",
            chinese="核销倾向",
            description="How likely a coupon of a campaign of type A is redeemed.",
            owner="marketing",
            version=1,
            dimension="preference",
            fresh=None,
            values=_LEVELS,
            asked="redemption",
            bands=_REDEMPTION,
            only="user_payments__count_364d > 0",
        ),
        # Value ------------------------------------------------------------------------------------------------------
        RuleTag(
            name="value_band",
            english="Value band (RFM)",
            chinese="价值带（RFM）",
            description="Mean of the ranks by money and by frequency in 84 days; lapsed without a visit in them.",
            owner="marketing",
            version=1,
            dimension="value",
            fresh=MONTH,
            values={
                "top": ("Top", "最高"),
                "high": ("High", "高"),
                "middle": ("Middle", "中"),
                "low": ("Low", "低"),
                "lapsed": ("Lapsed", "流失"),
            },
            sql="CASE WHEN user_payments__days_since >= 84 THEN 'lapsed' "
            f"WHEN user_payments__count_84d > 0 THEN {_VALUE.sql(_VALUE_SCORE)} END",
            strength_sql="CASE WHEN user_payments__days_since >= 84 THEN "
            "least(1.0, (user_payments__days_since - 84) / 84) "
            f"WHEN user_payments__count_84d > 0 THEN {_VALUE.strength_sql(_VALUE_SCORE)} END",
        ),
        ModelTag(
            name="spend_outlook",
            english="Spend outlook",
            chinese="消费预期",
            description="What the shopper is expected to spend in 28 days: 300 and more, 75 and more, or less.",
            owner="growth",
            version=1,
            dimension="value",
            fresh=None,
            values={"high": ("High", "高"), "middle": ("Middle", "中"), "low": ("Low", "低")},
            asked="spend",
            bands=_SPEND,
            only=_ACTIVE,
        ),
        # Lifecycle --------------------------------------------------------------------------------------------------
        FactTag(
            name="lifecycle_stage",
            english="Lifecycle stage",
            chinese="生命周期阶段",
            description="Stage of life as a shopper, as segments were last assigned.",
            owner="marketing",
            version=1,
            dimension="lifecycle",
            fresh=MONTH,
            values=_named(STAGES),
            feature="user_segments__stage",
        ),
        FactTag(
            name="segment",
            english="Segment",
            chinese="分群",
            description="Segment by recency, frequency and money, as they were last assigned.",
            owner="marketing",
            version=1,
            dimension="lifecycle",
            fresh=MONTH,
            values=_named(SEGMENTS),
            feature="user_segments__segment",
            measured="user_segments__strength",
        ),
        RuleTag(
            name="spend_trend",
            english="Spend trend",
            chinese="消费趋势",
            description="Spend in 28 days against the average 28 of 84 days: a third more, or a third less.",
            owner="growth",
            version=1,
            dimension="lifecycle",
            fresh=None,
            values={"rising": ("Rising", "上升"), "steady": ("Steady", "平稳"), "falling": ("Falling", "下降")},
            sql=_TREND.sql("user_trends__spend_trend_28d_84d"),
            strength_sql=_TREND.strength_sql("user_trends__spend_trend_28d_84d"),
        ),
        RuleTag(
            name="overdue",
            english="Overdue",
            chinese="到期未到店",
            description="Has not come for twice the usual gap between visits, and a week at least.",
            owner="growth",
            version=1,
            dimension="lifecycle",
            fresh=MONTH,
            sql="CASE WHEN user_habits__cycle_days IS NOT NULL THEN "
            "user_payments__days_since > greatest(7, 2 * user_habits__cycle_days) END",
            strength_sql="CASE WHEN user_habits__cycle_days IS NOT NULL THEN least(1.0, "
            "abs(user_payments__days_since / greatest(7, 2 * user_habits__cycle_days) - 1)) END",
        ),
        # Risk -------------------------------------------------------------------------------------------------------
        ModelTag(
            name="churn_risk",
            english="Churn risk",
            chinese="流失风险",
            description="How likely a shopper of the last 84 days makes no visit in the next 28.",
            owner="growth",
            version=1,
            dimension="risk",
            fresh=None,
            values=_LEVELS,
            asked="churn",
            bands=_CHURN,
            only=_ACTIVE,
        ),
        FactTag(
            name="unusual_behaviour",
            english="Unusual behaviour",
            chinese="异常行为",
            description="How unusual the behaviour was when it was last judged; unusual is no accusation.",
            owner="risk",
            version=1,
            dimension="risk",
            fresh=MONTH,
            values=_named(TIERS),
            feature="user_unusual__tier",
        ),
    )
)

# The service follows from the tags: what they read, and nothing else.
tags_v1 = service_of(
    "tags_v1",
    {name for tag in TAGS if tag.lifecycle != "retired" for name in tag.features},
    description="What tags are made of.",
    tags={"zh": "标签所依据的特征"},
    owner="growth",
)


def find_tag(name: str) -> Tag:
    """Return a tag by its name.

    Raises
    ------
    DeclarationError
        There is no such tag.
    """
    known = {tag.name: tag for tag in TAGS}
    if name not in known:
        raise DeclarationError(f"There is no tag '{name}'.", hint=did_you_mean(name, known))
    return known[name]
