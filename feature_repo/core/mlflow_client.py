"""What training and serving both do with MLflow: open it, keep it quiet, ask it for a champion.

MLflow is imported when it is first opened, as that takes seconds.
"""

from __future__ import annotations

import logging
import os
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.stores import mask_password

CHAMPION = "champion"
SQLITE = "sqlite:///"

_ADDRESS = "MLFLOW_TRACKING_URI"

# MLflow says "invalid parameter" for an alias that is not set and for a name no model can have.
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_LOUD = ("mlflow", "alembic")
# Read by MLflow when it is imported or used: no reports home, and what it would print or draw.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}


class _Silence:
    """Log levels of MLflow's loggers, raised by the first who asks for quiet and put back by the last."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._asked = 0
        self._levels: dict[str, int] = {}

    def begin(self) -> None:
        with self._lock:
            self._asked += 1
            if self._asked == 1:
                self._levels = {name: logging.getLogger(name).level for name in _LOUD}
                self._set(dict.fromkeys(_LOUD, logging.ERROR))

    def end(self) -> None:
        with self._lock:
            self._asked -= 1
            if not self._asked:
                self._set(self._levels)

    @staticmethod
    def _set(levels: dict[str, int]) -> None:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


_silence = _Silence()


@contextmanager
def quiet_mlflow() -> Iterator[None]:
    """Keep MLflow's log lines below errors, its warnings, its progress bars and its links to itself.

    Threads may be in it at once, and what they print themselves is not touched: nothing is redirected. The filters of
    its warnings stay, as entering and leaving :class:`warnings.catch_warnings` in several threads would mix them up.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)

    for module in _LOUD:
        warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")
    _silence.begin()
    try:
        yield
    finally:
        _silence.end()


@contextmanager
def pointed_at(uri: str) -> Iterator[None]:
    """Let MLflow's address, which is one for the whole process, be this one; afterwards it is what it was before."""
    import mlflow  # noqa: PLC0415 - seconds

    # MLflow keeps its address in the environment too, from where our settings would read it back: both are put back as
    # they were, which may have been two.
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    said = os.environ.get(_ADDRESS)
    try:
        mlflow.set_tracking_uri(uri)
        yield
    finally:
        mlflow.set_tracking_uri(before)
        os.environ.pop(_ADDRESS, None)
        if said is not None:
            os.environ[_ADDRESS] = said


def open_mlflow(uri: str, *, timeout_s: float = 5.0) -> Any:
    """Return an ``MlflowClient`` of a database, or of a server that answers.

    Parameters
    ----------
    uri
        Address of tracking and registry; a missing SQLite database is created.
    timeout_s
        For a server to answer at all: MLflow itself goes on trying for minutes.

    Raises
    ------
    StoreUnavailableError
        The server does not answer, or the database cannot be opened; passwords are masked in the message.
    """
    try:
        _probe(uri, timeout_s)
        from mlflow import MlflowClient  # noqa: PLC0415 - seconds

        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except Exception as error:
        raise unavailable(uri, error) from error


def champion_of(client: Any, task: str) -> Any | None:
    """Return the version (an MLflow ``ModelVersion``) that answers for a task; None without one."""
    return version_of(client, task, CHAMPION)


def version_of(client: Any, task: str, which: str) -> Any | None:
    """Return a version (an MLflow ``ModelVersion``) of a task, by its number or an alias; None without one."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - seconds

    try:
        return (client.get_model_version if which.isdigit() else client.get_model_version_by_alias)(task, which)
    except MlflowException as error:
        if error.error_code in _ABSENT:
            return None
        raise


def unavailable(uri: str, error: Exception) -> StoreUnavailableError:
    """Return the error that says MLflow failed, in the first line of what it said."""
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return StoreUnavailableError(
        f"MLflow at {mask_password(uri)} cannot be read: {mask_password(said)}",
        hint=_what_to_do(uri),
    )


def _what_to_do(uri: str) -> str:
    if uri.startswith(SQLITE):
        folder = Path(uri.removeprefix(SQLITE)).parent
        return f"restore {folder} from a backup, or move it away and train anew (`portrait train --all`)."
    return "start the server MLFLOW_TRACKING_URI names, or unset it to use the database below the home."


def _probe(uri: str, timeout_s: float) -> None:
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"}:
        return
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/health"
    try:
        urllib.request.urlopen(address, timeout=timeout_s).close()  # noqa: S310 - the scheme was checked
    except urllib.error.HTTPError as answer:
        answer.close()  # whatever it says, it answers
