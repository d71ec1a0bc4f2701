"""Which plan a model is read with, held to the definitions it was trained on."""

from __future__ import annotations

from feature_repo.core.errors import DeclarationError, ModelUnavailableError
from serving.catalogue import Catalogue
from serving.models import Model
from serving.online_features import ServicePlan


def plan_of(catalogue: Catalogue, model: Model) -> ServicePlan:
    """Return the plan of a model's service.

    Raises
    ------
    ModelUnavailableError
        The registry has no such service, or defines its features otherwise than when the model was trained.
    """
    try:
        plan = catalogue.plan(model.service)
    except DeclarationError as error:
        raise ModelUnavailableError(
            f"Model {model.name} reads service '{model.service}': {error.what}",
            hint=f"declare the service again, or run `portrait train {model.task}`.",
        ) from None
    model.check(plan.contract)
    return plan
