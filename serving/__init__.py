"""From registry to decision: ``from serving import Event, ProfileClient``.

The public names are imported when they are first asked for, so that ``import serving`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feature_repo.privacy.consent import Consent
    from serving.models import Score, Scores
    from serving.profile import Fact, Freshness, Profile
    from serving.sdk import Features, ProfileClient
    from serving.tracking import Event

__all__ = ["Consent", "Event", "Fact", "Features", "Freshness", "Profile", "ProfileClient", "Score", "Scores"]

_HOMES = {
    "Consent": "sdk",
    "Event": "tracking",
    "Fact": "profile",
    "Features": "sdk",
    "Freshness": "profile",
    "Profile": "profile",
    "ProfileClient": "sdk",
    "Score": "models",
    "Scores": "models",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'serving' has no attribute {name!r}")
    found = getattr(import_module(f"serving.{_HOMES[name]}"), name)
    globals()[name] = found  # asked once
    return found
