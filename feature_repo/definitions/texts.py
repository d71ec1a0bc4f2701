"""What a windowed feature says to a reader, in English and in Chinese, derived from what is counted and how.

A view says what its events are called; this table says what the columns are called.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

COLUMNS = {
    "session_id": ("visit", "访问"),
    "item_id": ("item", "商品"),
    "dwell_s": ("seconds on the page", "停留秒数"),
    "amount": ("spend", "消费金额"),
    "action": ("outcome", "结果"),
    "value": ("worth", "结果值"),
    "quantity": ("units", "件数"),
    "items": ("units", "件数"),
    "lines": ("order lines", "明细行数"),
    "retail_discount": ("loyalty discount", "会员折扣"),
    "coupon_discount": ("coupon discount", "优惠券抵扣"),
    "coupon_match_discount": ("coupon match", "商家加码抵扣"),
}

_CHINESE = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True)
class Noun:
    """What the events of a view are called: ``Noun("visit", "visits", "到店")``."""

    one: str
    many: str
    zh: str


Text = tuple[str, str]
Sentence = Callable[[Noun, Text, Text], Text]


def feature_text(noun: Noun, column: str, function: str, window: str) -> Text:
    """Return the sentence of a feature in English and in Chinese; ``window`` is a label such as ``28d``.

    >>> feature_text(Noun("visit", "visits", "到店"), "amount", "sum", "28d")
    ('Total spend of visits in 28d.', '近28天到店消费金额合计')
    >>> feature_text(Noun("visit", "visits", "到店"), "coupon_discount", "count", "7d")
    ('Number of visits with coupon discount in 7d.', '近7天有优惠券抵扣的到店次数')
    """
    labels = COLUMNS.get(column, (column, column))
    length = window
    for unit, word in (("d", "天"), ("h", "小时"), ("m", "分钟")):
        length = length.replace(unit, word)
    if function in _SENTENCES:
        return _SENTENCES[function](noun, labels, (window, length))
    return f"{function} of {labels[0] or noun.many} in {window}.", f"近{length}{noun.zh}{labels[1]}{function}"


def texts_of(view: Any, field: Any) -> Text:
    """Return what a field of a Feast view says in English and in Chinese, empty where it says nothing.

    An on-demand view keeps the texts of its features as tags: English, then Chinese.
    """
    both = str(view.tags.get(field.name, ""))
    found = _CHINESE.search(both)
    begin = found.start() if found else len(both)
    return field.description or both[:begin].strip(), field.tags.get("zh", "") or both[begin:]


def _having(labels: Text) -> Text:
    return (f" with {labels[0]}", f"有{labels[1]}的") if labels[0] else ("", "")


def _count(noun: Noun, column: Text, window: Text) -> Text:
    having, zh_having = _having(column)
    return f"Number of {noun.many}{having} in {window[0]}.", f"近{window[1]}{zh_having}{noun.zh}次数"


def _sum(noun: Noun, column: Text, window: Text) -> Text:
    return f"Total {column[0]} of {noun.many} in {window[0]}.", f"近{window[1]}{noun.zh}{column[1]}合计"


def _of_each(what: str, zh_what: str) -> Sentence:
    def sentence(noun: Noun, column: Text, window: Text) -> Text:
        said = f"{what} {column[0]} of one {noun.one} in {window[0]}."
        return said, f"近{window[1]}单次{noun.zh}{zh_what}{column[1]}"

    return sentence


def _last(what: str, zh_what: str) -> Sentence:
    def sentence(noun: Noun, column: Text, window: Text) -> Text:
        having, zh_having = _having(column)
        said = f"{what} the last {noun.one}{having}, within {window[0]}."
        return said, f"{zh_having}最近一次{noun.zh}{zh_what}（{window[1]}内）"

    return sentence


def _spread(noun: Noun, column: Text, window: Text) -> Text:
    said = f"Standard deviation of {column[0]} between {noun.many} in {window[0]}."
    return said, f"近{window[1]}{noun.zh}{column[1]}的标准差"


def _distinct(noun: Noun, column: Text, window: Text) -> Text:
    return (
        f"Number of different {column[0]} values of {noun.many} in {window[0]}.",
        f"近{window[1]}{noun.zh}{column[1]}种数",
    )


def _value_of_last(noun: Noun, column: Text, window: Text) -> Text:
    said = f"{column[0].capitalize()} of the last {noun.one} that has one, within {window[0]}."
    return said, f"最近一次{noun.zh}的{column[1]}（{window[1]}内）"


def _decayed(noun: Noun, column: Text, window: Text) -> Text:
    if not column[0]:
        said = f"Number of {noun.many}, each counting half as much after every {window[0]}."
        return said, f"{noun.zh}的衰减次数（半衰期{window[1]}）"
    said = f"Total {column[0]} of {noun.many}, each counting half as much after every {window[0]}."
    return said, f"{noun.zh}{column[1]}的衰减合计（半衰期{window[1]}）"


def _read_at(noun: Noun, column: Text, window: Text) -> Text:  # noqa: ARG001
    return "Instant the features are read at.", "读取特征的时刻"


_SENTENCES: dict[str, Sentence] = {
    "count": _count,
    "sum": _sum,
    "mean": _of_each("Mean", "平均"),
    "std": _spread,
    "count_distinct": _distinct,
    "last": _value_of_last,
    "decayed_sum": _decayed,
    "read_at": _read_at,
    "min": _of_each("Smallest", "最小"),
    "max": _of_each("Largest", "最大"),
    "last_event_at": _last("Time of", "的时间"),
    "days_since": _last("Days since", "距今天数"),
}
