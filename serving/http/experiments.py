"""``POST /v1/variants``, ``/v1/feedback``: which variant shoppers get, and what became of what they were shown."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from prometheus_client import Counter
from pydantic import BaseModel
from pydantic_core import from_json, to_json

from feature_repo.core.errors import DataError
from serving.http.access import Access
from serving.http.bodies import body_of, known_names, listed, name_of, object_of
from serving.http.failures import EventsRefused, responses
from serving.http.keys import READ, WRITE
from serving.http.metrics import Metrics
from serving.http.reads import MOST_ROWS
from serving.sdk import ProfileClient

_LIKE_VARIANTS = '{"experiment": "redemption_model", "users": ["2375"]}'
_LIKE_FEEDBACK = '{"user": "2375", "outcome": "clicked", "item": "995242"}'
_TEXTS = ("outcome", "item", "campaign", "recommendation_id", "model", "event_id")


class VariantShown(BaseModel):
    """What one shopper gets."""

    user_id: str
    experiment: str
    variant: str
    enrolled: bool
    why: str


class VariantList(BaseModel):
    """Answers in the order of the question."""

    variants: list[VariantShown]


class FeedbackTaken(BaseModel):
    """What became of a feedback: 0 if it is of a person who was erased."""

    accepted: int


def experiments_router(client: ProfileClient, access: Access, metrics: Metrics) -> APIRouter:
    """Return the routes; whoever may read may ask for variants, whoever may write may send feedback."""
    client.exposures.counted_by(_counter(metrics))
    router = APIRouter(prefix="/v1", tags=["experiments"])

    @router.post(
        "/variants",
        response_model=VariantList,
        responses=responses(401, 403, 404, 413, 415, 422, 429),
        openapi_extra={"requestBody": _body(_LIKE_VARIANTS)},
        summary="Ask which variant shoppers get, and note that they meet it",
        dependencies=[Depends(access.needs(READ))],
    )
    async def variants(request: Request) -> Response:
        said = object_of(await body_of(request), like=_LIKE_VARIANTS)
        found = await run_in_threadpool(_variants, client, said)
        return Response(to_json(found), media_type="application/json")

    @router.post(
        "/feedback",
        status_code=202,
        response_model=FeedbackTaken,
        responses={**responses(401, 403, 413, 415, 422, 503), 429: {"model": EventsRefused}},
        openapi_extra={"requestBody": _body(_LIKE_FEEDBACK)},
        summary="Say what became of something that was shown or said",
        dependencies=[Depends(access.needs(WRITE))],
    )
    async def feedback(request: Request) -> dict[str, int]:
        said = object_of(await body_of(request), like=_LIKE_FEEDBACK)
        return {"accepted": await run_in_threadpool(_feedback, client, said)}

    return router


def _variants(client: ProfileClient, said: dict[str, Any]) -> dict[str, Any]:
    known_names(said, ("experiment", "users", "expose", "placement"), like=_LIKE_VARIANTS)
    users = listed(said, "users", most=MOST_ROWS, like=_LIKE_VARIANTS)
    expose, placement = said.get("expose", True), said.get("placement")
    if not isinstance(expose, bool) or not isinstance(placement, str | None):
        raise DataError("'expose' is no true or false, or 'placement' no text.", hint=f"send {_LIKE_VARIANTS}.")
    found = client.variants(users, name_of(said, "experiment", ""), expose=expose, placement=placement)
    return {"variants": [asdict(each) for each in found]}


def _feedback(client: ProfileClient, said: dict[str, Any]) -> int:
    known_names(said, ("user", "value", *_TEXTS), like=_LIKE_FEEDBACK)
    texts = {name: said[name] for name in _TEXTS if said.get(name) is not None}
    user = said.get("user")
    if "outcome" not in texts or not all(isinstance(each, str) for each in texts.values()):
        raise DataError("The request has no text 'outcome', or what is to be a text is none.", hint=_hint())
    if not isinstance(user, str | int) or isinstance(user, bool):
        raise DataError("The request has no 'user'.", hint=_hint())
    return client.feedback(user, value=said.get("value"), **texts).accepted


def _hint() -> str:
    return f"send {_LIKE_FEEDBACK}."


def _counter(metrics: Metrics) -> Any:
    found = Counter(
        "portrait_exposures", "Exposures to experiments: sent, or why not.", ("became",), registry=metrics.registry
    )
    return lambda what, number: found.labels(what).inc(number)


def _body(like: str) -> dict[str, Any]:
    example = {"schema": {"type": "object"}, "example": from_json(like)}
    return {"required": True, "content": {"application/json": example}}
