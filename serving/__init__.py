"""From registry to decision: ``from serving import Event, ProfileClient``.

The public names are imported when they are first asked for, so that ``import serving`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feature_repo.privacy.consent import Consent
    from serving.async_sdk import AsyncProfileClient
    from serving.experiments.enrolment import Assignment
    from serving.experiments.experiment import Experiment, Variant
    from serving.experiments.scores import SplitScores
    from serving.features import Features
    from serving.models import Score, Scores
    from serving.profile import Fact, Freshness, Profile
    from serving.reasons.answers import Evidence, Segment, WhatIf
    from serving.reasons.explanation import Explanation, Part, Reason, Trace
    from serving.sdk import ProfileClient
    from serving.tags.answers import ShopperTags, TagEvidence, TagValue
    from serving.tracking import Event

__all__ = [
    "Assignment",
    "AsyncProfileClient",
    "Consent",
    "Event",
    "Evidence",
    "Experiment",
    "Explanation",
    "Fact",
    "Features",
    "Freshness",
    "Part",
    "Profile",
    "ProfileClient",
    "Reason",
    "Score",
    "Scores",
    "Segment",
    "ShopperTags",
    "SplitScores",
    "TagEvidence",
    "TagValue",
    "Trace",
    "Variant",
    "WhatIf",
]

_HOMES = {
    "Assignment": "experiments.enrolment",
    "AsyncProfileClient": "async_sdk",
    "Consent": "sdk",
    "Event": "tracking",
    "Evidence": "reasons.answers",
    "Experiment": "experiments.experiment",
    "Explanation": "reasons.explanation",
    "Fact": "profile",
    "Features": "features",
    "Freshness": "profile",
    "Part": "reasons.explanation",
    "Profile": "profile",
    "ProfileClient": "sdk",
    "Reason": "reasons.explanation",
    "Score": "models",
    "Scores": "models",
    "Segment": "reasons.answers",
    "ShopperTags": "tags.answers",
    "SplitScores": "experiments.scores",
    "TagEvidence": "tags.answers",
    "TagValue": "tags.answers",
    "Trace": "reasons.explanation",
    "Variant": "experiments.experiment",
    "WhatIf": "reasons.answers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'serving' has no attribute {name!r}")
    found = getattr(import_module(f"serving.{_HOMES[name]}"), name)
    globals()[name] = found  # asked once
    return found
