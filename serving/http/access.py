"""Who may ask, and how often: a key in ``Authorization: Bearer``, and so many requests a second for each of them."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request

from feature_repo.core.clock import SECOND, Clock
from feature_repo.core.errors import RoleLackingError, TooManyRequestsError, UnknownKeyError
from serving.http.keys import ApiKeys
from serving.http.logs import tell

# Callers that are remembered; who was not heard of for longest is forgotten, with a full bucket.
_CALLERS = 10_000


class Access:
    """Lets requests in. Where no key was ever made, everybody may ask; who may reach the port decides then.

    Parameters
    ----------
    per_second
        Requests of one caller (a key, or an address where there are no keys), on average; as many at once. 0: any.
    """

    def __init__(self, keys: ApiKeys, clock: Clock, *, per_second: float) -> None:
        self._keys = keys
        self._buckets = Buckets(clock, per_second) if per_second else None

    def needs(self, role: str) -> Callable[[Request], Awaitable[None]]:
        """Return a dependency of routes that lets in who has a role.

        It raises ``UnknownKeyError`` (401), ``RoleLackingError`` (403) and ``TooManyRequestsError`` (429).
        """

        async def check(request: Request) -> None:
            caller = self._caller(request, role)
            if self._buckets is not None:
                self._buckets.take(caller)

        return check

    def _caller(self, request: Request, role: str) -> str:
        if not self._keys.guarding:
            return request.client.host if request.client else ""
        scheme, _, presented = request.headers.get("authorization", "").partition(" ")
        key = self._keys.holder(presented.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            raise UnknownKeyError(
                "The request has no key this server knows.",
                hint="send 'Authorization: Bearer <key>'; `portrait api-keys create` makes one.",
            )
        tell(key=key.name)
        if role not in key.roles:
            raise RoleLackingError(f"Key {key.id} may not {role}.", hint=f"ask with a key that has the role '{role}'.")
        return key.id


@dataclass
class _Bucket:
    left: float
    at: int


class Buckets:
    """Token buckets by caller: each fills by so many a second, and holds as many (at least one)."""

    def __init__(self, clock: Clock, per_second: float) -> None:
        self._clock = clock
        self._per_second = per_second
        self._most = max(1.0, per_second)
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, caller: str) -> None:
        """Take one.

        Raises
        ------
        TooManyRequestsError
            The bucket is empty; the error says when it is not.
        """
        now = self._clock.now_us()
        bucket = self._buckets.pop(caller, None) or _Bucket(self._most, now)
        bucket.left = min(self._most, bucket.left + max(0, now - bucket.at) / SECOND * self._per_second)
        bucket.at = now
        self._buckets[caller] = bucket
        while len(self._buckets) > _CALLERS:
            self._buckets.popitem(last=False)
        if bucket.left < 1:
            wait_s = (1 - bucket.left) / self._per_second
            raise TooManyRequestsError(
                f"More than {self._per_second:g} requests a second.",
                hint=f"ask again in {math.ceil(wait_s)} s; one request may ask about many shoppers.",
                retry_after_s=wait_s,
            )
        bucket.left -= 1
