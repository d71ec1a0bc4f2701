"""A person leaves the lists of rows that training runs were made of; models are sums over all, and stay."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.core.mlflow_client import open_mlflow, quiet_mlflow, unavailable
from feature_repo.core.mlflow_home import artifact_root
from feature_repo.core.settings import Settings
from feature_repo.core.stores import atomic_write
from feature_repo.events.removal import naming
from training.registry.bundle import ENTITY_ROWS
from training.registry.pending import pending_root

__all__ = ["ENTITY_ROWS", "erase_entity_rows"]


def erase_entity_rows(settings: Settings, needle: str, *, dry_run: bool) -> int:
    """Remove rows that contain ``needle`` from the entity rows of all runs; return how many there were.

    Below the home the files are rewritten in place, those of deleted runs and of runs that wait for MLflow too. A
    server that ``MLFLOW_TRACKING_URI`` names is asked for the artifact of every run, and given what is left of it.

    Raises
    ------
    StoreUnavailableError
        The server does not answer.
    """
    found = 0
    for file in sorted(file for root in _roots(settings) for file in root.rglob(ENTITY_ROWS)):
        found += _scrub(file, needle, dry_run=dry_run)
    return found + (_scrub_server(settings, needle, dry_run=dry_run) if settings.mlflow_tracking_uri else 0)


def _roots(settings: Settings) -> tuple[Path, ...]:
    return artifact_root(settings), pending_root(settings)


def _scrub(file: Path, needle: str, *, dry_run: bool) -> int:
    with pq.ParquetFile(file) as opened:
        rows = opened.read()
    named = naming(rows, needle)
    count = int(pc.sum(named).as_py() or 0)
    if count and not dry_run:
        sink = pa.BufferOutputStream()
        pq.write_table(rows.filter(pc.invert(named)), sink)
        atomic_write(file, sink.getvalue().to_pybytes())
    return count


def _scrub_server(settings: Settings, needle: str, *, dry_run: bool) -> int:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - seconds

    found = 0
    with quiet_mlflow(), tempfile.TemporaryDirectory() as folder:
        client = open_mlflow(settings.tracking_uri)
        try:
            for run in _runs(client):
                with suppress(OSError):  # a run without such an artifact
                    path = Path(client.download_artifacts(run, ENTITY_ROWS, folder))
                    count = _scrub(path, needle, dry_run=dry_run)
                    if count and not dry_run:
                        client.log_artifact(run, str(path))
                    found += count
        except MlflowException as error:
            raise unavailable(settings.tracking_uri, error) from error
    return found


def _runs(client: Any) -> Iterator[str]:
    from mlflow.entities import ViewType  # noqa: PLC0415 - seconds

    experiments = [each.experiment_id for each in client.search_experiments(view_type=ViewType.ALL)]
    token = None
    while experiments:
        page = client.search_runs(experiments, run_view_type=ViewType.ALL, page_token=token)
        for run in page:
            if any(each.path == ENTITY_ROWS for each in client.list_artifacts(run.info.run_id)):
                yield run.info.run_id
        token = page.token
        if not token:
            return
