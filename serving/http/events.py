"""``POST /v1/events``: takes what the shop's own servers saw into the stream."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from feature_repo.core.errors import DataError
from feature_repo.events.stream.collector import Collector
from serving.http.access import Access
from serving.http.bodies import body_of, listed, object_of
from serving.http.failures import EventsRefused, Rejection, responses, shown
from serving.http.keys import WRITE

MOST_EVENTS = 1_000

_LIKE = '{"events": [...]}'
_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["events"],
                "properties": {
                    "events": {
                        "type": "array",
                        "maxItems": MOST_EVENTS,
                        "items": {
                            "type": "object",
                            "required": ["event_type"],
                            "properties": {"event_type": {"type": "string"}},
                        },
                    }
                },
            },
            "example": {"events": [{"event_type": "purchase", "user_id": "2375", "item_id": "995242", "amount": 3.49}]},
        }
    },
}


class EventsTaken(BaseModel):
    """What became of the events of a request."""

    accepted: int
    rejected: list[Rejection]


def events_router(collector: Collector, access: Access) -> APIRouter:
    """Return the route that gives events to a collector, for keys that may write."""
    router = APIRouter(prefix="/v1", tags=["events"], dependencies=[Depends(access.needs(WRITE))])

    @router.post(
        "/events",
        status_code=202,
        response_model=EventsTaken,
        responses={**responses(401, 403, 413, 415, 422, 503), 429: {"model": EventsRefused}},
        openapi_extra={"requestBody": _BODY},
        summary="Take events into the stream",
    )
    async def take_events(request: Request) -> dict[str, Any]:
        events = _events(await body_of(request))
        taken = await run_in_threadpool(collector.collect, events)
        return {"accepted": taken.accepted, "rejected": shown(taken.rejected)}

    return router


def _events(body: bytes) -> list[Any]:
    said = object_of(body, like=_LIKE)
    events = listed(said, "events", most=MOST_EVENTS, like=_LIKE)
    if len(said) != 1:
        raise DataError("The request says more than 'events'.", hint=f"send {_LIKE}.")
    return events
