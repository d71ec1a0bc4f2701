"""The SDK's question about tags as a conversation with a server."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from serving.entities import USER, entity_columns
from serving.json_values import instant_of_text
from serving.tags.answers import ShopperTags
from serving.tags.of_json import tag_of
from serving.wire import Ask, Conversation


def tags(user: Any) -> Conversation[ShopperTags]:
    """Ask for a shopper's tags."""
    [named] = entity_columns([user], [USER], str)[USER]
    said = yield Ask("/v1/tags", to_json({"user": named}))
    return ShopperTags(
        user_id=said["user_id"],
        known=said["known"],
        tags=tuple(map(tag_of, said["tags"])),
        read_at=instant_of_text(said["read_at"]),
    )
