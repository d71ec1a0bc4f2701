"""What a model must beat: plain models on the same rows, fitted, calibrated and measured the same way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from training.declaring.recipe import Forest, Linear, Margin, Plain, Recipe, Tree

RECENCY = ("user_payments__days_since",)
RFM = (*RECENCY, "user_payments__count_84d", "user_payments__amount_sum_84d")

ALL_FEATURE = "all_feature"
XGBOOST = "xgboost"


def baselines_of(model: Recipe, own: Mapping[str, Recipe], *, linear: str = "logistic") -> dict[str, Recipe]:
    """Return the baselines of a model by name: the simplest of all, the model's parts alone, and other kinds of models.

    Parameters
    ----------
    model
        The task's model. Its linear part alone, over the same inputs, is ``all_feature_logistic``; a blend's trees
        alone are ``xgboost``. The other kinds read the same inputs.
    own
        What the task declares besides, its last value for instance.
    linear
        What the objective calls a linear model: the names end so; without, there are the task's own alone.

    >>> from training.declaring.recipe import Boosting
    >>> list(baselines_of(Recipe(linear=Linear(), boosting=Boosting()), {}))  # doctest: +NORMALIZE_WHITESPACE
    ['recency', 'rfm_logistic', 'all_feature_logistic', 'xgboost', 'decision_tree', 'random_forest', 'linear_svm']
    """
    if not linear:
        return dict(own)
    found = {"recency": Recipe(inputs=RECENCY, linear=Linear()), f"rfm_{linear}": Recipe(inputs=RFM, linear=Linear())}
    found |= own
    found[f"{ALL_FEATURE}_{linear}"] = replace(model, linear=model.linear or Linear(), boosting=None)
    if model.linear and model.boosting:
        found[XGBOOST] = replace(model, linear=None)
    kinds: dict[str, Plain] = {"decision_tree": Tree(), "random_forest": Forest(), "linear_svm": Margin()}
    return found | {name: Recipe(inputs=model.inputs, plain=kind) for name, kind in kinds.items()}
