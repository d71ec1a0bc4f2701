"""The models that answer: champions of MLflow's registry, checked against the feature definitions they were trained on.

A version of a registered model carries what serving needs: the tags ``feature_service`` and ``context`` (a JSON list
of ``{"name", "description", "default"}``), the artifact ``contract.json`` (definitions of its features), and a Python
model with ``columns`` (inputs by name: features, then context) and ``score(float64[n, d]) -> float64[n]``. Loading a
model runs the code that was logged with it: whoever can write to the registry is trusted.
"""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from feature_repo.core.clock import SECOND, Clock
from feature_repo.core.errors import ModelUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import mask_password
from serving.models import Model

CHAMPION = "champion"
REFRESH_US = 10 * SECOND


class ModelRegistry:
    """Champions of the registry the settings name; a new champion is noticed within ten seconds.

    While MLflow does not answer, a model that is loaded goes on answering.

    Parameters
    ----------
    timeout_s
        For MLflow's server to answer at all.
    """

    def __init__(self, settings: Settings, clock: Clock, *, timeout_s: float = 5.0) -> None:
        self._settings = settings
        self._clock = clock
        self._timeout_s = timeout_s
        self._loaded: dict[str, Model] = {}
        self._checked_at: dict[str, int] = {}

    def champion(self, task: str) -> Model:
        """Return the model that answers for a task.

        Raises
        ------
        ModelUnavailableError
            There is no champion, MLflow does not answer, or the version is none that Portrait can use.
        """
        known, now = self._loaded.get(task), self._clock.now_us()
        if known is not None and now - self._checked_at[task] < REFRESH_US:
            return known
        try:
            model = self._current(task, known)
        except _UnreachableError as error:
            if known is None:
                raise ModelUnavailableError(error.what, hint=error.hint) from None
            model = known
        self._loaded[task], self._checked_at[task] = model, now
        return model

    def _current(self, task: str, known: Model | None) -> Model:
        with self._client() as client:
            version = _champion(client, task) if client else None
            if version is None:
                self._loaded.pop(task, None)
                raise ModelUnavailableError(
                    f"Task '{task}' has no champion in {mask_password(self._settings.tracking_uri)}.",
                    hint=f"run `portrait train {task}`; a version becomes champion when its gates hold.",
                )
            if known is not None and known.version == str(version.version):
                return known
            return _load(client, version, self._settings.tracking_uri)

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """Yield a client of MLflow, or None if its database was never made, without a word from MLflow."""
        uri = self._settings.tracking_uri
        if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
            yield None
            return
        try:
            with _quiet():
                _probe(uri, self._timeout_s)
                from mlflow import MlflowClient  # noqa: PLC0415 - seconds

                yield MlflowClient(tracking_uri=uri, registry_uri=uri)
        except ModelUnavailableError:
            raise
        except Exception as error:
            raise _UnreachableError(
                f"MLflow at {mask_password(uri)} cannot be read: {_first_line(error)}",
                hint="start the server MLFLOW_TRACKING_URI names, or unset it to use the database below the home.",
            ) from error


class _UnreachableError(ModelUnavailableError):
    pass


def _champion(client: Any, task: str) -> Any | None:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    try:
        return client.get_model_version_by_alias(task, CHAMPION)
    except MlflowException as error:
        # An alias that is not set is an "invalid parameter" to MLflow, as is a name no model can have.
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise


def _load(client: Any, version: Any, uri: str) -> Model:
    from mlflow import artifacts, pyfunc  # noqa: PLC0415

    # A models:/ address would be looked up where MLflow's global setting points, so the place itself is asked for.
    place = client.get_model_version_download_uri(version.name, version.version)
    with TemporaryDirectory() as folder:
        target = None if urlsplit(place).scheme in {"", "file"} else folder
        path = artifacts.download_artifacts(artifact_uri=place, tracking_uri=uri, registry_uri=uri, dst_path=target)
        try:
            return Model(
                task=version.name,
                version=str(version.version),
                service=version.tags["feature_service"],
                context={each["name"]: float(each["default"]) for each in json.loads(version.tags["context"])},
                contract=json.loads((Path(path) / "artifacts" / "contract.json").read_text("utf-8")),
                scorer=_scorer(pyfunc.load_model(path, suppress_warnings=True)),
            )
        except (KeyError, ValueError, AttributeError, OSError) as error:
            raise ModelUnavailableError(
                f"Model {version.name}@{version.version} lacks what serving needs: {type(error).__name__}: {error}",
                hint=f"register it with `portrait train {version.name}`.",
            ) from error


def _scorer(loaded: Any) -> Any:
    scorer = loaded.unwrap_python_model()
    if not callable(scorer.score) or not len(scorer.columns):
        raise ValueError("its Python model has no columns.")
    return scorer


def _probe(uri: str, timeout_s: float) -> None:
    """Ask a server whether it is there: MLflow itself goes on trying for minutes."""
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"}:
        return
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/health"
    try:
        urllib.request.urlopen(address, timeout=timeout_s).close()  # noqa: S310 - the scheme was checked
    except urllib.error.HTTPError as answer:
        answer.close()  # whatever it says, it answers


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's warnings, log lines, prints and progress bars to itself."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _first_line(error: Exception) -> str:
    return mask_password((str(error).splitlines() or [type(error).__name__])[0])
