"""Opens MLflow: the server a setting names, else SQLite and a directory below the home."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from feature_repo.core.mlflow_client import open_mlflow, pointed_at, quiet_mlflow, unavailable
from feature_repo.core.mlflow_home import artifact_root, mlflow_lock, settle
from feature_repo.core.settings import Settings, ensure_home


@contextmanager
def tracking(settings: Settings) -> Iterator[Any]:
    """Point MLflow at the store of the settings and yield a client; afterwards it points where it did before.

    MLflow's address is one for the whole process: two threads must not track at once.

    Raises
    ------
    StoreUnavailableError
        The server does not answer, or the database cannot be opened or brought to where the home is.
    """
    (ensure_home(settings) / "mlflow").mkdir(mode=0o700, parents=True, exist_ok=True)
    with quiet_mlflow(), pointed_at(settings.tracking_uri):
        settle(settings)
        with mlflow_lock(settings):  # two processes that create the database at once damage it
            client = open_mlflow(settings.tracking_uri)
            _ask(client, settings.tracking_uri)
        yield client


def _ask(client: Any, uri: str) -> None:
    try:
        client.search_experiments(max_results=1)
    except Exception as error:
        raise unavailable(uri, error) from error


def experiment_id(client: Any, settings: Settings, name: str) -> str:
    """Return the experiment of a task, created if it is missing; in the default store with artifacts below the home."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = None if settings.mlflow_tracking_uri else (artifact_root(settings) / name).as_uri()
    return str(client.create_experiment(name, artifact_location=location))
