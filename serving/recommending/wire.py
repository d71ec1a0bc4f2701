"""The SDK's question for a list as a conversation with a server."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic_core import to_json

from serving.entities import USER, entity_columns
from serving.recommending.recommendation import Recommendations, Recommended
from serving.recommending.wish import Wish, checked_count
from serving.wire import Ask, Conversation


def recommend(user: Any, k: int, context: Mapping[str, Any]) -> Conversation[Recommendations]:
    """Ask for a list."""
    [named] = entity_columns([user], [USER], str)[USER]
    wish = Wish.of(context)
    said = {"store": wish.store or None, "category": wish.category or None, "unavailable": sorted(wish.unavailable)}
    found = yield Ask("/v1/recommend", to_json({"user": named, "k": checked_count(k), "context": said}))
    until = found["history_as_of"]
    return Recommendations(
        **{
            **found,
            "features_as_of": datetime.fromisoformat(found["features_as_of"]),
            "history_as_of": None if until is None else datetime.fromisoformat(until),
            "items": tuple(Recommended(**each) for each in found["items"]),
        }
    )
