"""What shoppers allowed: one row per shopper and purpose, the last that was said."""

from datetime import timedelta

from feast import FeatureService, FeatureView, Field
from feast.types import Bool

from feature_repo.definitions.entities import purpose, user
from feature_repo.definitions.sources import consents

user_consent = FeatureView(
    name="user_consent",
    entities=[user, purpose],
    source=consents,
    ttl=timedelta(0),
    schema=[
        Field(
            name="granted",
            dtype=Bool,
            description="True for allowed, False for withdrawn; NULL if nothing was said.",
            tags={"zh": "是否同意"},
        )
    ],
    description="Whether a shopper allowed a use of the data, by the last event.",
    tags={"zh": "顾客对各用途的授权"},
    owner="privacy",
)

consent_v1 = FeatureService(
    name="consent_v1",
    features=[user_consent],
    description="What may a shopper's data be used for?",
    tags={"zh": "顾客数据的授权用途"},
    owner="privacy",
)
