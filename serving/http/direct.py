"""The way to the routes that are asked the most: past what the framework does for each request, to the same functions.

FastAPI describes these routes; on the way to them it would pass six middlewares, match every route, make a stack of
contexts and look for dependencies anew for each request, which takes longer than what is asked of Redis for one
shopper. What a request may be, what it is answered, and what an error says is the same on both ways: it is the same
functions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from feature_repo.core.errors import PortraitError
from serving.http.failures import broken, turned_away
from serving.http.metrics import Asgi, Receive, Scope, Send

Check = Callable[[Request], Awaitable[None]]
Endpoint = Callable[[Request], Awaitable[Response]]
Explained = Callable[[Request, Exception], Awaitable[Response]]


@dataclass(frozen=True)
class _Route:
    """What the metrics call a request by."""

    path: str
    endpoint: Endpoint


class Direct:
    """An application in which some routes are answered directly.

    Parameters
    ----------
    app
        Answers everything else.
    router
        Of routes that are asked by POST, whose functions take the request and nothing else.
    check
        Lets a request in, or raises.
    explained
        Answers an error of the platform.
    """

    def __init__(self, app: Asgi, router: APIRouter, check: Check, explained: Explained) -> None:
        self._app, self._check, self._explained = app, check, explained
        self._routes: Mapping[str, _Route] = {
            each.path: _Route(each.path, each.endpoint) for each in router.routes if isinstance(each, APIRoute)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        request = Request(scope, receive)
        try:
            response = await self._answer(request, route.endpoint)
        except Exception as error:
            await (await broken(request, error))(scope, receive, send)
            raise  # the server writes it to its log
        await response(scope, receive, send)

    async def _answer(self, request: Request, endpoint: Endpoint) -> Response:
        try:
            await self._check(request)
            return await endpoint(request)
        except PortraitError as error:
            return await self._explained(request, error)
        except HTTPException as error:
            return await turned_away(request, error)
