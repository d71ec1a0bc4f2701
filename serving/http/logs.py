"""What a server tells its operator: a line on stderr for each request and each happening, as JSON or as text.

A line never holds what a request said: not its body, not its address (only which route it went to), not the id a proxy
gave it. Of an exception and of a library's warning it holds the type and where it was raised, not its message, which
may quote anything.
"""

from __future__ import annotations

import logging
import secrets
import time
import traceback
import warnings
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextvars import ContextVar
from typing import Any, TextIO

from pydantic_core import to_json

from feature_repo.core.clock import from_us

Scope = MutableMapping[str, Any]

JSON, TEXT = "json", "text"
FORMATS = (JSON, TEXT)
REQUEST_ID = b"x-request-id"

_log = logging.getLogger("portrait.requests")
_about: ContextVar[dict[str, Any] | None] = ContextVar("about", default=None)


def tell(**facts: Any) -> None:
    """Say something about the request that is answered here, for its line."""
    about = _about.get()
    if about is not None:
        about.update(facts)


def log_as(how: str | None) -> None:
    """Write what this process logs to stderr, in one of ``FORMATS``; if None, as text what goes wrong alone."""
    handler = logging.StreamHandler()
    handler.setFormatter(Lines(how or TEXT))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("portrait").setLevel(logging.INFO if how else logging.WARNING)
    warnings.showwarning = _tell_of_warning


class Lines(logging.Formatter):
    """One line for each record.

    >>> record = logging.makeLogRecord({"msg": "Redis is away.", "levelname": "WARNING", "created": 0.5})
    >>> print(Lines("json").format(record))
    {"time":"1970-01-01T00:00:00.500000Z","level":"warning","message":"Redis is away."}
    >>> print(Lines("text").format(record))
    1970-01-01T00:00:00.500000Z warning Redis is away.
    """

    def __init__(self, how: str) -> None:
        super().__init__()
        self._write = _as_json if how == JSON else _as_text

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        at = from_us(int(record.created * 1e6)).replace(tzinfo=None)
        facts: dict[str, Any] = {
            "time": f"{at.isoformat(timespec='microseconds')}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        facts |= getattr(record, "facts", {})
        if record.exc_info and record.exc_info[1] is not None:
            facts |= {"exception": type(record.exc_info[1]).__name__, "raised": list(_frames(record.exc_info[1]))}
        return self._write(facts)


class Logged:
    """An application whose requests are logged when they are answered; each answer names its request's id."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        """Answer a request as the application does."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        about: dict[str, Any] = {"status": 500, "request_id": secrets.token_hex(8)}
        _about.set(about)
        began = time.perf_counter()

        async def noting(message: Any) -> None:
            if message["type"] == "http.response.start":
                about["status"] = message["status"]
                message["headers"] = [*message.get("headers", ()), (REQUEST_ID, about["request_id"].encode())]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._write(scope, about, (time.perf_counter() - began) * 1e3)

    def _write(self, scope: Scope, about: dict[str, Any], took_ms: float) -> None:
        # Addresses that are no route may hold anything.
        route = getattr(scope.get("route"), "path", "none")
        facts = {"method": scope["method"], "route": route, "ms": round(took_ms, 3), **about}
        level = logging.ERROR if about["status"] == 500 else logging.INFO  # noqa: PLR2004 - HTTP's own
        _log.log(level, "request", extra={"facts": facts})


def _tell_of_warning(
    message: Warning | str,  # noqa: ARG001 - may quote anything
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - stderr
    line: str | None = None,  # noqa: ARG001
) -> None:
    facts = {"warning": category.__name__, "raised": [f"{filename}:{lineno}"]}
    logging.getLogger("py.warnings").warning("a library warns", extra={"facts": facts})


def _frames(error: BaseException) -> Iterator[str]:
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"{frame.filename}:{frame.lineno} {frame.name}"


def _as_json(facts: dict[str, Any]) -> str:
    return to_json(facts, fallback=lambda value: type(value).__name__).decode()


def _as_text(facts: dict[str, Any]) -> str:
    time_, level, message, *rest = facts
    more = [f"{name}={facts[name]}" for name in rest]
    return " ".join([facts[time_], facts[level], " ".join(str(facts[message]).split("\n")), *more])
