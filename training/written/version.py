"""Logs a run with such a model, registers it as a version, and makes it champion if its gates hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as version_of
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.core.clock import to_us
from feature_repo.core.errors import ModelUnavailableError
from feature_repo.core.mlflow_client import champion_of
from feature_repo.core.settings import Settings
from training.runs.aliases import Verdict, place
from training.runs.registered import FIRST, Registered
from training.runs.tracking import experiment_id, tracking
from training.written.basis import Basis
from training.written.code import self_contained

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


def log_version(new: NewVersion, basis: Basis, settings: Settings, *, promote: bool = True) -> Registered:
    """Log a run and register its model; if its gates hold it becomes champion, or challenger if it may not.

    Raises
    ------
    StoreUnavailableError
        MLflow does not answer.
    """
    with tracking(settings) as client, TemporaryDirectory() as folder:
        import mlflow  # noqa: PLC0415 - seconds

        with mlflow.start_run(experiment_id=experiment_id(client, settings, new.name), run_name=new.name) as run:
            mlflow.log_params(basis.params)
            mlflow.log_metrics({name: value for name, value in new.metrics.items() if np.isfinite(value)})
            mlflow.set_tag("mlflow.note.content", new.texts.get("model_card.md", new.description))
            mlflow.log_artifacts(str(_write_run(new, Path(folder) / "run")))
            uri = _log_model(new, Path(folder) / "model")
        number = _create(client, new, basis, uri, run.info.run_id)
        verdict = place(client, settings, new.name, number, lambda found: _judged(found, new, promote), action="fit")
    challenger = verdict.passed and not verdict.beats
    return Registered(number, run.info.run_id, verdict.beats, challenger, verdict.why)


def _judged(client: Any, new: NewVersion, promote: bool) -> Verdict:
    if not new.holds:
        return Verdict(beats=False, why="its gates do not hold", passed=False)
    if not promote:
        return Verdict(beats=False, why="the champion was to stay")
    return Verdict(beats=True, why="fitted later" if champion_of(client, new.name) else FIRST)


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


def _write_run(new: NewVersion, folder: Path) -> Path:
    folder.mkdir()
    for name, text in new.texts.items():
        (folder / name).write_text(text, "utf-8")
    for name, draw in new.pictures.items():
        draw(folder / name)
    return folder


def _log_model(new: NewVersion, folder: Path) -> str:
    import mlflow  # noqa: PLC0415

    folder.mkdir()
    for name, text in new.state.items():
        (folder / f"{name}.json").write_text(text, "utf-8")
    code = folder / new.code.name
    code.write_text(self_contained(new.code), "utf-8")
    logged = mlflow.pyfunc.log_model(
        name=new.name,
        python_model=str(code),
        artifacts={name: str(folder / f"{name}.json") for name in new.state},
        pip_requirements=[f"{each}=={version_of(each)}" for each in ("mlflow", *new.packages)],
        signature=_signature(new),
        input_example=new.example,
    )
    return str(logged.model_uri)


def _signature(new: NewVersion) -> Any:
    from mlflow.models import ModelSignature  # noqa: PLC0415
    from mlflow.types import ColSpec, Schema  # noqa: PLC0415

    return ModelSignature(Schema([ColSpec("double", str(name)) for name in new.example.columns]), new.outputs)


def _create(client: Any, new: NewVersion, basis: Basis, uri: str, run_id: str) -> str:
    if not client.search_registered_models(f"name = '{new.name}'"):
        client.create_registered_model(new.name, description=new.description)
    tags = {**new.tags, **basis.tags, "gates": "passed" if new.holds else "failed"}
    created = client.create_model_version(
        new.name, uri, run_id=run_id, tags=tags, description=new.description, model_id=uri.rpartition("/")[2]
    )
    return str(created.version)
