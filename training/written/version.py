"""Versions of such a model: what a new one consists of, and those the registry has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from feature_repo.core.clock import to_us
from feature_repo.core.errors import ModelUnavailableError
from feature_repo.core.mlflow_client import champion_of
from feature_repo.core.settings import Settings
from training.runs.tracking import tracking
from training.written.basis import Basis

Draw = Callable[[Path], None]


@dataclass(frozen=True, eq=False)
class NewVersion:
    """A model and its evidence, beside what every version says of the rows it rests on.

    Attributes
    ----------
    metrics
        Those that are no numbers are left out.
    texts, pictures
        Artifacts of the run by file name: their text, or what draws them to a path.
    code
        Module that MLflow runs the model by; it imports nothing of this project but its base.
    state
        Text of each artifact of the model, by the name its code finds it under.
    example
        Input rows no shopper is behind.
    outputs
        Schema (MLflow's) of what it returns.
    packages
        Distributions the code needs.
    holds
        Whether every gate holds.
    """

    name: str
    description: str
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    texts: Mapping[str, str]
    pictures: Mapping[str, Draw]
    code: Path
    state: Mapping[str, str]
    example: pd.DataFrame
    outputs: Any
    holds: bool
    packages: tuple[str, ...] = ("numpy", "pandas")


def current_champion(settings: Settings, name: str) -> Any | None:
    """Return the champion (an MLflow ``ModelVersion``) of a name; None without one.

    Raises
    ------
    StoreUnavailableError
        MLflow does not answer.
    """
    with tracking(settings) as client:
        return champion_of(client, name)


def versions_on(settings: Settings, name: str, basis: Basis) -> list[Any]:
    """Return the versions that rest on the same rows, definitions and recipe, the latest first.

    Raises
    ------
    StoreUnavailableError
        MLflow does not answer.
    """
    with tracking(settings) as client:
        found = client.search_model_versions(f"name = '{name}'")
    same = [each for each in found if basis.identity.items() <= each.tags.items()]
    return sorted(same, key=lambda each: -int(each.version))


def trained_until(version: Any) -> int:
    """Return the instant (us) a version's rows look back from; 0 if it does not say."""
    said = version.tags.get("trained_until")
    return to_us(datetime.fromisoformat(said)) if said else 0


@dataclass(frozen=True, eq=False)
class Champion:
    """A loaded champion: the object its code makes, its version, and the run it came from."""

    model: Any
    version: str
    run_id: str


def load_champion(settings: Settings, name: str, *, definitions: str, hint: str) -> Champion:
    """Load the champion of a name.

    Parameters
    ----------
    definitions
        Fingerprint of the features as they are declared now.
    hint
        What to do if there is none.

    Raises
    ------
    ModelUnavailableError
        There is no champion, or it was fitted on other definitions.
    StoreUnavailableError
        MLflow does not answer.
    """
    with tracking(settings) as client:
        import mlflow  # noqa: PLC0415 - seconds

        champion = champion_of(client, name)
        if champion is None:
            raise ModelUnavailableError(f"The registry has no champion '{name}'.", hint=hint)
        if champion.tags.get("definitions") != definitions:
            raise ModelUnavailableError(
                f"'{name}' version {champion.version} was fitted on other definitions of its features.", hint=hint
            )
        loaded = mlflow.pyfunc.load_model(f"models:/{name}/{champion.version}")
        return Champion(loaded.unwrap_python_model(), str(champion.version), str(champion.run_id))
