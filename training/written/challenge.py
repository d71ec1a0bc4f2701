"""Which version speaks: the one that was fitted last, if its gates hold and its features mean what they meant."""

from __future__ import annotations

from typing import Any

from feature_repo.core.errors import ModelUnavailableError
from feature_repo.core.mlflow_client import champion_of
from training.registry.bundle import Bundle
from training.registry.send import Judge
from training.runs.aliases import Verdict
from training.runs.registered import FIRST
from training.runs.version import Version
from training.written.model import ShopperModel

OPTIONS, KEEP_CHAMPION = "options", "--keep-champion"
FITTED_AT = "fitted_at"
"""Tag: when it was fitted, Unix milliseconds; a version that was kept while MLflow was away is created later."""


def judge_fitted(bundle: Bundle) -> Judge:
    """Return what judges a run right after its fit: the last word is the latest, unless the champion was to stay."""

    def judged(client: Any) -> Verdict:
        if bundle.tags[OPTIONS] == KEEP_CHAMPION:
            return Verdict(beats=False, why="the champion was to stay")
        return Verdict(beats=True, why="fitted later" if champion_of(client, bundle.name) else FIRST)

    return judged


def judge_kept(model: ShopperModel, bundle: Bundle) -> Judge:
    """Return what judges a run that was kept: as right after its fit, unless the world has gone on since."""

    def judged(client: Any) -> Verdict:
        if bundle.tags["definitions"] != model.definitions():
            return Verdict(beats=False, why="its features are defined otherwise now")
        champion = champion_of(client, model.name)
        if champion is not None and _fitted_at(champion) > bundle.trained_at:
            return Verdict(beats=False, why=f"{model.name}@{champion.version} was fitted later")
        return judge_fitted(bundle)(client)

    return judged


def check_speaks(model: ShopperModel, version: Version) -> None:
    """Refuse a version whose features are defined otherwise now.

    Raises
    ------
    ModelUnavailableError
        The message says how to get one of today's definitions.
    """
    if version.tags.get("definitions") != model.definitions():
        raise ModelUnavailableError(f"{version.name} was fitted on other definitions of its features.", hint=model.hint)


def _fitted_at(champion: Any) -> int:
    return int(champion.tags.get(FITTED_AT, champion.creation_timestamp))
