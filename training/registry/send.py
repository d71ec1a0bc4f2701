"""Sends a bundle to MLflow: run, model, version, aliases. Sent again, it goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from feature_repo.core.console import to_json
from feature_repo.core.mlflow_client import unavailable
from feature_repo.core.settings import Settings
from feature_repo.privacy.tombstones import Tombstones
from training.registry.bundle import CODE, Bundle
from training.registry.pending import RunKeptError, discard, drop_erased, keep
from training.runs.aliases import Verdict, place
from training.runs.registered import REPORT, Registered
from training.runs.tracking import experiment_id, tracking

Judge = Callable[[Any], Verdict]
"""Asked with MLflow's client, once the version is there, if every gate holds: whether it beats the champion."""

_PARAMS_AT_ONCE = 100  # what MLflow takes in one request
_METRICS_AT_ONCE = 1000

Item = TypeVar("Item")


def send_or_keep(bundle: Bundle, settings: Settings, judge: Judge, *, action: str) -> Registered:
    """Send a bundle; if MLflow does not take it, keep it below the home.

    Raises
    ------
    RunKeptError
        MLflow did not take it.
    """
    try:
        return send(bundle, settings, judge, action=action)
    except Exception as error:
        folder = keep(bundle, settings)
        if not _is_outage(error):
            raise
        raise RunKeptError(_said(settings, error), bundle.name, folder) from error


def upload_kept(bundle: Bundle, settings: Settings, judge: Judge) -> Registered:
    """Send a kept bundle, and remove it.

    Raises
    ------
    RunKeptError
        MLflow did not take it; it stays.
    """
    registered = send_or_keep(bundle, settings, judge, action="upload")
    discard(bundle)
    return registered


def send(bundle: Bundle, settings: Settings, judge: Judge, *, action: str) -> Registered:
    """Log the run, register its model as the next version, and place the aliases."""
    with tracking(settings) as client:
        run_id = _run(client, settings, bundle)
        _log(client, run_id, bundle)
        if bundle.entity_rows.exists():
            _log_entity_rows(client, run_id, bundle.entity_rows, settings)
        uri = bundle.sent().get("model_uri") or _log_model(run_id, bundle)
        version = _version(client, run_id, uri, bundle)
        verdict = place(client, settings, bundle.name, version, _judged(bundle, judge), action=action)
        registered = Registered(
            version, run_id, promoted=verdict.beats, challenger=verdict.passed and not verdict.beats, reason=verdict.why
        )
        if bundle.report:
            client.log_text(run_id, to_json({**bundle.report, **registered.facts}), REPORT)
        client.set_terminated(run_id)
    return registered


def _judged(bundle: Bundle, judge: Judge) -> Judge:
    failed = Verdict(beats=False, why="a gate does not hold", passed=False)
    return judge if bundle.holds else lambda _client: failed


def _run(client: Any, settings: Settings, bundle: Bundle) -> str:
    known = bundle.sent()
    if known and _exists(client, known["run_id"]):
        return known["run_id"]
    experiment = experiment_id(client, settings, bundle.name)
    run = client.create_run(experiment, start_time=bundle.trained_at, run_name=bundle.name, tags=dict(bundle.tags))
    bundle.note_sent(run_id=run.info.run_id, model_uri="")
    return str(run.info.run_id)


def _exists(client: Any, run_id: str) -> bool:
    """Whether this MLflow has the run: another server, or a new database, has not."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - seconds

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def _log(client: Any, run_id: str, bundle: Bundle) -> None:
    from mlflow.entities import Metric, Param  # noqa: PLC0415 - seconds

    # One instant and step: logged twice, MLflow has them once.
    metrics = [Metric(name, value, bundle.trained_at, 0) for name, value in bundle.metrics.items()]
    params = [Param(name, str(value)) for name, value in bundle.params.items()]
    for some in _chunks(params, _PARAMS_AT_ONCE):
        client.log_batch(run_id, params=some)
    for part in _chunks(metrics, _METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=part)
    client.set_tag(run_id, "mlflow.note.content", bundle.note)
    client.log_artifacts(run_id, str(bundle.run_folder))


def _log_entity_rows(client: Any, run_id: str, file: Path, settings: Settings) -> None:
    """List the rows, but those of people who were erased since they were read; who is erased next is found in it."""
    tombstones = Tombstones(settings.home)
    with tombstones.unchanged():
        drop_erased(file, tombstones)
        client.log_artifact(run_id, str(file))


def _chunks(items: list[Item], size: int) -> Iterator[list[Item]]:
    left = iter(items)
    while chunk := list(islice(left, size)):
        yield chunk


def _log_model(run_id: str, bundle: Bundle) -> str:
    import mlflow  # noqa: PLC0415 - seconds
    from mlflow.models import ModelSignature  # noqa: PLC0415

    with mlflow.start_run(run_id=run_id, nested=True):
        logged = mlflow.pyfunc.log_model(
            name=bundle.name,
            python_model=str(bundle.folder / CODE),
            artifacts=bundle.model_artifacts,
            pip_requirements=list(bundle.requirements),
            signature=ModelSignature.from_dict(dict(bundle.signature)),
            input_example=bundle.example,
            metadata=dict(bundle.metadata),
        )
    bundle.note_sent(model_uri=logged.model_uri)
    return str(logged.model_uri)


def _version(client: Any, run_id: str, uri: str, bundle: Bundle) -> str:
    if not client.search_registered_models(f"name = '{bundle.name}'"):
        client.create_registered_model(bundle.name, description=bundle.description)
    made = client.search_model_versions(f"name = '{bundle.name}' and run_id = '{run_id}'")
    found = made or [
        client.create_model_version(
            bundle.name,
            uri,
            run_id=run_id,
            tags=dict(bundle.tags),
            description=bundle.description,
            model_id=uri.rpartition("/")[2],
        )
    ]
    return str(found[0].version)


def _is_outage(error: Exception) -> bool:
    """Whether MLflow or what it keeps things in failed, rather than this program."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - seconds
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from feature_repo.core.errors import StoreUnavailableError  # noqa: PLC0415

    return isinstance(error, (MlflowException, SQLAlchemyError, OSError, StoreUnavailableError))


def _said(settings: Settings, error: Exception) -> str:
    what = getattr(error, "what", "") or unavailable(settings.tracking_uri, error).what
    return str(what) if what.endswith(".") else f"{what}."
