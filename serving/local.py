"""The SDK in process: Redis, the registry, the models and the stream of one home."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.core.clock import Clock, SystemClock, from_us
from feature_repo.core.degrading import DEFAULTS, REFUSE
from feature_repo.core.errors import (
    DataError,
    DeclarationError,
    NotMaterializedError,
    PortraitError,
    StoreUnavailableError,
)
from feature_repo.core.settings import Settings, load_settings
from feature_repo.events.stream.collector import Collected, Collector, Said
from feature_repo.privacy.consent import PurposeName
from feature_repo.privacy.pseudonyms import Pseudonymiser, is_pseudonym, load_pseudonymiser
from serving.asked import Asked, Question
from serving.catalogue import Catalogue
from serving.consents import CONSENT, consents_of, pairs, permissions
from serving.entities import USER, entity_columns
from serving.experiments.desk import ExperimentDesk
from serving.experiments.enrolment import Assignment
from serving.experiments.exposures import Exposures
from serving.experiments.scores import SplitScores
from serving.features import Features
from serving.last_known import LastKnown
from serving.model_plans import plan_of
from serving.models import Model, Scores, spread
from serving.online_features import Reading, ServicePlan
from serving.profile import Profile, Versions, log_versions, portraits
from serving.reasons.answers import Evidence, Segment, WhatIf, Without
from serving.reasons.desk import ReasonDesk
from serving.reasons.explanation import Explanation, Reason
from serving.reasons.segment import STANDING, segment_of
from serving.recommending.desk import Plans, RecommendDesk
from serving.recommending.recommendation import Recommendations
from serving.recommending.wish import Wish, checked_count
from serving.scoring import ModelRegistry
from serving.served import ServedSample, positions_of
from serving.session import RedisSession
from serving.tags.answers import ShopperTags, TagValue
from serving.tags.desk import TagDesk
from serving.transport import PROFILE

_log = logging.getLogger("portrait")

# Of the time of a question, what it may wait for Redis: the rest is for an answer without, and for its way back.
PATIENCE = 0.8
_PORTRAITS = "portraits"


class LocalTransport:
    """Answers from the home ``PORTRAIT_HOME`` names; what it compiles and loads is kept. Threads may share one.

    Parameters
    ----------
    timeout_s
        For a question; for MLflow to answer, where a model is not loaded yet, as long again.
    """

    def __init__(self, settings: Settings | None, clock: Clock | None, *, timeout_s: float) -> None:
        self._settings = settings or load_settings()
        self._clock: Clock = clock or SystemClock()
        self._redis = RedisSession(self._settings, timeout_s=timeout_s * PATIENCE)
        self._last_known = LastKnown(self._settings)
        self._catalogue = Catalogue(self._settings)
        self._models = ModelRegistry(self._settings, self._clock, timeout_s=timeout_s, aside=self._redis.aside)
        self._pseudonymiser: Pseudonymiser | None = None
        self._collector = Collector(self._settings, self._clock, timeout_s=timeout_s)
        self._served = ServedSample(
            self._settings, self._clock, lambda project: self._redis.ask(lambda client: positions_of(project, client))
        )
        self._reasons = ReasonDesk(self._settings, self._catalogue, self._models, self._asked)
        self._tags = TagDesk(self._catalogue, self._models, self._clock, self._read_plan)
        self._recommending = RecommendDesk(
            self._models,
            Plans(self._plan_of, self._catalogue.plan),
            self._redis.ask,
            self._clock,
            self._served.note,
        )
        self._desk = ExperimentDesk(self._models, self._collector, self._clock, self._permitted)

    @property
    def exposures(self) -> Exposures:
        """Exposures on their way to the stream."""
        return self._desk.exposures

    def together(self) -> AbstractContextManager[None]:
        """What this thread asks until the end of the block has the time of one question."""
        return self._redis.together()

    def close(self) -> None:
        """Send exposures that wait, and give the connections back; later questions open new ones."""
        self._served.close()
        self._desk.exposures.close()
        self._redis.close()
        self._collector.close()

    def keys(self, raw_ids: Any) -> tuple[str, ...]:
        """Return pseudonyms."""
        return tuple(entity_columns(raw_ids, [USER], self._pseudonym)[USER])

    def features(self, users: Any, service: str) -> Features:
        """Return values of a feature service now."""
        plan = self._catalogue.plan(service)
        entities = entity_columns(users, plan.entity_columns, self._pseudonym)
        at = self._clock.now_us()
        try:
            reading = self._redis.ask(lambda client: plan.read(client, entities, at))
        except StoreUnavailableError as error:
            known = self._last_known.recall(plan, entities, at, error=error)
            return Features(entities, known, from_us(min(known.at, default=at)), degraded=True)
        self._served.note(reading, entities, tuple(plan.contract), at)
        self._last_known.note(reading, entities, at)
        return Features(entities, reading, from_us(at))

    def profiles(self, users: Any) -> tuple[Profile, ...]:
        """Return portraits now."""
        plan = self._catalogue.plan(PROFILE)
        entities = entity_columns(users, plan.entity_columns, self._pseudonym)
        at = self._clock.now_us()

        def read(client: Any) -> tuple[Reading, Versions]:
            return plan.read(client, entities, at), log_versions(plan, client, self._catalogue.project)

        labels = self._catalogue.labels()
        try:
            reading, versions = self._redis.ask(read)
        except StoreUnavailableError as error:
            known = self._last_known.recall(plan, entities, at, error=error, of=_PORTRAITS)
            reads = [*zip(known.at, known.beside, strict=True)]
            return portraits(plan, entities[USER], known, labels, reads, degraded=True)
        self._served.note(reading, entities, tuple(plan.contract), at)
        self._last_known.note(reading, entities, at, of=_PORTRAITS, beside=versions)
        found = portraits(plan, entities[USER], reading, labels, [(at, versions)] * reading.length)
        told = self._tagged(entities[USER], at)
        return tuple(replace(each, tags=tags) for each, tags in zip(found, told, strict=True))

    def _tagged(self, users: Sequence[str], at: int) -> list[tuple[TagValue, ...]]:
        """Return the tags of shoppers for their portraits."""
        try:
            return [each.tags for each in self._tags.tags(users, at=at)]
        except (DeclarationError, NotMaterializedError, StoreUnavailableError) as error:
            # Applied or built by an earlier version, or Redis went away between two questions: a portrait goes without.
            _log.warning("Portraits have no tags: %s", error)
            return [()] * len(users)

    def predict(self, task: str, users: Any, context: Mapping[str, Any]) -> Scores:
        """Ask the champion of a task."""
        with self._redis.together():
            return self._ask(self._models.champion(task), users, context)

    def pinned(self, version: str, task: str, users: Any, context: Mapping[str, Any]) -> Scores:
        """Ask a version of a task's model."""
        with self._redis.together():
            return self._ask(self._models.version(task, version), users, context)

    def split(self, experiment: str, task: str, users: Any, context: Mapping[str, Any]) -> SplitScores:
        """Ask the models of an experiment's variants."""
        pseudonyms = entity_columns(users, [USER], self._pseudonym)[USER]
        asked = users if isinstance(users, pd.DataFrame) else pseudonyms
        with self._redis.together():
            return self._desk.scores(experiment, task, pseudonyms, asked, context, self._ask)

    def variants(self, users: Any, experiment: str, expose: bool, placement: str | None) -> tuple[Assignment, ...]:
        """Return which variants shoppers get."""
        pseudonyms = entity_columns(users, [USER], self._pseudonym)[USER]
        return tuple(self._desk.assign(experiment, pseudonyms, expose=expose, placement=placement))

    def explain(self, task: str, user: Any, context: Mapping[str, Any], version: str | None) -> Explanation:
        """Return why a model answers as it does."""
        with self._redis.together():
            return self._reasons.explain(task, user, context, version)

    def what_if(
        self, task: str, user: Any, without: Without, context: Mapping[str, Any], version: str | None
    ) -> WhatIf:
        """Return a score without some events."""
        return self._reasons.what_if(task, user, without, context, version)

    def evidence(self, user: Any, reason: Reason, most: int) -> tuple[Evidence, ...]:
        """Return the events behind a reason."""
        [pseudonym] = entity_columns([user], [USER], self._pseudonym)[USER]
        return self._reasons.evidence(pseudonym, reason, most)

    def segment(self, user: Any) -> Segment:
        """Return where a shopper was last placed."""
        plan = self._catalogue.plan(STANDING)
        entities = entity_columns([user], plan.entity_columns, self._pseudonym)
        at = self._clock.now_us()
        reading = self._redis.ask(lambda client: plan.read(client, entities, at))
        self._served.note(reading, entities, tuple(plan.contract), at)
        return segment_of(entities[USER][0], reading, at)

    def tags(self, user: Any) -> ShopperTags:
        """Return a shopper's tags now."""
        [found] = self._tags.tags(entity_columns([user], [USER], self._pseudonym)[USER])
        return found

    def recommend(self, user: Any, k: int, context: Mapping[str, Any]) -> Recommendations:
        """Return a list for a shopper."""
        [pseudonym] = entity_columns([user], [USER], self._pseudonym)[USER]
        return self._recommending.recommend(pseudonym, checked_count(k), Wish.of(context))

    def tasks(self) -> tuple[str, ...]:
        """Return the tasks that have a champion."""
        return self._models.tasks()

    def _permitted(self, users: Any, purpose: PurposeName) -> npt.NDArray[np.bool_]:
        found = self.features(pairs(users, [purpose]), CONSENT)
        return permissions(purpose, consents_of(found, 1)[1])

    def _ask(self, model: Model, users: Any, context: Mapping[str, Any]) -> Scores:
        question = self._question(model, users, context)
        try:
            return self._read(question).scores()
        except StoreUnavailableError as error:
            if model.without_redis == REFUSE:
                raise
            return self._degraded(question, error)

    def _asked(self, model: Model, users: Any, context: Mapping[str, Any]) -> Asked:
        return self._read(self._question(model, users, context))

    def _degraded(self, question: Question, error: StoreUnavailableError) -> Scores:
        model, now = question.model, self._clock.now_us()
        known = self._last_known.recall(
            question.plan, question.entities, now, error=error, defaults=model.without_redis == DEFAULTS
        )
        return question.scores(known, min(known.at, default=now), degraded=True, read_at=[*map(from_us, known.at)])

    def _read(self, question: Question) -> Asked:
        plan, entities, model = question.plan, question.entities, question.model
        at = self._clock.now_us()
        reading = self._redis.ask(lambda client: plan.read(client, entities, at))
        self._served.note(reading, entities, model.features, at, model=model.name)
        self._last_known.note(reading, entities, at)
        return Asked(question, reading, at)

    def _question(self, model: Model, users: Any, context: Mapping[str, Any]) -> Question:
        plan = self._plan_of(model)
        entities = entity_columns(users, plan.entity_columns, self._pseudonym)
        if USER not in entities:
            raise DataError(
                f"Model {model.name} is not about shoppers.", hint="ask a model whose service reads 'user_id'."
            )
        model.check_context(context)
        given = users if isinstance(users, pd.DataFrame) else spread(context, len(entities[USER]))
        columns = model.context_columns(given, len(entities[USER]))
        return Question(model, plan, entities, columns)

    def track(self, events: Said | Iterable[Said]) -> Collected:
        """Send events into the stream."""
        return self._collector.collect(events)

    def warm_up(self) -> None:
        """Compile, connect and load what the first questions would have to wait for."""
        self._catalogue.plan(PROFILE)
        self._catalogue.labels()
        self._redis.ask(lambda client: client.ping())
        for task in self._models.tasks():
            try:
                self._load(self._models.champion(task))
            except PortraitError as error:
                _log.warning("Task '%s' cannot answer: %s", task, error)
        self._desk.warm_up(self._load)

    def health(self) -> dict[str, str]:
        """Return what reads depend on, and what is wrong with it."""
        return {
            "registry": _wrong(lambda: self._catalogue.plan(PROFILE)),
            "redis": _wrong(lambda: self._redis.ask(lambda client: client.ping())),
            "mlflow": self._models.trouble,
        }

    def _load(self, model: Model) -> None:
        self._plan_of(model)
        model.scorer.score(np.zeros((1, len(model.columns))))
        self._reasons.warm_up(model)
        self._recommending.warm_up(model)

    def _plan_of(self, model: Model) -> ServicePlan:
        with self._redis.aside():  # it may have to be compiled
            return plan_of(self._catalogue, model)

    def _read_plan(self, plan: ServicePlan, entities: Mapping[str, Sequence[str]], at: int) -> Reading:
        return self._redis.ask(lambda client: plan.read(client, entities, at))

    def _pseudonym(self, raw_or_pseudonym: str) -> str:
        if is_pseudonym(raw_or_pseudonym):
            return raw_or_pseudonym  # where only pseudonyms are asked for, no key is needed
        if self._pseudonymiser is None:
            self._pseudonymiser = load_pseudonymiser(self._settings.home)
        return self._pseudonymiser.pseudonym(raw_or_pseudonym)


def _wrong(question: Callable[[], object]) -> str:
    try:
        question()
    except PortraitError as error:
        return error.what
    return ""
