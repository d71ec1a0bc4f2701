"""Where jobs place shoppers, written back as ordinary facts with history: features like any other."""

from datetime import timedelta

from feast import FeatureService, FeatureView, Field
from feast.types import Float64, PrimitiveFeastType, String

from feature_repo.definitions.entities import user
from feature_repo.definitions.purchases import user_payments
from feature_repo.definitions.segment_names import SEGMENTS, STAGES, TIERS, listed
from feature_repo.definitions.sources import segment_rows, unusual_rows


def _field(name: str, dtype: PrimitiveFeastType, english: str, chinese: str, words: str = "") -> Field:
    tags = {"zh": chinese} | ({"words": words} if words else {})
    return Field(name=name, dtype=dtype, description=english, tags=tags)


user_segments = FeatureView(
    name="user_segments",
    entities=[user],
    source=segment_rows,
    ttl=timedelta(0),
    schema=[
        _field(
            "segment", String, "Segment by recency, frequency and money.", "按近度、频度、金额分群", listed(SEGMENTS)
        ),
        _field("stage", String, "Stage of life as a shopper.", "生命周期阶段", listed(STAGES)),
        _field("distance", Float64, "Distance from the segment's middle, standard deviations.", "距分群中心的距离"),
        _field("strength", Float64, "0 on the border to the next segment, 1 in the middle.", "归属强度（0 到 1）"),
        _field("model_version", String, "Version of the model that placed the shopper.", "分群模型版本"),
    ],
    description="Segment and stage of life, as `portrait segments assign` last wrote them.",
    tags={"zh": "顾客分群与生命周期阶段", "dimension": "lifecycle"},
    owner="marketing",
)

user_unusual = FeatureView(
    name="user_unusual",
    entities=[user],
    source=unusual_rows,
    ttl=timedelta(days=35),  # who buys nothing is not scored anew, and must not stay unusual for ever
    schema=[
        _field("score", Float64, "Share of shoppers who were less unusual at the fit.", "异常程度分位（0 到 1）"),
        _field("tier", String, "How unusual: usual, notable, unusual, very_unusual.", "异常等级", listed(TIERS)),
        _field("response", String, "What the tier asks for.", "建议的处理方式"),
        _field("reasons", String, "Rules that applied, by name; NULL if none.", "触发的规则"),
        _field("model_version", String, "Version of the model that scored the shopper.", "异常模型版本"),
    ],
    description="How unusual a shopper's behaviour is, and why; unusual is no accusation.",
    tags={"zh": "顾客行为的异常程度及原因（异常不等于违规）", "dimension": "risk"},
    owner="risk",
)

segments_v1 = FeatureService(
    name="segments_v1",
    features=[user_payments[["days_since", "count_28d", "count_84d", "count_182d", "amount_sum_84d"]]],
    description="What segments and stages of life are told by: recency, frequency, money.",
    tags={"zh": "分群与生命周期的依据：最近一次、频次、金额"},
    owner="marketing",
)

standing_v1 = FeatureService(
    name="standing_v1",
    features=[user_segments],
    description="Which segment and stage is a shopper in?",
    tags={"zh": "顾客所处的分群与阶段"},
    owner="marketing",
)

risk_v1 = FeatureService(
    name="risk_v1",
    features=[user_unusual],
    description="Is a shopper's behaviour unusual, and why?",
    tags={"zh": "顾客行为是否异常及其原因"},
    owner="risk",
)
