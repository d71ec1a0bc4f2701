"""``POST /v1/recommend``: items for a shopper, each with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from pydantic_core import from_json, to_json

from feature_repo.core.errors import DataError
from serving.http.access import Access
from serving.http.bodies import body_of, known_names, object_of
from serving.http.failures import responses
from serving.http.keys import READ
from serving.recommending.wish import MOST, MOST_UNAVAILABLE
from serving.sdk import ProfileClient

_LIKE = '{"user": "2375", "k": 10, "context": {"store": "330"}}'
_CONTEXT = {
    "store": {"type": ["string", "null"]},
    "category": {"type": ["string", "null"]},
    "unavailable": {"type": ["array", "null"], "items": {"type": "string"}, "maxItems": MOST_UNAVAILABLE},
}
_BODY = {
    "type": "object",
    "properties": {
        "user": {"type": ["string", "integer"]},
        "k": {"type": "integer", "minimum": 1, "maximum": MOST},
        "context": {"type": ["object", "null"], "properties": _CONTEXT, "additionalProperties": False},
    },
    "required": ["user"],
    "additionalProperties": False,
}


class RecommendedShown(BaseModel):
    """One item of a list."""

    item_id: str
    category: str
    score: float
    kind: str
    reason: str
    zh: str
    bought: bool


class RecommendationsShown(BaseModel):
    """A list for one shopper, the best first; ``history_as_of`` is null if nothing is known of the shopper."""

    user_id: str
    recommendation_id: str
    model: str
    features_as_of: datetime
    history_as_of: datetime | None
    items: list[RecommendedShown]


def recommend_router(client: ProfileClient, access: Access) -> APIRouter:
    """Return the route, for keys that may read."""
    router = APIRouter(prefix="/v1", tags=["recommendations"], dependencies=[Depends(access.needs(READ))])

    @router.post(
        "/recommend",
        response_model=RecommendationsShown,
        responses=responses(401, 403, 404, 413, 415, 422, 429, 503),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _BODY, "example": from_json(_LIKE)}},
            }
        },
        summary="Recommend items",
    )
    async def recommend(request: Request) -> Response:
        said = object_of(await body_of(request), like=_LIKE)
        found = await run_in_threadpool(lambda: _recommend(client, said))
        return Response(found, media_type="application/json")

    return router


def _recommend(client: ProfileClient, said: dict[str, Any]) -> bytes:
    known_names(said, ("user", "k", "context"), like=_LIKE)
    user, context = said.get("user"), said.get("context")
    if not isinstance(user, str | int) or isinstance(user, bool):
        raise DataError("The request has no 'user'.", hint=f"send {_LIKE}.")
    if context is not None and not isinstance(context, Mapping):
        raise DataError("'context' is no object.", hint=f"send {_LIKE}.")
    return to_json(asdict(client.recommend(user, k=said.get("k", 10), context=context)), inf_nan_mode="null")
