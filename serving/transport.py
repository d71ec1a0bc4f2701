"""What the SDK asks of whoever answers it: the home beside it, or a server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from feature_repo.events.stream.collector import Collected, Said
from serving.experiments.enrolment import Assignment
from serving.experiments.exposures import Exposures
from serving.experiments.scores import SplitScores
from serving.features import Features
from serving.models import Scores
from serving.profile import Profile
from serving.reasons.answers import Evidence, Segment, WhatIf, Without
from serving.reasons.explanation import Explanation, Reason
from serving.recommending.recommendation import Recommendations
from serving.tags.answers import ShopperTags

PROFILE = "profile_v1"

# What `health` tells of, by name.
HEALTH = ("registry", "redis", "mlflow")
# What is loaded goes on answering without.
WITHOUT = frozenset({"mlflow"})


class Transport(Protocol):
    """Answers the questions of :class:`serving.sdk.ProfileClient`, whose methods say what they mean and raise."""

    def keys(self, raw_ids: Any) -> tuple[str, ...]:
        """Return pseudonyms."""

    def features(self, users: Any, service: str) -> Features:
        """Return values of a feature service."""

    def profiles(self, users: Any) -> tuple[Profile, ...]:
        """Return portraits."""

    def predict(self, task: str, users: Any, context: Mapping[str, Any]) -> Scores:
        """Return scores of the champion."""

    def pinned(self, version: str, task: str, users: Any, context: Mapping[str, Any]) -> Scores:
        """Return scores of a version of a task's model."""

    def split(self, experiment: str, task: str, users: Any, context: Mapping[str, Any]) -> SplitScores:
        """Return scores of the models of an experiment's variants."""

    def variants(self, users: Any, experiment: str, expose: bool, placement: str | None) -> tuple[Assignment, ...]:
        """Return which variants shoppers get."""

    def explain(self, task: str, user: Any, context: Mapping[str, Any], version: str | None) -> Explanation:
        """Return why a model answers as it does."""

    def what_if(
        self, task: str, user: Any, without: Without, context: Mapping[str, Any], version: str | None
    ) -> WhatIf:
        """Return a score without some events."""

    def evidence(self, user: Any, reason: Reason, most: int) -> tuple[Evidence, ...]:
        """Return the events behind a reason."""

    def segment(self, user: Any) -> Segment:
        """Return where a shopper was last placed."""

    def tags(self, user: Any) -> ShopperTags:
        """Return a shopper's tags."""

    def recommend(self, user: Any, k: int, context: Mapping[str, Any]) -> Recommendations:
        """Return a list for a shopper."""

    def tasks(self) -> tuple[str, ...]:
        """Return the tasks that have a champion."""

    @property
    def exposures(self) -> Exposures:
        """Exposures on their way to the stream."""

    def track(self, events: Said | Iterable[Said]) -> Collected:
        """Take events into the stream."""

    def warm_up(self) -> None:
        """Do what the first question would have to wait for."""

    def health(self) -> dict[str, str]:
        """Return what is wrong with what, empty texts for what is well."""

    def close(self) -> None:
        """Give the connections back."""


class AsyncTransport(Protocol):
    """As :class:`Transport`, for :class:`serving.async_sdk.AsyncProfileClient`."""

    async def keys(self, raw_ids: Any) -> tuple[str, ...]:
        """Return pseudonyms."""

    async def features(self, users: Any, service: str) -> Features:
        """Return values of a feature service."""

    async def profiles(self, users: Any) -> tuple[Profile, ...]:
        """Return portraits."""

    async def predict(self, task: str, users: Any, context: Mapping[str, Any]) -> Scores:
        """Return scores of the champion."""

    async def pinned(self, version: str, task: str, users: Any, context: Mapping[str, Any]) -> Scores:
        """Return scores of a version of a task's model."""

    async def split(self, experiment: str, task: str, users: Any, context: Mapping[str, Any]) -> SplitScores:
        """Return scores of the models of an experiment's variants."""

    async def variants(
        self, users: Any, experiment: str, expose: bool, placement: str | None
    ) -> tuple[Assignment, ...]:
        """Return which variants shoppers get."""

    async def explain(self, task: str, user: Any, context: Mapping[str, Any], version: str | None) -> Explanation:
        """Return why a model answers as it does."""

    async def what_if(
        self, task: str, user: Any, without: Without, context: Mapping[str, Any], version: str | None
    ) -> WhatIf:
        """Return a score without some events."""

    async def evidence(self, user: Any, reason: Reason, most: int) -> tuple[Evidence, ...]:
        """Return the events behind a reason."""

    async def segment(self, user: Any) -> Segment:
        """Return where a shopper was last placed."""

    async def tags(self, user: Any) -> ShopperTags:
        """Return a shopper's tags."""

    async def recommend(self, user: Any, k: int, context: Mapping[str, Any]) -> Recommendations:
        """Return a list for a shopper."""

    async def tasks(self) -> tuple[str, ...]:
        """Return the tasks that have a champion."""

    @property
    def exposures(self) -> Exposures:
        """Exposures on their way to the stream."""

    async def track(self, events: Said | Iterable[Said]) -> Collected:
        """Take events into the stream."""

    async def warm_up(self) -> None:
        """Do what the first question would have to wait for."""

    async def health(self) -> dict[str, str]:
        """Return what is wrong with what, empty texts for what is well."""

    async def close(self) -> None:
        """Give the connections back."""
