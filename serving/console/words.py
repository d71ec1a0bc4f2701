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
        "score_orders": (
            "The score ranks items before the list is varied; it is no probability.",
            "得分用于列表多样化之前的排序，不是概率。",
        ),
        "history_until": ("Purchases known up to {at}", "已知购买截至 {at}"),
        "no_history": ("nothing is known of what the shopper bought", "没有该顾客的购买记录"),
        "empty_list": ("The model recommends nothing.", "模型没有推荐任何商品。"),
        # Features
        "catalogue": ("Catalogue", "目录"),
        "find": ("Find features, owners, tables, models", "查找特征、负责人、数据表、模型"),
        "found": ("{found} of {features} features", "{features} 个特征中的 {found} 个"),
        "feature": ("Feature", "特征"),
        "says": ("What it says", "含义"),
        "type": ("Type", "类型"),
        "entity": ("About", "对象"),
        "owner": ("Owner", "负责人"),
        "read_by": ("Read by", "使用的模型"),
        "freshness": ("Freshness", "新鲜度"),
        "grew": ("table grew", "数据表更新于"),
        "state.at_head": ("at the log's head (version {head})", "已同步至日志最新版本（{head}）"),
        "state.behind": (
            "holds version {held} of {head}: `portrait jobs materialize`",
            "已同步至版本 {held}，最新为 {head}：请运行 `portrait jobs materialize`",
        ),
        "state.not_built": (
            "not built yet (version {head} is there): `portrait jobs materialize`",
            "尚未构建（日志版本 {head}）：请运行 `portrait jobs materialize`",
        ),
        "state.when_asked": ("built only when asked for", "仅在需要时构建"),
        "state.made_anew": (
            "of a table that was made anew: `portrait jobs materialize`",
            "数据表已重建：请运行 `portrait jobs materialize`",
        ),
        "state.no_table": (
            "the log has no such table: `portrait features apply`",
            "日志中没有此表：请运行 `portrait features apply`",
        ),
        "state.unread": ("not known: Redis does not answer", "未知：Redis 无响应"),
        "state.on_demand": ("computed when it is read", "读取时计算"),
        "no_feature": ("There is no feature '{name}'.", "没有名为“{name}”的特征。"),
        "everybody": ("Everybody", "全体顾客"),
        "everybody_told": (
            "{count} shoppers in the snapshot of {ago} ({at})",
            "{ago}的快照（{at}）中的 {count} 位顾客",
        ),
        "training_of": ("Rows {model} was fitted on", "{model} 的训练样本"),
        "null_share": ("not known", "未知"),
        "mean": ("mean", "均值"),
        "from": ("from", "从"),
        "until": ("until", "至"),
        "no_spread": (
            "How its values are spread is not known: no snapshot holds it as a number, and no model was fitted on it.",
            "取值分布未知：快照中没有此数值特征，也没有模型用它训练。",
        ),
        "no_spread_hint": (
            "`portrait tags compute` makes a snapshot of the numbers of profile_v1.",
            "`portrait tags compute` 会生成 profile_v1 数值特征的快照。",
        ),
        # Models
        "no_models": ("No model is registered.", "没有已注册的模型。"),
        "no_versions": ("No version is registered.", "没有已注册的版本。"),
        "model": ("Model", "模型"),
        "question": ("Question", "问题"),
        "champion": ("Champion", "冠军版本"),
        "challenger": ("Challenger", "挑战版本"),
        "gates": ("Gates", "门槛"),
        "gates.passed": ("passed", "通过"),
        "gates.failed": ("failed", "未通过"),
        "figures": ("Figures, with 95% intervals", "指标（95% 区间）"),
        "trained_until": ("Trained until", "训练数据截至"),
        "aliases": ("Role", "角色"),
        "registered": ("Registered", "注册时间"),
        "reads": ("Reads", "读取"),
        "features_read": ("{count} features", "{count} 个特征"),
        "versions": ("Versions", "版本"),
        "metrics": ("Metrics", "指标"),
        "metrics_told": (
            "On test rows observed after those it was fitted on, with 95% intervals; below it what it has to beat.",
            "在训练之后的测试样本上测得；区间为 95%，按顾客重抽样。其下为需要超越的基准。",
        ),
        "beside": ("Beside the champion or challenger", "与冠军或挑战版本对比"),
        "beside_told": (
            "Each on test rows of its own: `portrait models compare A B` scores both on the same.",
            "各自在自己的测试样本上测得：`portrait models compare A B` 可在相同样本上比较。",
        ),
        "gate": ("Gate", "门槛"),
        "measured": ("Measured", "实测"),
        "holds": ("holds", "达到"),
        "fails": ("fails", "未达到"),
        "calibration": ("Calibration", "校准"),
        "no_calibration": ("No picture of calibration was drawn for this version.", "此版本没有校准图。"),
        "pictures": ("Pictures of the training", "训练图"),
        "history": ("How the roles moved", "角色变更记录"),
        "alias": ("Role", "角色"),
        "before": ("From", "原版本"),
        "after": ("To", "新版本"),
        "why": ("Why", "原因"),
        "card": ("Model card (English)", "模型卡（英文）"),
        # Fairness
        "fairness": ("Fairness", "公平性"),
        "fairness_told": (
            "The largest gap of each figure between groups, beside what chance shows in 19 of 20 random deals.",
            "各指标在群体间的最大差距，以及随机分组在 20 次中有 19 次不超过的差距。",
        ),
        "no_fairness": ("Fairness was not measured for this version.", "此版本未测量公平性。"),
        "group_is_read": ("The model reads it.", "模型使用此项。"),
        "group_is_not_read": ("The model does not read it.", "模型不使用此项。"),
        "group_unknown": ("Not known in {count} rows.", "{count} 行未知。"),
        "every_group": ("All {count} groups", "全部 {count} 个群体"),
        "group": ("Group", "群体"),
        "rows": ("Rows", "行数"),
        "shoppers": ("Shoppers", "顾客数"),
        "figure": ("Figure", "指标"),
        "highest": ("Highest", "最高"),
        "lowest": ("Lowest", "最低"),
        "gap": ("Gap", "差距"),
        "chance": ("By chance", "随机差距"),
        "beyond_chance": ("Beyond chance", "超出随机"),
        "fair.selection_rate": ("said yes", "判为是的比例"),
        "fair.tpr": ("said yes, of positives", "正例中判为是"),
        "fair.fpr": ("said yes, of others", "负例中判为是"),
        "fair.mae": ("mean error", "平均误差"),
        "fair.share": ("answer", "实际结果"),
        "fair.excess": ("score less answer", "得分减实际结果"),
        "fair.auc": ("AUC", "AUC（排序能力）"),
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

    def alias(self, name: str) -> str:
        """Return what an alias of a version is called."""
        return self(name) if name in {"champion", "challenger"} else name

    def of(self, english: str, chinese: str) -> str:
        """Return one of two; the English where there is no Chinese."""
        return chinese if self.lang == "zh" and chinese else english
