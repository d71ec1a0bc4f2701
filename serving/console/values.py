"""Values as a reader reads them: with units, and none that is not known."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from serving.console.words import Words
from serving.reasons.sentences import number

_DAYS = ("days_since", "cycle_days", "campaign_days")
_SHARES = ("_share_", "_share", "_rank")
_MONEY = ("amount", "discount_sum", "price", "cost")
_SECONDS = ("dwell_s", "wait_s")


def value_text(name: str, value: Any, words: Words) -> str:
    """Return the value of a feature, by its name, as a text with its unit.

    >>> en = Words("en")
    >>> value_text("user_payments__days_since", 8.66, en), value_text("user_habits__cycle_days", 1.0, Words("zh"))
    ('8.7 days', '1天')
    >>> value_text("user_price_sensitivity__discount_share_84d", 0.1413, en), value_text("a__count_7d", None, en)
    ('14.1%', 'not known')
    >>> value_text("user_views__dwell_s_sum_7d", 12.5, en), value_text("user_payments__count_7d", 1200, en)
    ('12.5 s', '1,200')
    >>> value_text("user_payments__amount_sum_7d", 3.0, en), value_text("lines", 3, en)
    ('3.00', '3')
    """
    if value is None:
        return words("not_known")
    if isinstance(value, bool):
        return words("yes" if value else "no")
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return _with_unit(name.split("__", 1)[-1], value, words) if isinstance(value, int | float) else str(value)


def is_nothing(value: Any) -> bool:
    """Whether a value is zero or not known: what a reader looks for last."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value == 0)


def per_cent(value: float) -> str:
    """Return a probability as a reader reads it.

    >>> per_cent(0.4512), per_cent(0.0004), per_cent(1.0)
    ('45.1%', '<0.1%', '100.0%')
    """
    return f"{value:.1%}" if value >= 0.0005 or value == 0 else "<0.1%"  # noqa: PLR2004 - below it, it reads 0.0%


def _with_unit(feature: str, value: float, words: Words) -> str:
    if feature.endswith(_DAYS):
        said = f"{value:,.1f}".removesuffix(".0")
        return words.of(f"{said} day{'s' * (said != '1')}", f"{said}天")
    if isinstance(value, float) and (feature.endswith(_SHARES) or _SHARES[0] in feature):
        return f"{value:.1%}"
    if feature.startswith(_SECONDS):
        return words.of(f"{value:,.4g} s", f"{value:,.4g} 秒")
    if isinstance(value, float) and _is_money(feature):
        return f"{value:,.2f}"
    return number(value)


def _is_money(feature: str) -> bool:
    """Whether a feature is money, in the shop's currency."""
    return feature.endswith("_discount") or any(each in feature for each in _MONEY)
