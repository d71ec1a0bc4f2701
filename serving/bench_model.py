"""A champion for the benches of serving: trees of a usual size over the twenty features of a synthetic shopper."""

from __future__ import annotations

import json
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from feature_repo.bench.synthetic import SEED
from feature_repo.core.errors import CheckFailedError
from feature_repo.core.mlflow_client import CHAMPION, open_mlflow, pointed_at, quiet_mlflow
from feature_repo.core.mlflow_home import artifact_root, settle
from feature_repo.core.settings import Settings
from feature_repo.engine.contract import service_contract
from feature_repo.engine.feature_store import open_store
from serving.sdk import ProfileClient

TASK = "bench"
TREES = 200
DEPTH = 6
TAUGHT = 1_000


def taught(client: ProfileClient, service: str, users: list[str]) -> xgboost.Booster:
    """Boosted trees on what the shoppers' features are; what they are taught is of no consequence to their speed."""
    matrix = client.features(users[:TAUGHT], service=service).to_numpy()
    label = np.random.default_rng(SEED).random(len(matrix)) < 0.3  # noqa: PLR2004
    parameters = {"objective": "binary:logistic", "max_depth": DEPTH, "nthread": 1, "seed": SEED}
    return xgboost.train(parameters, xgboost.DMatrix(matrix, label), num_boost_round=TREES)


def make_champion(settings: Settings, client: ProfileClient, service: str, booster: xgboost.Booster) -> None:
    """Make the model the champion of ``bench``."""
    promote(settings, register(settings, client, service, booster))


def promote(settings: Settings, version: str, *, name: str = TASK) -> None:
    """Let a version of a model, ``bench`` unless named, be its champion."""
    open_mlflow(settings.tracking_uri).set_registered_model_alias(name, CHAMPION, version)


def register(settings: Settings, client: ProfileClient, service: str, booster: xgboost.Booster) -> str:
    """Register a version of ``bench`` as training registers one, with the same code to score by; return its number."""
    settle(settings)
    names = client.features([], service=service).reading.table.column_names
    contract = {name: service_contract(open_store(), service)[name] for name in names}
    head = {
        "columns": names,
        "weights": {"linear": 0.0, "boosting": 1.0},
        "linear": None,
        "calibration": {"slope": 1.0, "offset": 0.0},
        "link": "logit",
    }
    with tempfile.TemporaryDirectory() as folder:
        artifacts = {name: str(Path(folder) / f"{name}.json") for name in ("head", "contract")}
        Path(artifacts["head"]).write_text(json.dumps(head), "utf-8")
        Path(artifacts["contract"]).write_text(json.dumps(contract), "utf-8")
        artifacts["booster_0"] = str(Path(folder) / "booster_0.ubj")
        booster.save_model(artifacts["booster_0"])
        return logged(settings, artifacts, name=TASK, tags={"feature_service": service, "context": "[]"})


def logged(settings: Settings, artifacts: dict[str, str], *, name: str, tags: dict[str, str]) -> str:
    """Log and register a model of training's code in the home's MLflow; return its version."""
    import mlflow  # noqa: PLC0415

    registry, needs = open_mlflow(settings.tracking_uri), ["mlflow"]
    with quiet_mlflow(), pointed_at(settings.tracking_uri):
        with mlflow.start_run(experiment_id=_experiment(registry, settings)) as run:
            made = mlflow.pyfunc.log_model(name=name, python_model=_code(), artifacts=artifacts, pip_requirements=needs)
        if not registry.search_registered_models(f"name = '{name}'"):
            registry.create_registered_model(name)
        return str(registry.create_model_version(name, made.model_uri, run_id=run.info.run_id, tags=tags).version)


def _code() -> str:
    code = find_spec("training.scorer")
    if code is None or code.origin is None:
        raise CheckFailedError("Package 'training' is not installed.", hint="install Portrait whole.")
    return code.origin


def _experiment(registry: Any, settings: Settings) -> str:
    found = registry.get_experiment_by_name(TASK)
    if found is not None:
        return str(found.experiment_id)
    # MLflow's own experiment keeps its files in the directory the command is run from.
    return str(registry.create_experiment(TASK, artifact_location=(artifact_root(settings) / TASK).as_uri()))
