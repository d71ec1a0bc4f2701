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
    from serving.sdk import ProfileClient
    from serving.tracking import Event

__all__ = [
    "Assignment",
    "AsyncProfileClient",
    "Consent",
    "Event",
    "Experiment",
    "Fact",
    "Features",
    "Freshness",
    "Profile",
    "ProfileClient",
    "Score",
    "Scores",
    "SplitScores",
    "Variant",
]

_HOMES = {
    "Assignment": "experiments.enrolment",
    "AsyncProfileClient": "async_sdk",
    "Consent": "sdk",
    "Event": "tracking",
    "Experiment": "experiments.experiment",
    "Fact": "profile",
    "Features": "features",
    "Freshness": "profile",
    "Profile": "profile",
    "ProfileClient": "sdk",
    "Score": "models",
    "Scores": "models",
    "SplitScores": "experiments.scores",
    "Variant": "experiments.experiment",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'serving' has no attribute {name!r}")
    found = getattr(import_module(f"serving.{_HOMES[name]}"), name)
    globals()[name] = found  # asked once
    return found
