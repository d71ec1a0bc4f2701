"""The SDK over HTTP: asks a server, over connections that are kept, within a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any, TypeVar

import httpx

from feature_repo.core.errors import PortraitError, SettingsError, StoreUnavailableError
from feature_repo.events.stream.collector import Collected, Said
from serving import wire
from serving.experiments.enrolment import Assignment
from serving.experiments.exposures import Exposures
from serving.experiments.scores import SplitScores
from serving.features import Features
from serving.models import Scores
from serving.profile import Profile
from serving.reasons import wire as reasons
from serving.reasons.answers import Evidence, Segment, WhatIf, Without
from serving.reasons.explanation import Explanation, Reason
from serving.recommending import wire as recommending
from serving.recommending.recommendation import Recommendations
from serving.tags import wire as tags
from serving.tags.answers import ShopperTags
from serving.wire import Ask, Conversation

Answer = TypeVar("Answer")

# Connections at once; a question that finds none free waits for one, within its deadline.
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=100)


@dataclass(frozen=True)
class Place:
    """Where a server is, and how it is asked; see :class:`serving.sdk.ProfileClient`.

    Raises
    ------
    SettingsError
        One of them cannot be.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 5.0
    retries: int = 1

    def __post_init__(self) -> None:
        try:
            said = httpx.URL(self.url)
        except (httpx.InvalidURL, TypeError):
            said = httpx.URL("")
        if said.scheme not in {"http", "https"} or not said.host:
            raise SettingsError("A server's address is no http:// or https:// address.", hint="pass its url.")
        key = self.api_key
        if key is not None and not (key.isascii() and key.isprintable() and key.strip()):
            raise SettingsError("The API key is none.", hint="`portrait api-keys create` makes one.")
        if not self.timeout_s > 0 or self.retries < 0:
            raise SettingsError(
                f"A server cannot be asked within {self.timeout_s:g} s with {self.retries} retries.",
                hint="pass timeout_s above 0 and retries of at least 0.",
            )

    @property
    def name(self) -> str:
        """Host and port; what else an address says may be secret."""
        url = httpx.URL(self.url)
        return url.host if url.port is None else f"{url.host}:{url.port}"

    @property
    def options(self) -> dict[str, Any]:
        """What httpx's clients are made with."""
        headers = {"Content-Type": "application/json"}
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        return {"base_url": self.url, "headers": headers, "limits": _LIMITS}

    def elsewhere(self, what: str) -> SettingsError:
        """Return the error of what only the server has."""
        return SettingsError(f"{what} are noted by the server at {self.name}.", hint="its /metrics count them.")

    def late(self) -> StoreUnavailableError:
        """Return the error of a question that was not answered in time."""
        return StoreUnavailableError(
            f"The server at {self.name} did not answer within {self.timeout_s:g} s.",
            hint="ask again, or pass a longer timeout_s.",
        )

    def away(self, error: Exception) -> StoreUnavailableError:
        """Return the error of a server that cannot be reached."""
        return StoreUnavailableError(
            f"The server at {self.name} does not answer: {type(error).__name__}.",
            hint="does `portrait serve` run there?",
        )


class HttpTransport:
    """Asks a server. Threads may share one."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._opening = Lock()
        self._http: httpx.Client | None = None

    def keys(self, raw_ids: Any) -> tuple[str, ...]:
        """Return pseudonyms."""
        return self._held(wire.keys(raw_ids))

    def features(self, users: Any, service: str) -> Features:
        """Return values of a feature service."""
        return self._held(wire.features(users, service))

    def profiles(self, users: Any) -> tuple[Profile, ...]:
        """Return portraits."""
        return self._held(wire.profiles(users))

    def predict(self, task: str, users: Any, context: Mapping[str, Any]) -> Scores:
        """Return scores of the champion."""
        return self._held(wire.predict(task, users, context))

    def pinned(self, version: str, task: str, users: Any, context: Mapping[str, Any]) -> Scores:
        """Return scores of a version of a task's model."""
        return self._held(wire.pinned(version, task, users, context))

    def split(self, experiment: str, task: str, users: Any, context: Mapping[str, Any]) -> SplitScores:
        """Return scores of the models of an experiment's variants."""
        return self._held(wire.split(experiment, task, users, context))

    def variants(self, users: Any, experiment: str, expose: bool, placement: str | None) -> tuple[Assignment, ...]:
        """Return which variants shoppers get."""
        return self._held(wire.variants(users, experiment, expose, placement))

    def explain(self, task: str, user: Any, context: Mapping[str, Any], version: str | None) -> Explanation:
        """Return why a model answers as it does."""
        return self._held(reasons.explain(task, user, context, version))

    def what_if(
        self, task: str, user: Any, without: Without, context: Mapping[str, Any], version: str | None
    ) -> WhatIf:
        """Return a score without some events."""
        return self._held(reasons.what_if(task, user, without, context, version))

    def evidence(self, user: Any, reason: Reason, most: int) -> tuple[Evidence, ...]:
        """Return the events behind a reason."""
        return self._held(reasons.evidence(user, reason, most))

    def segment(self, user: Any) -> Segment:
        """Return where a shopper was last placed."""
        return self._held(reasons.segment(user))

    def tags(self, user: Any) -> ShopperTags:
        """Return a shopper's tags."""
        return self._held(tags.tags(user))

    def recommend(self, user: Any, k: int, context: Mapping[str, Any]) -> Recommendations:
        """Return a list for a shopper."""
        return self._held(recommending.recommend(user, k, context))

    def tasks(self) -> tuple[str, ...]:
        """Return the tasks that have a champion."""
        return self._held(reasons.tasks())

    @property
    def exposures(self) -> Exposures:
        """Refuse: the server notes them."""
        raise self._place.elsewhere("Exposures")

    def track(self, events: Said | Iterable[Said]) -> Collected:
        """Take events into the stream."""
        return self._held(wire.track(events))

    def warm_up(self) -> None:
        """Connect."""
        self._held(wire.warm_up())

    def health(self) -> dict[str, str]:
        """Return what is wrong with what."""
        return self._held(wire.health())

    def close(self) -> None:
        """Give the connections back; later questions open new ones."""
        http, self._http = self._http, None
        if http is not None:
            http.close()

    def _held(self, conversation: Conversation[Answer]) -> Answer:
        try:
            ask = next(conversation)
            while True:
                try:
                    said = self._ask(ask)
                except PortraitError as error:
                    ask = conversation.throw(error)
                else:
                    ask = wire.told(conversation, said, server=self._place.name)
        except StopIteration as done:
            answer: Answer = done.value
            return answer

    def _ask(self, ask: Ask) -> Any:
        deadline = monotonic() + self._place.timeout_s
        for left in reversed(range(self._place.retries + 1)):
            try:
                status, body = self._sent(ask, deadline)
            except httpx.TimeoutException:
                raise self._place.late() from None
            except httpx.TransportError as error:
                if not left or monotonic() >= deadline:
                    raise self._place.away(error) from None
            else:
                return wire.answer_of(ask, status, body, server=self._place.name)
        raise AssertionError

    def _sent(self, ask: Ask, deadline: float) -> tuple[int, bytes]:
        method, left_s = ("GET" if ask.body is None else "POST"), max(0.001, deadline - monotonic())
        pieces = []
        with self._client().stream(method, ask.path, content=ask.body, timeout=left_s) as answer:
            for piece in answer.iter_bytes():
                if monotonic() > deadline:  # httpx bounds the wait for each piece alone
                    raise httpx.ReadTimeout("")
                pieces.append(piece)
        return answer.status_code, b"".join(pieces)

    def _client(self) -> httpx.Client:
        with self._opening:
            if self._http is None:
                self._http = httpx.Client(**self._place.options)
            return self._http


class AsyncHttpTransport:
    """Asks a server without keeping the event loop waiting. Tasks of one loop may share one."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._http: httpx.AsyncClient | None = None

    async def keys(self, raw_ids: Any) -> tuple[str, ...]:
        """Return pseudonyms."""
        return await self._held(wire.keys(raw_ids))

    async def features(self, users: Any, service: str) -> Features:
        """Return values of a feature service."""
        return await self._held(wire.features(users, service))

    async def profiles(self, users: Any) -> tuple[Profile, ...]:
        """Return portraits."""
        return await self._held(wire.profiles(users))

    async def predict(self, task: str, users: Any, context: Mapping[str, Any]) -> Scores:
        """Return scores of the champion."""
        return await self._held(wire.predict(task, users, context))

    async def pinned(self, version: str, task: str, users: Any, context: Mapping[str, Any]) -> Scores:
        """Return scores of a version of a task's model."""
        return await self._held(wire.pinned(version, task, users, context))

    async def split(self, experiment: str, task: str, users: Any, context: Mapping[str, Any]) -> SplitScores:
        """Return scores of the models of an experiment's variants."""
        return await self._held(wire.split(experiment, task, users, context))

    async def variants(
        self, users: Any, experiment: str, expose: bool, placement: str | None
    ) -> tuple[Assignment, ...]:
        """Return which variants shoppers get."""
        return await self._held(wire.variants(users, experiment, expose, placement))

    async def explain(self, task: str, user: Any, context: Mapping[str, Any], version: str | None) -> Explanation:
        """Return why a model answers as it does."""
        return await self._held(reasons.explain(task, user, context, version))

    async def what_if(
        self, task: str, user: Any, without: Without, context: Mapping[str, Any], version: str | None
    ) -> WhatIf:
        """Return a score without some events."""
        return await self._held(reasons.what_if(task, user, without, context, version))

    async def evidence(self, user: Any, reason: Reason, most: int) -> tuple[Evidence, ...]:
        """Return the events behind a reason."""
        return await self._held(reasons.evidence(user, reason, most))

    async def segment(self, user: Any) -> Segment:
        """Return where a shopper was last placed."""
        return await self._held(reasons.segment(user))

    async def tags(self, user: Any) -> ShopperTags:
        """Return a shopper's tags."""
        return await self._held(tags.tags(user))

    async def recommend(self, user: Any, k: int, context: Mapping[str, Any]) -> Recommendations:
        """Return a list for a shopper."""
        return await self._held(recommending.recommend(user, k, context))

    async def tasks(self) -> tuple[str, ...]:
        """Return the tasks that have a champion."""
        return await self._held(reasons.tasks())

    @property
    def exposures(self) -> Exposures:
        """Refuse: the server notes them."""
        raise self._place.elsewhere("Exposures")

    async def track(self, events: Said | Iterable[Said]) -> Collected:
        """Take events into the stream."""
        return await self._held(wire.track(events))

    async def warm_up(self) -> None:
        """Connect."""
        await self._held(wire.warm_up())

    async def health(self) -> dict[str, str]:
        """Return what is wrong with what."""
        return await self._held(wire.health())

    async def close(self) -> None:
        """Give the connections back; later questions open new ones."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def _held(self, conversation: Conversation[Answer]) -> Answer:
        try:
            ask = next(conversation)
            while True:
                try:
                    said = await self._ask(ask)
                except PortraitError as error:
                    ask = conversation.throw(error)
                else:
                    ask = wire.told(conversation, said, server=self._place.name)
        except StopIteration as done:
            answer: Answer = done.value
            return answer

    async def _ask(self, ask: Ask) -> Any:
        try:
            async with asyncio.timeout(self._place.timeout_s):
                return await self._answered(ask)
        except (TimeoutError, httpx.TimeoutException):
            raise self._place.late() from None

    async def _answered(self, ask: Ask) -> Any:
        method = "GET" if ask.body is None else "POST"
        for left in reversed(range(self._place.retries + 1)):
            try:
                answer = await self._client().request(method, ask.path, content=ask.body, timeout=None)
            except httpx.TransportError as error:
                if not left:
                    raise self._place.away(error) from None
            else:
                return wire.answer_of(ask, answer.status_code, answer.content, server=self._place.name)
        raise AssertionError

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            self._http = httpx.AsyncClient(**self._place.options)
        return self._http
