"""What a model must beat: plain models on the same rows, fitted, calibrated and measured the same way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from training.recipe import Linear, Recipe

RFM = ("user_payments__days_since", "user_payments__count_84d", "user_payments__amount_sum_84d")

RFM_LOGISTIC = "rfm_logistic"
ALL_FEATURE = "all_feature"
ALL_FEATURE_LOGISTIC = f"{ALL_FEATURE}_logistic"
XGBOOST = "xgboost"


def baselines_of(model: Recipe, own: Mapping[str, Recipe], *, linear: str = "logistic") -> dict[str, Recipe]:
    """Return the baselines of a model by name: recency-frequency-money, the task's own, and the model's parts alone.

    Parameters
    ----------
    model
        The task's model. Its linear part alone, over the same inputs, is ``all_feature_logistic``; a blend's trees
        alone are ``xgboost``.
    own
        What the task declares besides.
    linear
        What the objective calls a linear model: the names end so.

    >>> from training.recipe import Boosting
    >>> list(baselines_of(Recipe(linear=Linear(), boosting=Boosting()), {}))
    ['rfm_logistic', 'all_feature_logistic', 'xgboost']
    """
    found = {f"rfm_{linear}": Recipe(inputs=RFM, linear=Linear()), **own}
    found[f"{ALL_FEATURE}_{linear}"] = replace(model, linear=model.linear or Linear(), boosting=None)
    if model.linear and model.boosting:
        found[XGBOOST] = replace(model, linear=None)
    return found
