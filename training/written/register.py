"""Registers such a model as a version, champion if its gates hold; keeps it below the home while MLflow is away."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version as version_of
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from feature_repo.core.clock import SystemClock
from feature_repo.core.settings import Settings
from training.registry.bundle import CODE, EXAMPLE, Bundle
from training.registry.send import send_or_keep
from training.runs.registered import Registered
from training.written.basis import Basis
from training.written.challenge import FITTED_AT, KEEP_CHAMPION, OPTIONS, judge_fitted
from training.written.code import self_contained
from training.written.version import NewVersion


def log_version(new: NewVersion, basis: Basis, settings: Settings, *, promote: bool = True) -> Registered:
    """Log a run and register its model; if its gates hold it becomes champion, or challenger if it may not.

    Raises
    ------
    RunKeptError
        MLflow does not answer, or stopped answering: the run is kept below the home.
    """
    with TemporaryDirectory() as folder:
        bundle = _bundle(new, basis, Path(folder), promote=promote)
        return send_or_keep(bundle, settings, judge_fitted(bundle), action="fit")


def _bundle(new: NewVersion, basis: Basis, folder: Path, *, promote: bool) -> Bundle:
    now = SystemClock().now_us() // 1000
    _write_run(new, folder / "run")
    _write_model(new.state, folder / "model")
    (folder / CODE).write_text(self_contained(new.code), "utf-8")
    new.example.to_parquet(folder / EXAMPLE)
    bundle = Bundle(
        folder=folder,
        name=new.name,
        description=new.description,
        params=basis.params,
        metrics={name: value for name, value in new.metrics.items() if np.isfinite(value)},
        tags={
            **new.tags,
            **basis.tags,
            "gates": "passed" if new.holds else "failed",
            OPTIONS: "" if promote else KEEP_CHAMPION,
            FITTED_AT: str(now),
        },
        note=new.texts.get("model_card.md", new.description),
        signature=_signature(new).to_dict(),
        metadata={},
        requirements=tuple(f"{each}=={version_of(each)}" for each in ("mlflow", *new.packages)),
        holds=new.holds,
        trained_at=now,
    )
    bundle.write()
    return bundle


def _write_run(new: NewVersion, folder: Path) -> Path:
    folder.mkdir()
    for name, text in new.texts.items():
        (folder / name).write_text(text, "utf-8")
    for name, draw in new.pictures.items():
        draw(folder / name)
    return folder


def _write_model(state: Mapping[str, str], folder: Path) -> None:
    folder.mkdir()
    for name, text in state.items():
        (folder / f"{name}.json").write_text(text, "utf-8")


def _signature(new: NewVersion) -> Any:
    from mlflow.models import ModelSignature  # noqa: PLC0415 - seconds
    from mlflow.types import ColSpec, Schema  # noqa: PLC0415

    return ModelSignature(Schema([ColSpec("double", str(name)) for name in new.example.columns]), new.outputs)
