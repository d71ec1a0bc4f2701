"""``POST /v1/tags``: a shopper's tags, with what they were made of.

Where evidence may be of any type, an instant is ``{"time": "..."}``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from pydantic_core import from_json

from serving.http.access import Access
from serving.http.answers import TagShown
from serving.http.bodies import body_of, json_of, known_names, object_of, user_of
from serving.http.failures import responses
from serving.http.keys import READ
from serving.sdk import ProfileClient
from serving.tags.of_json import json_of_tag

_LIKE = '{"user": "2375"}'
_SCHEMA = {"type": "object", "properties": {"user": {"type": ["string", "integer"]}}}


class ShopperTagsShown(BaseModel):
    """A shopper's tags now."""

    user_id: str
    known: bool
    tags: list[TagShown]
    read_at: datetime


def tags_router(client: ProfileClient, access: Access) -> APIRouter:
    """Return the route, for keys that may read."""
    router = APIRouter(prefix="/v1", tags=["tags"], dependencies=[Depends(access.needs(READ))])
    body = {"required": True, "content": {"application/json": {"schema": _SCHEMA, "example": from_json(_LIKE)}}}

    @router.post(
        "/tags",
        response_model=ShopperTagsShown,
        responses=responses(401, 403, 404, 413, 415, 422, 429, 503),
        openapi_extra={"requestBody": body},
        summary="Ask for tags",
        name="tags",
    )
    async def tags(request: Request) -> Response:
        said = object_of(await body_of(request), like=_LIKE)
        return Response(await run_in_threadpool(_tags, client, said), media_type="application/json")

    return router


def _tags(client: ProfileClient, said: dict[str, Any]) -> bytes:
    known_names(said, ("user",), like=_LIKE)
    found = client.tags(user_of(said, like=_LIKE))
    tags = [*map(json_of_tag, found.tags)]
    return json_of({"user_id": found.user_id, "known": found.known, "tags": tags, "read_at": found.read_at})
