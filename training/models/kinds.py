"""What a registered name stands for, a task or a model of shoppers: each kind says itself which versions may answer."""

from __future__ import annotations

from feature_repo.core.settings import Settings
from training.registry.bundle import Bundle
from training.registry.promotion import check_servable
from training.registry.send import Judge
from training.registry.upload import judge_task
from training.runs.version import Version
from training.shopper_models import shopper_models
from training.written.challenge import check_speaks, judge_kept


def check_version(version: Version) -> None:
    """Refuse a version that serving, or what writes down what it says, would refuse.

    Raises
    ------
    ModelUnavailableError
        Its features mean something else now.
    """
    model = shopper_models().get(version.task)
    if model is None:
        check_servable(version)
    else:
        check_speaks(model, version)


def judge_bundle(bundle: Bundle, settings: Settings) -> Judge:
    """Return what judges a kept run against the champion of today."""
    model = shopper_models().get(bundle.name)
    return judge_task(bundle, settings) if model is None else judge_kept(model, bundle)
