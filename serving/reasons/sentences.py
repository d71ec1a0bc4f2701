"""Sentences about values, by plain rules: what is compared with what, and how it is said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from feature_repo.core.clock import DAY, HOUR, MINUTE
from serving.reasons.deeds import Deed

_TIMES = 10  # from so many times as much on, per cent are hard to read
_NOISE = 1e-9
_UNITS = ((DAY, "day", "天"), (HOUR, "hour", "小时"), (MINUTE, "minute", "分钟"))
_WINDOW = re.compile(r"\b(\d+)([dhm])\b")
_AT_END = re.compile(r",? (in|within) \d+[dhm]\.?$")
_ZH_WINDOW = re.compile(r"^近\d+(天|小时|分钟)")
_WORDS = {"d": "day", "h": "hour", "m": "minute"}


@dataclass(frozen=True)
class Said:
    """A sentence in English and in Chinese."""

    english: str
    chinese: str

    def about(self, about: Mapping[str, str]) -> Said:
        """Return the sentence about something of the shopper's: a category, an item."""
        if not about:
            return self
        what = ", ".join(about.values())
        return Said(f"Of {what}: {self.english[0].lower()}{self.english[1:]}", f"{what}：{self.chinese}")


@dataclass(frozen=True)
class Windowed:
    """A count or a sum over a window (us); ``value`` is None where it is not known."""

    window: int
    value: float | None


def compared(deed: Deed, short: Windowed, long: Windowed) -> Said:
    """Say how much of a count or sum of nested windows falls into the shorter one, against what was before it.

    >>> spend = Deed("spent {less} {per}", "spent {value}", "spent nothing", "消费金额")
    >>> compared(spend, Windowed(28 * DAY, 38.0), Windowed(84 * DAY, 238.0))
    Said(english='Spent 62% less per day in the last 28 days than in the 56 days before', \
chinese='近28天的日均消费金额比此前56天少62%')
    """
    if short.value is None or long.value is None:
        return told(deed, long)
    recent, earlier, stretch = short.value, long.value - short.value, long.window - short.window
    noise = _NOISE * max(1.0, abs(long.value))
    if min(recent, earlier) < -noise or long.value <= noise:
        return told(deed, long)
    if recent <= noise or earlier <= noise:
        return _all_in_one(deed, short.window, recent if recent > noise else 0, stretch, earlier)
    ratio = (recent / short.window) / (earlier / stretch)
    words, link, zh = _change(ratio)
    whole_days = not (short.window % DAY or stretch % DAY)
    unit, zh_rate = ("day", "日均") if whole_days else ("hour", "每小时")
    said = deed.compared.format(**words, per=f"per {unit}")
    return Said(
        _sentence(f"{said} in the last {length(short.window)} {link} in the {length(stretch)} before"),
        f"近{zh_length(short.window)}的{zh_rate}{deed.zh}比此前{zh_length(stretch)}{zh}",
    )


def told(deed: Deed, found: Windowed) -> Said:
    """Say a count or sum of one window.

    >>> visits = Deed("came {often}", "came {value} times", "did not come", "到店次数")
    >>> told(visits, Windowed(7 * DAY, 1)).english, told(visits, Windowed(DAY, 0)).english
    ('Came 1 time in the last 7 days', 'Did not come in the last 1 day')
    """
    zh = f"近{zh_length(found.window)}{deed.zh}"
    if found.value is None:
        return Said(_sentence(f"{_bare(deed)} in the last {length(found.window)}: not known"), f"{zh}：未知")
    if not found.value:
        return Said(_sentence(f"{deed.nothing} in the last {length(found.window)}"), f"{zh}为0")
    said = _singular(deed.told.format(value=number(found.value)), found.value)
    return Said(_sentence(f"{said} in the last {length(found.window)}"), f"{zh}为{number(found.value)}")


def since(deed: Deed, days: float | None, reach: int) -> Said:
    """Say how long ago the last event was; ``reach`` (us) is how far back it was looked for.

    >>> since(Deed("", "", "did not come", "到店次数", "last came"), 12.4, 364 * DAY).english
    'Last came 12 days ago'
    """
    what = deed.zh.removesuffix("次数").removesuffix("数")
    if days is None:
        return Said(_sentence(f"{deed.nothing} in the last {length(reach)}"), f"近{zh_length(reach)}未{what}")
    if days < 1:
        hours = int(days * 24)
        ago = "less than an hour ago" if not hours else f"{hours} hour{'s' * (hours != 1)} ago"
        return Said(
            _sentence(f"{deed.last} {ago}"), f"最近一次{what}在{hours}小时前" if hours else f"最近一次{what}在1小时内"
        )
    whole = int(days)
    return Said(_sentence(f"{deed.last} {whole} day{'s' * (whole != 1)} ago"), f"最近一次{what}在{whole}天前")


def stated(description: str, zh: str, value: Any, *, share: bool = False) -> Said:
    """Say a value by its label.

    >>> stated("Mean spend of one visit in 84d.", "近84天单次到店平均消费金额", 31.2).english
    'Mean spend of one visit in 84 days: 31.20'
    """
    shown = number(value, share=share)
    return Said(f"{spoken(description)}: {shown}", f"{zh or spoken(description)}：{'未知' if value is None else shown}")


def by_label(description: str, zh: str) -> Deed:
    """Return how counts and sums are told that have no words of their own.

    >>> by_label("Number of visits with coupon discount in 84d.", "近84天有优惠券抵扣的到店次数").compared
    'number of visits with coupon discount: {less} {per}'
    """
    noun = _AT_END.sub("", description).rstrip(".")
    noun = noun[:1].lower() + noun[1:]
    escaped = noun.replace("{", "{{").replace("}", "}}")
    return Deed(
        f"{escaped}: {{less}} {{per}}", f"{escaped}: {{value}}", f"{noun}: none", _ZH_WINDOW.sub("", zh) or noun
    )


def spoken(description: str) -> str:
    """Return a label with its window in words.

    >>> spoken("Number of visits in 84d.")
    'Number of visits in 84 days'
    """
    return _WINDOW.sub(lambda m: f"{m[1]} {_WORDS[m[2]]}{'s' * (m[1] != '1')}", description.rstrip("."))


def length(us: int) -> str:
    """Return a length of time in its largest whole unit.

    >>> length(28 * DAY), length(HOUR)
    ('28 days', '1 hour')
    """
    unit, word, _ = next(each for each in _UNITS if us % each[0] == 0 or each[0] == MINUTE)
    return f"{us // unit} {word}{'s' * (us // unit != 1)}"


def zh_length(us: int) -> str:
    """Return the same in Chinese.

    >>> zh_length(28 * DAY)
    '28天'
    """
    unit, _, word = next(each for each in _UNITS if us % each[0] == 0 or each[0] == MINUTE)
    return f"{us // unit}{word}"


def number(value: Any, *, share: bool = False) -> str:
    """Return a value as text; a share in per cent.

    >>> number(1234.5), number(7), number(0.254, share=True), number(None)
    ('1,234.50', '7', '25%', 'not known')
    """
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    if share and isinstance(value, float):
        return f"{value:.0%}"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() else f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _all_in_one(deed: Deed, window: int, recent: float, stretch: int, earlier: float) -> Said:
    """Say that all of it falls into one of the two stretches."""
    lately, before = f"in the last {length(window)}", f"in the {length(stretch)} before"
    zh, zh_before = f"近{zh_length(window)}{deed.zh}", f"此前{zh_length(stretch)}"
    if recent:
        said = _singular(deed.told.format(value=number(recent)), recent)
        return Said(_sentence(f"{said} {lately}, after nothing {before}"), f"{zh}为{number(recent)}，{zh_before}为0")
    amount = number(earlier)
    return Said(_sentence(f"{deed.nothing} {lately}, after {amount} {before}"), f"{zh}为0，{zh_before}为{amount}")


def _change(ratio: float) -> tuple[dict[str, str], str, str]:
    """Words for a ratio of rates: those of amounts, of numbers and of frequencies; what links; Chinese."""
    percent = round(100 * abs(1 - ratio))
    if ratio >= _TIMES:
        times = f"{ratio:.0f} times as"
        return (
            {"less": f"{times} much", "fewer": f"{times} many", "often": f"{times} often"},
            "as",
            f"多至{ratio:.0f}倍",
        )
    if not percent:
        return {"less": "as much", "fewer": "as many", "often": "as often"}, "as", "持平"
    if ratio > 1:
        more = f"{percent}% more"
        return {"less": more, "fewer": more, "often": f"{more} often"}, "than", f"多{percent}%"
    less = f"{percent}% less"
    return {"less": less, "fewer": f"{percent}% fewer", "often": f"{less} often"}, "than", f"少{percent}%"


def _bare(deed: Deed) -> str:
    return " ".join(deed.told.replace("{value}", "").split()).rstrip(":")


def _singular(text: str, value: float) -> str:
    """Make the first noun of "1 units" one.

    >>> _singular("bought 1 order lines", 1), _singular("came 1 times", 1)
    ('bought 1 order line', 'came 1 time')
    """
    return re.sub(r"\b1 ((?:order )?\w+?)s\b", r"1 \1", text) if value == 1 else text


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
