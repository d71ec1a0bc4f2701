"""HTTP in front of the platform: ``POST /v1/events`` takes what the shop's own servers saw.

Needs the extra ``serve``. Errors are ``{"error": {"type", "what", "hint"}}``, as the commands' ``--json`` prints them;
neither they nor the log repeat what a request said.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from pydantic_core import from_json
from starlette.requests import ClientDisconnect

from feature_repo.core.clock import Clock, SystemClock
from feature_repo.core.errors import BufferFullError, DataError, PortraitError, StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.events.stream.collector import Collector, Rejected, Standing

MOST_EVENTS = 1_000
MOST_BYTES = 4 << 20

_RETRY_AFTER_S = 1.0


class Rejection(BaseModel):
    """An event that was not taken: its place in the request, a countable reason, and what to do."""

    index: int
    reason: str
    message: str


class EventsTaken(BaseModel):
    """What became of the events of a request."""

    accepted: int
    rejected: list[Rejection]


class Failure(BaseModel):
    """What went wrong, and what to do."""

    type: str
    what: str
    hint: str


class Failed(BaseModel):
    """A request that was not done."""

    error: Failure


class EventsRefused(Failed):
    """The stream is full: of the events, the first ``accepted`` need not be sent again; the others were not taken."""

    accepted: int
    retry_after_s: float
    rejected: list[Rejection]


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


def create_app(settings: Settings, *, clock: Clock | None = None, standing: Standing | None = None) -> FastAPI:
    """Build the application; nothing is connected to before the first request.

    Parameters
    ----------
    clock
        Says when events arrive; the machine's if None.
    standing
        As in :class:`Collector`.
    """
    collector = Collector(settings, clock or SystemClock(), standing=standing)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(collector.close)

    app = FastAPI(title="Portrait", lifespan=lifespan)
    app.add_exception_handler(PortraitError, _explained)

    @app.post(
        "/v1/events",
        status_code=202,
        response_model=EventsTaken,
        responses={
            413: {"model": Failed},
            422: {"model": Failed},
            429: {"model": EventsRefused},
            503: {"model": Failed},
        },
        openapi_extra={"requestBody": _BODY},
        summary="Take events into the stream",
    )
    async def take_events(request: Request) -> dict[str, Any]:
        events = _events(await _body(request))
        taken = await run_in_threadpool(collector.collect, events)
        return {"accepted": taken.accepted, "rejected": _shown(taken.rejected)}

    return app


class _TooLargeError(DataError):
    """A request is over a bound."""


async def _body(request: Request) -> bytes:
    pieces, size = [], 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > MOST_BYTES:
                raise _TooLargeError(
                    f"The request is larger than {MOST_BYTES:,} bytes.", hint="send the events in several requests."
                )
            pieces.append(piece)
    except ClientDisconnect:
        raise HTTPException(400, "The client went away.") from None
    return b"".join(pieces)


def _events(body: bytes) -> list[Any]:
    try:
        said = from_json(body, allow_inf_nan=False)
    except ValueError:  # its message quotes the body
        raise DataError("The request is not JSON in UTF-8.", hint='send {"events": [...]}.') from None
    events = said.get("events") if isinstance(said, dict) else None
    if not isinstance(events, list) or len(said) != 1:
        raise DataError("The request is not an object with a list 'events'.", hint='send {"events": [...]}.')
    if len(events) > MOST_EVENTS:
        raise DataError(
            f"The request has {len(events):,} events, more than {MOST_EVENTS:,}.",
            hint="send the events in several requests.",
        )
    return events


async def _explained(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, PortraitError):
        raise error
    name = next(kind.__name__ for kind in type(error).__mro__ if not kind.__name__.startswith("_"))
    said: dict[str, Any] = {"error": {"type": name, "what": error.what, "hint": error.hint}}
    headers: dict[str, str] = {}
    if isinstance(error, BufferFullError):
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
        said |= {
            "accepted": error.accepted,
            "retry_after_s": error.retry_after_s,
            "rejected": _shown(error.rejected),
        }
    elif isinstance(error, StoreUnavailableError):
        headers["Retry-After"] = str(math.ceil(_RETRY_AFTER_S))
    return JSONResponse(said, status_code=_status(error), headers=headers)


def _status(error: PortraitError) -> int:
    known = {BufferFullError: 429, StoreUnavailableError: 503, _TooLargeError: 413, DataError: 422}
    return next((status for kind, status in known.items() if isinstance(error, kind)), 500)


def _shown(rejected: tuple[Rejected, ...]) -> list[dict[str, Any]]:
    return [{"index": each.index, "reason": each.reason, "message": each.message} for each in rejected]
