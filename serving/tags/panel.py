"""The champions whose scores tags and snapshots need: those about shoppers alone, with what each is read with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from feature_repo.core.errors import ModelUnavailableError
from serving.catalogue import Catalogue
from serving.entities import USER
from serving.model_plans import plan_of
from serving.models import Model
from serving.online_features import Reading, ServicePlan
from serving.scoring import ModelRegistry
from serving.tags.inputs import score_rows


@dataclass(frozen=True, eq=False)
class Panel:
    """Champions that can answer.

    Attributes
    ----------
    models
        Task -> champion.
    plans
        Task -> plan of its service.
    wanting
        Task -> why it has no champion that can answer about shoppers alone.
    """

    models: Mapping[str, Model]
    plans: Mapping[str, ServicePlan]
    wanting: Mapping[str, str]

    @classmethod
    def of(cls, catalogue: Catalogue, registry: ModelRegistry, tasks: Iterable[str]) -> Panel:
        """Load the champions of some tasks."""
        models, plans, wanting = dict[str, Model](), dict[str, ServicePlan](), dict[str, str]()
        for task in tasks:
            try:
                model = registry.champion(task)
                plan = plan_of(catalogue, model)
            except ModelUnavailableError as error:
                wanting[task] = error.what
                continue
            if plan.entity_columns == (USER,):
                models[task], plans[task] = model, plan
            else:
                wanting[task] = f"Model {model.name} is not about shoppers alone."
        return cls(models, plans, wanting)

    @cached_property
    def names(self) -> dict[str, str]:
        """Task -> ``task@version``."""
        return {task: model.name for task, model in self.models.items()}

    def services(self, own: ServicePlan) -> tuple[ServicePlan, ...]:
        """Return a plan and those of the models, each once."""
        return tuple({plan.service: plan for plan in (own, *self.plans.values())}.values())

    def scores(self, reading: Reading) -> dict[str, npt.NDArray[np.float64]]:
        """Ask every champion about the rows of a reading that holds what it reads: task -> scores."""
        return {task: score_rows(model, reading) for task, model in self.models.items()}
