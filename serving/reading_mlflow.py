"""Opens MLflow to read it: nothing is created, and nobody is told more than that it does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from feature_repo.core.errors import ModelUnavailableError, StoreUnavailableError
from feature_repo.core.mlflow_client import SQLITE, open_mlflow, quiet_mlflow, unavailable
from feature_repo.core.mlflow_home import settle
from feature_repo.core.settings import Settings

_opening = Lock()  # whoever is first imports MLflow, which is no work for two


@contextmanager
def reading_mlflow(settings: Settings, *, timeout_s: float) -> Iterator[Any]:
    """Yield a client of MLflow, or None if its database was never made, without a word from MLflow.

    Parameters
    ----------
    timeout_s
        For a server to answer at all.

    Raises
    ------
    StoreUnavailableError
        MLflow does not answer, now or while it is asked in the block.
    """
    uri = settings.tracking_uri
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists():
        yield None
        return
    settle(settings)
    try:
        with quiet_mlflow():
            with _opening:
                client = open_mlflow(uri, timeout_s=timeout_s)
            yield client
    except (ModelUnavailableError, StoreUnavailableError):
        raise
    except Exception as error:
        raise unavailable(uri, error) from error
