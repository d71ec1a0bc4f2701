"""What events and their columns are called, in English and in Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from serving.console.words import Words

ORDER = "order"

KINDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        ORDER: ("Order", "订单"),
        "view": ("Page view", "浏览"),
        "search": ("Search", "搜索"),
        "click": ("Click", "点击"),
        "cart": ("Cart", "购物车"),
        "wishlist": ("Wish list", "收藏"),
        "login": ("Login", "登录"),
        "purchase": ("Purchase", "购买"),
        "payment": ("Payment", "支付"),
        "return": ("Return", "退货"),
        "campaign_exposure": ("Campaign", "营销活动"),
        "coupon_redeem": ("Coupon redeemed", "优惠券核销"),
        "ad_impression": ("Advertisement shown", "广告曝光"),
        "ad_click": ("Advertisement clicked", "广告点击"),
        "recommendation_shown": ("Recommendation shown", "推荐曝光"),
        "feedback": ("Answer", "反馈"),
        "experiment_exposure": ("Experiment", "实验曝光"),
        "review": ("Review", "评价"),
        "complaint": ("Complaint", "投诉"),
        "survey": ("Survey", "问卷"),
        "follow": ("Follow", "关注"),
        "support": ("Service desk", "客服"),
        "consent": ("Consent", "授权"),
    }
)

# Columns by their Chinese; the English is the column's name.
COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "session_id": "会话",
        "device": "设备",
        "region": "地区",
        "item_id": "商品",
        "category": "品类",
        "brand": "品牌",
        "price": "单价",
        "dwell_s": "停留秒数",
        "query": "搜索词",
        "results": "结果数",
        "source": "来源",
        "position": "位置",
        "action": "动作",
        "quantity": "数量",
        "method": "方式",
        "succeeded": "成功",
        "order_id": "订单号",
        "department": "部门",
        "manufacturer_id": "厂商",
        "store_id": "门店",
        "volume": "容量",
        "amount": "金额",
        "list_amount": "原价",
        "retail_discount": "会员优惠",
        "coupon_discount": "优惠券抵扣",
        "coupon_match_discount": "商家加码抵扣",
        "campaign_id": "活动",
        "lines": "明细数",
        "items": "件数",
        "categories": "品类数",
        "coupon_lines": "用券明细数",
        "reason": "原因",
        "campaign_type": "活动类型",
        "channel": "渠道",
        "starts_at": "开始",
        "ends_at": "结束",
        "coupon_id": "优惠券",
        "ad_id": "广告",
        "placement": "展示位",
        "cost": "费用",
        "recommendation_id": "推荐列表",
        "score": "得分",
        "model": "模型",
        "model_version": "模型版本",
        "experiment": "实验",
        "variant": "变体",
        "value": "取值",
        "rating": "评分",
        "length": "字数",
        "text": "内容",
        "topic": "主题",
        "severity": "严重程度",
        "survey": "问卷",
        "question": "问题",
        "answer": "回答",
        "target_kind": "关注类型",
        "target_id": "关注对象",
        "ticket_id": "工单",
        "wait_s": "等待秒数",
        "solved": "已解决",
        "purpose": "用途",
        "granted": "同意",
    }
)


def kind_word(kind: str, words: Words) -> str:
    """Return what an event type is called.

    >>> kind_word("coupon_redeem", Words("zh")), kind_word("future_kind", Words("zh"))
    ('优惠券核销', 'future kind')
    """
    return words.of(*KINDS.get(kind, (kind.replace("_", " "), "")))


def column_word(column: str, words: Words) -> str:
    """Return what a column is called.

    >>> column_word("store_id", Words("en")), column_word("store_id", Words("zh"))
    ('store', '门店')
    """
    return words.of(column.removesuffix("_id").replace("_", " "), COLUMNS.get(column, ""))
