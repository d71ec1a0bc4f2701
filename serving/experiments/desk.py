"""What a client keeps for experiments: it assigns, asks the variants' models, and notes exposures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from feature_repo.core.clock import Clock
from feature_repo.core.errors import ModelUnavailableError, PortraitError
from feature_repo.core.mlflow_client import CHAMPION
from feature_repo.events.stream.collector import Collector
from serving.experiments.enrolment import Assignment, Permitted, assign
from serving.experiments.experiment import all_experiments, find_experiment
from serving.experiments.exposures import Exposure, Exposures
from serving.experiments.scores import Ask, SplitScores, check_task, split_scores
from serving.models import Model
from serving.scoring import REFRESH_US, ModelRegistry

_log = logging.getLogger("portrait")


class ExperimentDesk:
    """Answers which variant shoppers get, and by it. Threads may share one.

    Attributes
    ----------
    exposures
        On their way to the stream.
    """

    def __init__(self, models: ModelRegistry, collector: Collector, clock: Clock, permitted: Permitted) -> None:
        self._models = models
        self._clock = clock
        self._permitted = permitted
        self._absent: dict[tuple[str, str], tuple[int, ModelUnavailableError]] = {}
        self.exposures = Exposures(collector.collect, clock)

    def assign(self, name: str, pseudonyms: Sequence[str], *, expose: bool, placement: str | None) -> list[Assignment]:
        """Return what shoppers get of an experiment, and note that they meet it."""
        experiment = find_experiment(name)
        found = assign(experiment, pseudonyms, self._clock.now_us(), self._permitted)
        if expose:
            self.exposures.note(
                Exposure(each.user_id, each.experiment, each.variant, placement) for each in found if each.enrolled
            )
        return found

    def scores(
        self, name: str, task: str, pseudonyms: Sequence[str], users: Any, context: Mapping[str, Any], ask: Ask
    ) -> SplitScores:
        """Ask the models of an experiment about shoppers, and note that they meet it."""
        experiment = find_experiment(name)
        check_task(experiment, task)
        assigned = assign(experiment, pseudonyms, self._clock.now_us(), self._permitted)
        found = split_scores(experiment, assigned, users, context, model_of=self._model, ask=ask)
        self.exposures.note(
            Exposure(each.user_id, experiment.name, each.variant, None, *each.model.rsplit("@", 1))
            for each in found
            if each.enrolled
        )
        return found

    def warm_up(self, load: Callable[[Model], None]) -> None:
        """Load the models of the experiments that run; what cannot be is left to whoever asks, with a warning."""
        now = self._clock.now_us()
        for experiment in all_experiments().values():
            start, end = experiment.span_us
            for variant in experiment.variants if experiment.task and start <= now < end else ():
                try:
                    load(self._model(experiment.task, variant.model))
                except PortraitError as error:
                    _log.warning("Variant '%s' of '%s' cannot answer: %s", variant.name, experiment.name, error.what)

    def _model(self, task: str, which: str) -> Model:
        """Return a variant's model; what is not there is looked for again after ten seconds, not at each request."""
        now = self._clock.now_us()
        since, error = self._absent.get((task, which), (0, None))
        if error is not None and which != CHAMPION and now - since < REFRESH_US:
            raise ModelUnavailableError(error.what, hint=error.hint)
        try:
            return self._models.version(task, which)
        except ModelUnavailableError as unavailable:
            self._absent[task, which] = (now, unavailable)
            raise
