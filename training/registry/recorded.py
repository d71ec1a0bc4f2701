"""What a run says of itself, as MLflow has it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from feature_repo.engine.contract import Contract
from training.data.log_views import Versions
from training.evaluation.extras import Extras
from training.fitting.preparation import PREPARED
from training.registry.erasure import ENTITY_ROWS
from training.registry.register import STUDY, TASK
from training.runs.tracking import tracking
from training.runs.version import CONTRACT, find_version


@dataclass(frozen=True)
class Studied:
    """What the study of a run was asked for, and the versions of the tables it read."""

    extras: Extras
    log_versions: Versions


@dataclass(frozen=True, eq=False)
class Run:
    """What a run says about itself.

    Attributes
    ----------
    tags
        Of the run, and of the version it became.
    metrics, params
        As logged.
    declared
        The task as it was declared; empty in runs that did not keep it.
    contract
        Definitions of its features.
    rows
        Its entity rows, without those of people erased since.
    prepared
        What was decided before its fit; empty if that was nothing.
    """

    run_id: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    declared: Mapping[str, Any]
    contract: Contract
    rows: pd.DataFrame
    prepared: Mapping[str, Any] = field(default_factory=dict)

    @property
    def log_versions(self) -> Versions:
        """Table -> version the run read."""
        found: Versions = json.loads(self.tags["log_versions"])
        return found

    @property
    def studied(self) -> Studied | None:
        """What was measured besides; None of a run that does not say."""
        told = self.tags.get(STUDY)
        if told is None:
            return None
        found = json.loads(told)
        return Studied(Extras(found["rolling"], found["permute"]), found["log_versions"])


def read_run(settings: Settings, task: str, asked: str) -> Run:
    """Return what MLflow knows of a run.

    Raises
    ------
    DataError
        There is no such run, it is one of another task, or it lacks what a reproduction needs.
    """
    with tracking(settings) as client, TemporaryDirectory() as folder:
        run_id = _run_id(client, settings, asked)
        found = _found(client, run_id).data
        versions = client.search_model_versions(f"run_id = '{run_id}'")
        tags = {**(versions[0].tags if versions else {}), **found.tags}
        if tags.get("task") != task or "log_versions" not in tags:
            raise DataError(
                f"Run {run_id} is no training of task '{task}'.", hint=f"see `portrait models list {task}`."
            )
        with _needed(run_id):
            contract = json.loads(_artifact(client, run_id, CONTRACT, folder).read_text("utf-8"))
            rows = pq.read_table(_artifact(client, run_id, ENTITY_ROWS, folder)).to_pandas()
        kept = {each.path for each in client.list_artifacts(run_id)}
        declared, prepared = (
            json.loads(_artifact(client, run_id, name, folder).read_text("utf-8")) if name in kept else {}
            for name in (TASK, PREPARED)
        )
    return Run(run_id, tags, found.metrics, found.params, declared, contract, rows, prepared)


def _run_id(client: Any, settings: Settings, asked: str) -> str:
    name, at, version = asked.partition("@")
    return str(find_version(client, settings, name, version).found.run_id) if at else asked


def _found(client: Any, run_id: str) -> Any:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - seconds

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise
        raise DataError(
            f"There is no run '{run_id}'.", hint="pass a run's id or TASK@VERSION, see `portrait models list`."
        ) from None


@contextmanager
def _needed(run_id: str) -> Iterator[None]:
    try:
        yield
    except OSError:
        raise DataError(
            f"Run {run_id} has lost its rows or its definitions.", hint="restore MLflow's artifacts from a backup."
        ) from None


def _artifact(client: Any, run_id: str, name: str, folder: str) -> Path:
    return Path(client.download_artifacts(run_id, name, folder))
