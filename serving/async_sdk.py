"""The SDK for programs with an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt

from feature_repo.core.clock import Clock
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from feature_repo.events.stream.collector import Collected, Said
from feature_repo.privacy.consent import PURPOSES, Consent, PurposeName, known_purpose
from serving.consents import CONSENT, consents_of, pairs, permissions
from serving.entities import USER, entity_columns
from serving.experiments.enrolment import Assignment
from serving.experiments.exposures import Exposures
from serving.experiments.scores import SplitScores
from serving.features import Features
from serving.feedback import feedback_event
from serving.models import Scores, context_of, pinned_version
from serving.profile import Profile
from serving.reasons.answers import LAST_PURCHASE, Evidence, Segment, WhatIf, Without, check_reason, check_without
from serving.reasons.explanation import Explanation, Reason
from serving.recommending.recommendation import Recommendations
from serving.tags.answers import ShopperTags
from serving.transport import PROFILE, AsyncTransport, Transport
from serving.ways import check_ways, over_http


class AsyncProfileClient:
    """:class:`serving.sdk.ProfileClient`, awaited: the same questions, answers and errors.

    Over HTTP the event loop goes on while a server is asked; in process, while a thread works. Parameters are those of
    :class:`serving.sdk.ProfileClient`. A question that is cancelled may have been answered: events may have been taken.

    Examples
    --------
    ::

        async with AsyncProfileClient(url="http://profiles.shop:8480", api_key=key) as portrait:
            await portrait.predict("redemption", ["2375", "1364"])
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 5.0,
        retries: int = 1,
        settings: Settings | None = None,
        clock: Clock | None = None,
    ) -> None:
        check_ways(url, api_key, settings, clock)
        self._transport: AsyncTransport
        if url is None:
            from serving.local import LocalTransport  # noqa: PLC0415 - who asks a server needs no Feast

            self._transport = ThreadTransport(LocalTransport(settings, clock, timeout_s=timeout_s))
        else:
            http = over_http()
            self._transport = http.AsyncHttpTransport(http.Place(url, api_key, timeout_s, retries))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """As :meth:`serving.sdk.ProfileClient.close`."""
        await self._transport.close()

    async def key(self, raw_id: str | int) -> str:
        """As :meth:`serving.sdk.ProfileClient.key`."""
        [found] = await self.keys([raw_id])
        return found

    async def keys(self, raw_ids: Any) -> tuple[str, ...]:
        """As :meth:`serving.sdk.ProfileClient.keys`."""
        return await self._transport.keys(raw_ids)

    async def features(self, users: Any, *, service: str = PROFILE) -> Features:
        """As :meth:`serving.sdk.ProfileClient.features`."""
        return await self._transport.features(users, service)

    async def profile(self, user: str | int) -> Profile:
        """As :meth:`serving.sdk.ProfileClient.profile`."""
        [found] = await self.profiles([user])
        return found

    async def profiles(self, users: Any) -> tuple[Profile, ...]:
        """As :meth:`serving.sdk.ProfileClient.profiles`."""
        return await self._transport.profiles(users)

    async def consent(self, user: str | int) -> Consent:
        """As :meth:`serving.sdk.ProfileClient.consent`."""
        [pseudonym], [said] = await self._consents([user], [*PURPOSES])
        return Consent(pseudonym, dict(zip(PURPOSES, said, strict=True)))

    async def permitted(self, users: Any, purpose: PurposeName) -> npt.NDArray[np.bool_]:
        """As :meth:`serving.sdk.ProfileClient.permitted`."""
        known_purpose(purpose)
        _, said = await self._consents(users, [purpose])
        return permissions(purpose, said)

    async def _consents(self, users: Any, purposes: Sequence[PurposeName]) -> tuple[list[str], list[list[bool | None]]]:
        return consents_of(await self.features(pairs(users, purposes), service=CONSENT), len(purposes))

    @overload
    async def predict(
        self,
        task: str,
        users: Any,
        *,
        context: Mapping[str, Any] | None = ...,
        experiment: None = ...,
        version: str | int | None = ...,
    ) -> Scores: ...

    @overload
    async def predict(
        self, task: str, users: Any, *, context: Mapping[str, Any] | None = ..., experiment: str
    ) -> SplitScores: ...

    async def predict(
        self,
        task: str,
        users: Any,
        *,
        context: Mapping[str, Any] | None = None,
        experiment: str | None = None,
        version: str | int | None = None,
    ) -> Scores | SplitScores:
        """As :meth:`serving.sdk.ProfileClient.predict`."""
        if version is not None:
            return await self._transport.pinned(pinned_version(version, experiment), task, users, context_of(context))
        if experiment is None:
            return await self._transport.predict(task, users, context_of(context))
        return await self._transport.split(experiment, task, users, context_of(context))

    async def variant(
        self, user: str | int, experiment: str, *, expose: bool = True, placement: str | None = None
    ) -> Assignment:
        """As :meth:`serving.sdk.ProfileClient.variant`."""
        [found] = await self.variants([user], experiment, expose=expose, placement=placement)
        return found

    async def variants(
        self, users: Any, experiment: str, *, expose: bool = True, placement: str | None = None
    ) -> tuple[Assignment, ...]:
        """As :meth:`serving.sdk.ProfileClient.variants`."""
        return await self._transport.variants(users, experiment, expose, placement)

    @property
    def exposures(self) -> Exposures:
        """As :attr:`serving.sdk.ProfileClient.exposures`."""
        return self._transport.exposures

    async def feedback(
        self,
        user: str | int,
        outcome: str,
        *,
        item: str | None = None,
        campaign: str | None = None,
        value: float | None = None,
        recommendation_id: str | None = None,
        model: str | None = None,
        event_id: str | None = None,
    ) -> Collected:
        """As :meth:`serving.sdk.ProfileClient.feedback`."""
        said = feedback_event(
            entity_columns([user], [USER], str)[USER][0],
            outcome,
            item=item,
            campaign=campaign,
            value=value,
            recommendation_id=recommendation_id,
            model=model,
            event_id=event_id,
        )
        taken = await self.track(said)
        for each in taken.rejected:
            raise DataError(each.message, hint="see `ProfileClient.feedback`.")
        return taken

    async def track(self, events: Said | Iterable[Said]) -> Collected:
        """As :meth:`serving.sdk.ProfileClient.track`."""
        return await self._transport.track(events)

    async def warm_up(self) -> None:
        """As :meth:`serving.sdk.ProfileClient.warm_up`."""
        await self._transport.warm_up()

    async def health(self) -> dict[str, str]:
        """As :meth:`serving.sdk.ProfileClient.health`."""
        return await self._transport.health()

    async def explain(
        self, task: str, user: Any, *, context: Mapping[str, Any] | None = None, version: str | int | None = None
    ) -> Explanation:
        """As :meth:`serving.sdk.ProfileClient.explain`."""
        pinned = None if version is None else pinned_version(version)
        return await self._transport.explain(task, user, context_of(context), pinned)

    async def evidence(self, user: str | int, reason: Reason, *, most: int = 20) -> tuple[Evidence, ...]:
        """As :meth:`serving.sdk.ProfileClient.evidence`."""
        check_reason(reason)
        return await self._transport.evidence(user, reason, most)

    async def what_if(
        self,
        task: str,
        user: Any,
        *,
        without: Without = LAST_PURCHASE,
        context: Mapping[str, Any] | None = None,
        version: str | int | None = None,
    ) -> WhatIf:
        """As :meth:`serving.sdk.ProfileClient.what_if`."""
        check_without(without)
        pinned = None if version is None else pinned_version(version)
        return await self._transport.what_if(task, user, without, context_of(context), pinned)

    async def segment(self, user: str | int) -> Segment:
        """As :meth:`serving.sdk.ProfileClient.segment`."""
        return await self._transport.segment(user)

    async def tags(self, user: str | int) -> ShopperTags:
        """As :meth:`serving.sdk.ProfileClient.tags`."""
        return await self._transport.tags(user)

    async def recommend(
        self, user: str | int, *, k: int = 10, context: Mapping[str, Any] | None = None
    ) -> Recommendations:
        """As :meth:`serving.sdk.ProfileClient.recommend`."""
        return await self._transport.recommend(user, k, context_of(context))

    async def tasks(self) -> tuple[str, ...]:
        """As :meth:`serving.sdk.ProfileClient.tasks`."""
        return await self._transport.tasks()


class ThreadTransport:
    """Asks another transport in threads of the event loop's pool."""

    def __init__(self, asked: Transport) -> None:
        self._asked = asked

    async def keys(self, raw_ids: Any) -> tuple[str, ...]:
        """Return pseudonyms."""
        return await asyncio.to_thread(self._asked.keys, raw_ids)

    async def features(self, users: Any, service: str) -> Features:
        """Return values of a feature service."""
        return await asyncio.to_thread(self._asked.features, users, service)

    async def profiles(self, users: Any) -> tuple[Profile, ...]:
        """Return portraits."""
        return await asyncio.to_thread(self._asked.profiles, users)

    async def predict(self, task: str, users: Any, context: Mapping[str, Any]) -> Scores:
        """Return scores of the champion."""
        return await asyncio.to_thread(self._asked.predict, task, users, context)

    async def pinned(self, version: str, task: str, users: Any, context: Mapping[str, Any]) -> Scores:
        """Return scores of a version of a task's model."""
        return await asyncio.to_thread(self._asked.pinned, version, task, users, context)

    async def split(self, experiment: str, task: str, users: Any, context: Mapping[str, Any]) -> SplitScores:
        """Return scores of the models of an experiment's variants."""
        return await asyncio.to_thread(self._asked.split, experiment, task, users, context)

    async def variants(
        self, users: Any, experiment: str, expose: bool, placement: str | None
    ) -> tuple[Assignment, ...]:
        """Return which variants shoppers get."""
        return await asyncio.to_thread(self._asked.variants, users, experiment, expose, placement)

    async def explain(self, task: str, user: Any, context: Mapping[str, Any], version: str | None) -> Explanation:
        """Return why a model answers as it does."""
        return await asyncio.to_thread(self._asked.explain, task, user, context, version)

    async def what_if(
        self, task: str, user: Any, without: Without, context: Mapping[str, Any], version: str | None
    ) -> WhatIf:
        """Return a score without some events."""
        return await asyncio.to_thread(self._asked.what_if, task, user, without, context, version)

    async def evidence(self, user: Any, reason: Reason, most: int) -> tuple[Evidence, ...]:
        """Return the events behind a reason."""
        return await asyncio.to_thread(self._asked.evidence, user, reason, most)

    async def segment(self, user: Any) -> Segment:
        """Return where a shopper was last placed."""
        return await asyncio.to_thread(self._asked.segment, user)

    async def tags(self, user: Any) -> ShopperTags:
        """Return a shopper's tags."""
        return await asyncio.to_thread(self._asked.tags, user)

    async def recommend(self, user: Any, k: int, context: Mapping[str, Any]) -> Recommendations:
        """Return a list for a shopper."""
        return await asyncio.to_thread(self._asked.recommend, user, k, context)

    async def tasks(self) -> tuple[str, ...]:
        """Return the tasks that have a champion."""
        return await asyncio.to_thread(self._asked.tasks)

    @property
    def exposures(self) -> Exposures:
        """Exposures on their way to the stream."""
        return self._asked.exposures

    async def track(self, events: Said | Iterable[Said]) -> Collected:
        """Take events into the stream."""
        return await asyncio.to_thread(self._asked.track, events)

    async def warm_up(self) -> None:
        """Do what the first question would have to wait for."""
        await asyncio.to_thread(self._asked.warm_up)

    async def health(self) -> dict[str, str]:
        """Return what is wrong with what."""
        return await asyncio.to_thread(self._asked.health)

    async def close(self) -> None:
        """Give the connections back."""
        await asyncio.to_thread(self._asked.close)
