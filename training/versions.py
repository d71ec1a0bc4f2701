"""Logs a run with a model that answers no task, registers it as a version, and promotes it if its gates hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version as version_of
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from feature_repo.core.errors import ModelUnavailableError
from feature_repo.core.mlflow_client import CHAMPION, champion_of
from feature_repo.core.settings import Settings
from training.registry import Registered
from training.tracking import experiment_id, tracking

Draw = Callable[[Path], None]


@dataclass(frozen=True, eq=False)
class NewVersion:
    """A model and its evidence.

    Attributes
    ----------
    texts, pictures
        Artifacts of the run by file name: their text, or what draws them to a path.
    code
        Self-contained module that MLflow runs the model by.
    state
        Text of each artifact of the model, by the name its code finds it under.
    example
        Input rows no shopper is behind.
    packages
        Distributions the code needs.
    holds
        Whether every gate holds.
    """

    name: str
    description: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    texts: Mapping[str, str]
    pictures: Mapping[str, Draw]
    code: Path
    state: Mapping[str, str]
    example: pd.DataFrame
    signature: Any
    packages: tuple[str, ...]
    holds: bool
    promote: bool = field(default=True)


def log_version(new: NewVersion, settings: Settings) -> Registered:
    """Log a run and register its model; it becomes champion if it may and its gates hold.

    Raises
    ------
    StoreUnavailableError
        MLflow does not answer.
    """
    with tracking(settings) as client, TemporaryDirectory() as folder:
        import mlflow  # noqa: PLC0415 - seconds

        with mlflow.start_run(experiment_id=experiment_id(client, settings, new.name), run_name=new.name) as run:
            mlflow.log_params(dict(new.params))
            mlflow.log_metrics(dict(new.metrics))
            mlflow.set_tag("mlflow.note.content", new.texts.get("model_card.md", new.description))
            mlflow.log_artifacts(str(_write_run(new, Path(folder) / "run")))
            uri = _log_model(new, Path(folder) / "model")
        number = _create(client, new, uri, run.info.run_id)
    return Registered(number, run.info.run_id, new.holds and new.promote)


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
    logged = mlflow.pyfunc.log_model(
        name=new.name,
        python_model=str(new.code),
        artifacts={name: str(folder / f"{name}.json") for name in new.state},
        pip_requirements=[f"{each}=={version_of(each)}" for each in ("mlflow", *new.packages)],
        signature=new.signature,
        input_example=new.example,
    )
    return str(logged.model_uri)


def _create(client: Any, new: NewVersion, uri: str, run_id: str) -> str:
    if not client.search_registered_models(f"name = '{new.name}'"):
        client.create_registered_model(new.name, description=new.description)
    tags = {**new.tags, "gates": "passed" if new.holds else "failed"}
    created = client.create_model_version(
        new.name, uri, run_id=run_id, tags=tags, description=new.description, model_id=uri.rpartition("/")[2]
    )
    if new.holds and new.promote:
        client.set_registered_model_alias(new.name, CHAMPION, created.version)
    return str(created.version)
