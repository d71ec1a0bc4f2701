"""The words of segments, stages, and tiers of unusual behaviour, in English and Chinese. No word accuses anybody."""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    """What a word of the log says to a reader."""

    english: str
    chinese: str
    meaning: str


SEGMENTS = {
    "champions": Words("Champions", "核心顾客", "come most often, came lately, and spend most"),
    "frequent": Words("Frequent", "高频顾客", "come often, with baskets of ordinary worth"),
    "loyal": Words("Loyal", "忠诚顾客", "come and spend more than most, if not in the last days"),
    "promising": Words("Promising", "潜力顾客", "came lately, with visits and spend like most"),
    "occasional": Words("Occasional", "偶尔光顾", "come now and then, for little"),
    "fading": Words("Fading", "渐行渐远", "spent well, and have not come for longer than most"),
    "at_risk": Words("At risk", "流失风险", "came seldom, and not for weeks"),
    "hibernating": Words("Hibernating", "沉睡顾客", "have all but stopped coming"),
    "others": Words("Others", "其他", "unlike any segment"),
}

STAGES = {
    "new": Words("New", "新客", "came for the first time"),
    "active": Words("Active", "活跃", "came lately"),
    "slipping": Words("Slipping", "下滑", "have not come for weeks"),
    "dormant": Words("Dormant", "沉默", "have not come for months"),
    "returned": Words("Returned", "回流", "came back after months"),
}

TIERS = {
    "usual": Words("Usual", "正常", "like others"),
    "notable": Words("Notable", "值得留意", "rarer than most"),
    "unusual": Words("Unusual", "异常", "rare, and with a reason at hand"),
    "very_unusual": Words("Very unusual", "高度异常", "among the rarest, for more than one reason"),
}


def listed(words: dict[str, Words]) -> str:
    """All words in one line, each with its Chinese.

    >>> listed({"new": STAGES["new"], "active": STAGES["active"]})
    'new 新客, active 活跃'
    """
    return ", ".join(f"{name} {each.chinese}" for name, each in words.items())
