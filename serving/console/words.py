"""What the console says, in English and in Chinese: one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

# Key -> English, Chinese. What is in braces is filled in, and is the same in both.
WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "shopper": ("Shopper", "顾客"),
        "features": ("Features", "特征"),
        "models": ("Models", "模型"),
        "language": ("Language", "语言"),
        "page": ("Page", "页面"),
        "part": ("Part", "内容"),
        "read_only": ("Read-only. All times are UTC.", "只读。时间均为 UTC。"),
        "loading": ("Reading ...", "读取中……"),
        "fault": ("Portrait failed", "Portrait 出错"),
        "fault_hint": (
            "This is a fault of Portrait's, not yours: {kind}. The console's own output says more.",
            "这是 Portrait 的错误，不是您的错误：{kind}。详情见控制台进程的输出。",
        ),
        # Whose page
        "search": ("Id or pseudonym of a shopper", "顾客编号或化名"),
        "search_help": (
            "An id as your systems write it becomes a pseudonym before anything else happens; the id is kept nowhere.",
            "编号会先转换为化名，原编号不会保存，也不会出现在网址中。",
        ),
        "show": ("Show", "查看"),
        "nobody": (
            "Type an id or a pseudonym to see a shopper's portrait.",
            "请输入顾客编号或化名以查看画像。",
        ),
        "raw_in_address": (
            "The address names a shopper by what is no pseudonym. Ids do not belong there: type it into the field.",
            "网址中的顾客标识不是化名。真实编号不应出现在网址中，请在输入框中输入。",
        ),
        "erased": (
            "This person was erased: nothing is known, and nothing will be.",
            "此人的数据已被删除：没有任何记录，今后也不会有。",
        ),
        "never_seen": (
            "Never seen: no event of this shopper is known. What follows are the values of a shopper without events.",
            "未知顾客：没有任何事件记录。以下是没有事件的顾客的取值。",
        ),
        "degraded": (
            "Redis does not answer: this is what was last known, as of {at}.",
            "Redis 无响应：以下为最后已知的数据，截至 {at}。",
        ),
        "last_event": ("Last event", "最近事件"),
        "no_last_event": ("none in the windows", "窗口内没有"),
        "read_at": ("Read", "读取时间"),
        "segment": ("Segment", "分群"),
        "stage": ("Stage of life", "生命周期阶段"),
        "not_placed": ("not placed yet", "尚未分群"),
        "placed": ("placed {at}", "分群于 {at}"),
        # Consent
        "consent": ("May be used for", "允许的用途"),
        "purpose.service": ("service", "履约与客服"),
        "purpose.personalisation": ("personalisation", "个性化推荐"),
        "purpose.marketing": ("marketing", "营销触达"),
        "purpose.risk": ("risk", "风险控制"),
        "permitted": ("yes", "允许"),
        "not_permitted": ("no", "不允许"),
        "said.granted": ("allowed by the shopper", "顾客已同意"),
        "said.withdrawn": ("withdrawn by the shopper", "顾客已撤回"),
        "said.nothing": ("never asked", "未曾询问"),
        "consent_unread": (
            "What the shopper allowed cannot be read, so nothing is permitted.",
            "无法读取顾客的授权，因此一律视为不允许。",
        ),
        "withheld.personalisation": (
            "Not shown: the shopper withdrew consent to personalisation.",
            "不予显示：顾客已撤回对个性化推荐的同意。",
        ),
        "withheld.risk": (
            "Not shown: the shopper withdrew consent to judgements of risk.",
            "不予显示：顾客已撤回对风险控制的同意。",
        ),
        "unread.personalisation": (
            "Not shown: whether personalisation is permitted cannot be read.",
            "不予显示：无法读取是否允许个性化推荐。",
        ),
        "unread.risk": (
            "Not shown: whether judgements of risk are permitted cannot be read.",
            "不予显示：无法读取是否允许风险控制。",
        ),
        "unasked.personalisation": (
            "For your eyes: the shopper never allowed personalisation, so this list must not be shown to them.",
            "仅供内部查看：顾客未同意个性化推荐，不得向其展示此列表。",
        ),
        "unasked.risk": (
            "For your eyes: the shopper never allowed judgements of risk, so nothing may follow from these.",
            "仅供内部查看：顾客未同意风险控制，不得据此采取措施。",
        ),
        # Portrait
        "portrait": ("Portrait", "画像"),
        "tag": ("Tag", "标签"),
        "value": ("Value", "取值"),
        "strength": ("Strength", "强度"),
        "because": ("Made of", "依据"),
        "nothing_known": ("Nothing is known.", "暂无数据。"),
        "zero_or_null": ("{count} more are zero or not known", "另有 {count} 项为零或未知"),
        "tags_unknown": ("{count} tags are not known", "{count} 个标签未知"),
        "not_known": ("not known", "未知"),
        "yes": ("yes", "是"),
        "no": ("no", "否"),
        # Timeline
        "timeline": ("Timeline", "时间线"),
        "when": ("When", "时间"),
        "what": ("What", "事件"),
        "details": ("Details", "详情"),
        "no_events": ("No event of this shopper is in the log.", "事件日志中没有该顾客的事件。"),
        "no_events_before": ("No event of this shopper is older.", "没有更早的事件。"),
        "older": ("Older events", "更早的事件"),
        "newest": ("Back to the newest", "返回最新"),
        "by_week": ("Events by week, {count} weeks", "最近 {count} 周每周事件数"),
        "week": ("Week of", "周起始"),
        "events": ("Events", "事件数"),
        # Scores
        "scores": ("Scores and reasons", "得分与原因"),
        "no_tasks": ("No model is registered for any task.", "没有已注册的任务模型。"),
        "no_tasks_hint": ("run `portrait train --all`.", "请运行 `portrait train --all`。"),
        "adds": ("Adds", "贡献"),
        "reason": ("Reason", "原因"),
        "margin": (
            "margin {margin} = base {base} and all that follows",
            "校准前 {margin} = 基准 {base} 加以下各项",
        ),
        "more_reasons": ("{count} smaller reasons", "另有 {count} 个较小的原因"),
        "by_default": ("By default: {names}", "取默认值：{names}"),
        "missing": ("Not known (NULL): {names}", "未知（NULL）：{names}"),
        "about_more": (
            "This model is about more than the shopper: ask it with `portrait explain {task} USER --about ...`.",
            "此模型不只关于顾客：请用 `portrait explain {task} USER --about ...` 查询。",
        ),
        "raises": ("raises the score", "提高得分"),
        "lowers": ("lowers the score", "降低得分"),
        # Recommendations
        "recommendations": ("Recommendations", "推荐"),
        "item": ("Item", "商品"),
        "category": ("Category", "品类"),
        "score": ("Score", "得分"),
        "bought_before": ("Bought before", "曾购买"),
        "score_orders": ("The score orders the list; it is no probability.", "得分仅用于排序，不是概率。"),
        "history_until": ("Purchases known up to {at}", "已知购买截至 {at}"),
        "no_history": ("nothing is known of what the shopper bought", "没有该顾客的购买记录"),
        "empty_list": ("The model recommends nothing.", "模型没有推荐任何商品。"),
    }
)


@dataclass(frozen=True)
class Words:
    """The table in one language, ``en`` or ``zh``.

    >>> Words("zh")("degraded", at="now"), Words("en").of("Value", "价值")
    ('Redis 无响应：以下为最后已知的数据，截至 now。', 'Value')
    """

    lang: str

    def __call__(self, key: str, **filled: object) -> str:
        """Return what is said.

        Raises
        ------
        KeyError
            The table has no such key, or something is not filled in.
        """
        return self.of(*WORDS[key]).format(**filled)

    def of(self, english: str, chinese: str) -> str:
        """Return one of two; the English where there is no Chinese."""
        return chinese if self.lang == "zh" and chinese else english
