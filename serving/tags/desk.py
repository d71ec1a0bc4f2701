"""What a client keeps for tags: the evaluator, and how their inputs are read of Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np

from feature_repo.core.clock import Clock
from feature_repo.engine.feature_vectors import instant_of
from serving.catalogue import Catalogue
from serving.entities import USER
from serving.merged_plans import merged
from serving.online_features import Reading, ServicePlan
from serving.scoring import ModelRegistry
from serving.tags.answers import ShopperTags
from serving.tags.declared import live_tags
from serving.tags.evaluator import Evaluator
from serving.tags.inputs import NEVER, Inputs, Ints
from serving.tags.panel import Panel
from serving.tags.telling import Telling

TAGS_SERVICE = "tags_v1"

# Reads a plan at an instant (us) about some shoppers.
Read = Callable[[ServicePlan, Mapping[str, Sequence[str]], int], Reading]


class TagDesk:
    """Answers what a shopper's tags are. Threads may share one.

    Parameters
    ----------
    read
        Reads a plan of Redis.
    """

    def __init__(self, catalogue: Catalogue, models: ModelRegistry, clock: Clock, read: Read) -> None:
        self._catalogue, self._models, self._clock, self._read = catalogue, models, clock, read
        self._plan: tuple[tuple[ServicePlan, ...], ServicePlan] | None = None

    def tags(self, users: Sequence[str], *, at: int | None = None) -> tuple[ShopperTags, ...]:
        """Return the live tags of shoppers, by pseudonym.

        Parameters
        ----------
        at
            The instant it is (us); the clock's unless given.

        Raises
        ------
        DeclarationError
            The registry does not know the service of tags.
        NotMaterializedError, StoreUnavailableError
            As ``ProfileClient.features``. A model that cannot answer leaves its tags unknown, with the reason.
        """
        inputs, panel = self.inputs(users, self._evaluator.tasks, at=at)
        said = self._evaluator.evaluate(inputs)
        telling = Telling(inputs, said, self._catalogue.labels(), panel.wanting)
        return tuple(telling.of(self._evaluator.tags, row) for row in range(len(users)))

    @cached_property
    def _evaluator(self) -> Evaluator:
        return Evaluator(live_tags())

    def inputs(self, users: Sequence[str], tasks: Sequence[str], *, at: int | None = None) -> tuple[Inputs, Panel]:
        """Read what tags are made of now, and ask the champions of some tasks."""
        panel = Panel.of(self._catalogue, self._models, tasks)
        plan = self._merged(panel.services(self._catalogue.plan(TAGS_SERVICE)))
        at = self._clock.now_us() if at is None else at
        reading = self._read(plan, {USER: users}, at)
        found = Inputs(users, reading.known, reading, stamps_of(reading, at), panel.scores(reading), panel.names, at)
        return found, panel

    def _merged(self, plans: tuple[ServicePlan, ...]) -> ServicePlan:
        kept = self._plan
        if kept is None or len(kept[0]) != len(plans) or any(a is not b for a, b in zip(kept[0], plans, strict=True)):
            kept = self._plan = (plans, merged(plans))
        return kept[1]


def stamps_of(reading: Reading, at: int) -> dict[str, Ints]:
    """Return when each shopper's row of each ordinary view was written, as of an instant (us)."""
    found = {}
    places = reading.plan.about[len(reading.plan.windowed) :]
    for part, fields, place in zip(reading.plan.ordinary, reading.answers.fields, places, strict=True):
        stamps = np.array([instant_of(stamp) if stamp else NEVER for stamp in fields[0]], np.int64)
        alive = np.where(stamps >= at - part.ttl, stamps, NEVER) if part.ttl else stamps
        found[part.name] = reading.rows[place].spread_array(alive)
    return found
