"""Opens MLflow: the server a setting names, else SQLite and a directory below the home."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.settings import Settings, ensure_home
from feature_repo.core.stores import mask_password

_LOUD = ("mlflow", "alembic")


@contextmanager
def tracking(settings: Settings) -> Iterator[Any]:
    """Point MLflow at the store of the settings and yield a client; afterwards it points where it did before.

    MLflow's address is one for the whole process: two threads must not track at once.

    Raises
    ------
    StoreUnavailableError
        The server does not answer, or the database cannot be opened.
    """
    import mlflow  # noqa: PLC0415 - seconds

    _mlflow_home(settings).mkdir(mode=0o700, parents=True, exist_ok=True)
    # MLflow keeps its address in the environment too, from where our settings would read it back: unset it as it was.
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    levels = {name: logging.getLogger(name).level for name in _LOUD}
    try:
        for name in _LOUD:
            logging.getLogger(name).setLevel(logging.ERROR)
        mlflow.set_tracking_uri(settings.tracking_uri)
        yield _client(settings)
    finally:
        mlflow.set_tracking_uri(before)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def experiment_id(client: Any, settings: Settings, name: str) -> str:
    """Return the experiment of a task, created if it is missing; in the default store with artifacts below the home."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = None if settings.mlflow_tracking_uri else (_mlflow_home(settings) / "artifacts" / name).as_uri()
    return str(client.create_experiment(name, artifact_location=location))


def _client(settings: Settings) -> Any:
    from mlflow import MlflowClient  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's own use of SQLAlchemy
            client = MlflowClient()
            client.search_experiments(max_results=1)
    except Exception as error:  # noqa: BLE001 - MLflow, SQLAlchemy and requests each have their own
        raise StoreUnavailableError(
            f"MLflow at {mask_password(settings.tracking_uri)} does not answer: {_first_line(error)}",
            hint="start the server MLFLOW_TRACKING_URI names, or unset it to use the database below the home.",
        ) from None
    return client


def _mlflow_home(settings: Settings) -> Path:
    return ensure_home(settings) / "mlflow"


def _first_line(error: Exception) -> str:
    return mask_password((str(error).splitlines() or [type(error).__name__])[0])
