"""What shoppers do, in words: one line per table and column that models read. Columns without one are told by label."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Deed:
    """How counts and sums of a column are told.

    Attributes
    ----------
    compared
        With ``{less}`` ("62% less"), ``{fewer}`` ("62% fewer") or ``{often}`` ("62% less often"), and ``{per}``.
    told
        With ``{value}``.
    nothing
        Where the value is 0.
    zh
        What is counted or summed, in Chinese.
    last
        Of the latest event; empty where it is told by label.
    """

    compared: str
    told: str
    nothing: str
    zh: str
    last: str = ""


def _units(verb: str, noun: str, zh: str, last: str = "") -> Deed:
    return Deed(f"{verb} {{fewer}} {noun} {{per}}", f"{verb} {{value}} {noun}", f"{verb} no {noun}", zh, last)


def _money(verb: str, on: str, zh: str) -> Deed:
    whole = f" {on}" if on else ""
    return Deed(f"{verb} {{less}}{whole} {{per}}", f"{verb} {{value}}{whole}", f"{verb} nothing{whole}", zh)


def _often(what: str, nothing: str, zh: str, last: str = "") -> Deed:
    return Deed(f"{what} {{often}}", f"{what} {{value}} times", nothing, zh, last)


# (table, column) -> how it is told; without a column it is the events themselves.
DEEDS = {
    ("payment", ""): _often("came", "did not come", "到店次数", "last came"),
    ("payment", "amount"): _money("spent", "", "消费金额"),
    ("payment", "items"): _units("bought", "units", "购买件数"),
    ("payment", "retail_discount"): _money("saved", "by loyalty discounts", "会员折扣"),
    ("payment", "coupon_discount"): _often(
        "came with a coupon", "did not come with a coupon", "用券到店次数", "last came with a coupon"
    ),
    ("purchase", ""): _units("bought", "order lines", "购买明细数", "last bought"),
    ("purchase", "amount"): _money("spent", "on order lines", "购买金额"),
    ("purchase", "quantity"): _units("bought", "units in order lines", "购买件数"),
    ("purchase", "retail_discount"): _money("saved", "by loyalty discounts on lines", "明细会员折扣"),
    ("purchase", "coupon_discount"): _units("bought", "order lines with a coupon", "用券明细数"),
    ("purchase", "coupon_match_discount"): _money("was given", "as coupon match", "商家加码抵扣"),
    ("coupon_redeem", ""): _units("redeemed", "coupons", "核销次数", "last redeemed a coupon"),
    ("campaign_exposure", ""): _units("got", "campaigns", "收到活动数", "last got a campaign"),
    ("view", ""): _units("opened", "pages", "浏览次数", "last opened a page"),
    ("view", "dwell_s"): _units("spent", "seconds on pages", "停留秒数"),
    ("search", ""): _often("searched", "did not search", "搜索次数", "last searched"),
    ("click", ""): _units("clicked", "items in lists", "点击次数"),
    ("cart", ""): _often("changed the cart", "did not change the cart", "加减购次数", "last changed the cart"),
    ("feedback", ""): _units("gave", "answers", "反馈次数", "last gave an answer"),
}
# Sums whose count is told otherwise.
SUMS = {
    ("payment", "coupon_discount"): _money("saved", "by coupons", "优惠券抵扣"),
    ("purchase", "coupon_discount"): _money("saved", "by coupons on lines", "明细优惠券抵扣"),
}


def deed_of(table: str, column: str, function: str) -> Deed | None:
    """Return how a function of a column is told; None if by its label."""
    special = SUMS.get((table, column)) if function == "sum" else None
    return special or DEEDS.get((table, column))
