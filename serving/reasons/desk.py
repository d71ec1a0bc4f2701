"""What a client keeps for reasons: it explains, shows the events behind, and asks what would be without some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from feature_repo.core.mlflow_client import CHAMPION
from feature_repo.core.settings import Settings
from serving.asked import Asked
from serving.catalogue import Catalogue
from serving.models import Model
from serving.reasons.answers import Evidence, WhatIf, Without, check_without
from serving.reasons.evidence import evidence_of
from serving.reasons.explain import Grounds, check_one
from serving.reasons.explanation import Explanation, Reason
from serving.reasons.what_if import what_if
from serving.scoring import ModelRegistry

Ask = Callable[[Model, Any, Mapping[str, Any]], Asked]


class ReasonDesk:
    """Answers why. Threads may share one.

    Parameters
    ----------
    ask
        Reads what a model is asked.
    """

    def __init__(self, settings: Settings, catalogue: Catalogue, models: ModelRegistry, ask: Ask) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._models = models
        self._ask = ask
        self._known: dict[str, Grounds] = {}

    def explain(self, task: str, user: Any, context: Mapping[str, Any], version: str | None) -> Explanation:
        """Explain an answer; see :meth:`serving.sdk.ProfileClient.explain`."""
        grounds, asked = self._asked(task, user, context, version)
        return grounds.explain(asked)

    def what_if(
        self, task: str, user: Any, without: Without, context: Mapping[str, Any], version: str | None
    ) -> WhatIf:
        """Score without some events; see :meth:`serving.sdk.ProfileClient.what_if`."""
        check_without(without)
        grounds, asked = self._asked(task, user, context, version)
        return what_if(self._settings, grounds, asked, without)

    def evidence(self, pseudonym: str, reason: Reason, most: int) -> tuple[Evidence, ...]:
        """Show the events behind a reason; see :meth:`serving.sdk.ProfileClient.evidence`."""
        return evidence_of(self._settings, pseudonym, reason.traces, most=most)

    def warm_up(self, model: Model) -> None:
        """Work out what explaining a model needs to know."""
        self._grounds(model)

    def _asked(self, task: str, user: Any, context: Mapping[str, Any], version: str | None) -> tuple[Grounds, Asked]:
        model = self._models.version(task, CHAMPION if version is None else version)
        asked = self._ask(model, user, context)
        check_one(asked)
        return self._grounds(model), asked

    def _grounds(self, model: Model) -> Grounds:
        plan, labels = self._catalogue.plan(model.service), self._catalogue.labels()
        known = self._known.get(model.name)
        if known is None or known.model is not model or known.plan is not plan:
            known = Grounds.of(model, plan, labels)
            # A new dict, without what earlier versions of the task needed.
            kept = {name: each for name, each in self._known.items() if each.model.task != model.task}
            self._known = {**kept, model.name: known}
        return known
