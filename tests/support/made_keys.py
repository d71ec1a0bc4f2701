"""What a process of its own does to the API keys of a home."""

from __future__ import annotations

from pathlib import Path

from feature_repo.core.clock import FixedClock
from serving.http.keys import ApiKeys


def make_one(home: Path) -> str:
    """Make a key, and return it."""
    return ApiKeys(home).make("one of many", ["read"], FixedClock(7))[1]
