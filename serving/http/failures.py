"""What a request that was not done says, and with which status."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from feature_repo.core.errors import (
    BufferFullError,
    DataError,
    DeclarationError,
    LogError,
    ModelUnavailableError,
    NotMaterializedError,
    PortraitError,
    RoleLackingError,
    StoreUnavailableError,
    TooManyRequestsError,
    UnknownKeyError,
)
from feature_repo.events.stream.collector import Rejected
from serving.http.logs import tell
from serving.http.places import without_places

_RETRY_AFTER_S = 1.0


class Rejection(BaseModel):
    """An event that was not taken: its place in the request, a countable reason, and what to do."""

    index: int
    reason: str
    message: str


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


class TooLargeError(DataError):
    """A request is over a bound."""


class NotJsonError(DataError):
    """A request says that it is something else."""


# The first that fits an error decides; the others are faults of ours.
_STATUS: dict[type[PortraitError], int] = {
    UnknownKeyError: 401,
    RoleLackingError: 403,
    TooManyRequestsError: 429,
    BufferFullError: 429,
    StoreUnavailableError: 503,
    NotMaterializedError: 503,
    ModelUnavailableError: 503,
    LogError: 503,
    TooLargeError: 413,
    NotJsonError: 415,
    DeclarationError: 404,
    DataError: 422,
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what FastAPI documents of the statuses of failures."""
    return {status: {"model": Failed} for status in statuses}


def explaining(home: Path) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    """Return what answers an error of the platform; it repeats neither what a request said nor where a home is."""

    async def explained(_: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, PortraitError):
            raise error
        return _explained(error, home)

    return explained


def _explained(error: PortraitError, home: Path) -> JSONResponse:
    tell(error=type(error).__name__)
    name = DataError.__name__ if isinstance(error, (TooLargeError, NotJsonError)) else type(error).__name__
    what, hint = (without_places(text, home) for text in (error.what, error.hint))
    said: dict[str, Any] = {"error": {"type": name, "what": what, "hint": hint}}
    headers: dict[str, str] = {}
    if isinstance(error, BufferFullError):
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
        said |= {
            "accepted": error.accepted,
            "retry_after_s": error.retry_after_s,
            "rejected": shown(error.rejected),
        }
    elif isinstance(error, TooManyRequestsError):
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
        said["retry_after_s"] = error.retry_after_s
    elif isinstance(error, UnknownKeyError):
        headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(error, StoreUnavailableError):
        headers["Retry-After"] = str(math.ceil(_RETRY_AFTER_S))
    return JSONResponse(said, status_code=_status(error), headers=headers)


async def turned_away(_: Request, error: Exception) -> JSONResponse:
    """Answer what no route was found for, in the shape of an error of the platform."""
    if not isinstance(error, HTTPException):
        raise error
    what = f"{error.detail.rstrip('.')}."
    said = {"type": DataError.__name__, "what": what, "hint": "the routes are described at /docs."}
    return JSONResponse({"error": said}, status_code=error.status_code, headers=error.headers)


async def broken(_: Request, __: Exception) -> JSONResponse:
    """Answer a fault of ours; what it was is in the server's log."""
    said = {"type": PortraitError.__name__, "what": "The server failed.", "hint": "its log says why."}
    return JSONResponse({"error": said}, status_code=500)


def shown(rejected: tuple[Rejected, ...]) -> list[dict[str, Any]]:
    """Return rejected events as they are answered."""
    return [{"index": each.index, "reason": each.reason, "message": each.message} for each in rejected]


def _status(error: PortraitError) -> int:
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
