"""A registered version as this checkout sees it: its model, and whether its features still mean what they meant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from feature_repo.core.errors import DataError, DeclarationError, did_you_mean
from feature_repo.core.mlflow_client import champion_of
from feature_repo.core.settings import Settings
from feature_repo.engine.contract import Contract, differences, fingerprint

CONTRACT = "contract.json"


@dataclass(frozen=True, eq=False)
class Version:
    """A version of a registered model.

    Attributes
    ----------
    found
        MLflow's ``ModelVersion``.
    """

    client: Any = field(repr=False)
    settings: Settings = field(repr=False)
    found: Any = field(repr=False)

    @property
    def task(self) -> str:
        """Name of the registered model."""
        return str(self.found.name)

    @property
    def number(self) -> str:
        """Its number, as text."""
        return str(self.found.version)

    @property
    def name(self) -> str:
        """``redemption@3``."""
        return f"{self.task}@{self.number}"

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the version."""
        return dict(self.found.tags)

    @property
    def trained_until(self) -> str:
        """When the last answer it was fitted on was known; empty if it does not say."""
        return self.tags.get("trained_until", "")

    @cached_property
    def scorer(self) -> Any:
        """Its Python model: ``columns``, and ``score(float64[n, d]) -> float64[n]``."""
        from mlflow import pyfunc  # noqa: PLC0415 - seconds

        with self._files() as path:
            return pyfunc.load_model(str(path), suppress_warnings=True).unwrap_python_model()

    @cached_property
    def contract(self) -> Contract:
        """Definitions of the features it was trained on; empty if it names none."""
        with self._files() as path:
            file = path / "artifacts" / CONTRACT
            return dict(json.loads(file.read_text("utf-8"))) if file.exists() else {}

    def parts(self) -> tuple[dict[str, Any], list[bytes]]:
        """Return ``head.json`` of a model of Portrait's own scorer, and its XGBoost models in UBJSON, one per seed."""
        with self._files() as path:
            folder = path / "artifacts"
            head = json.loads((folder / "head.json").read_text("utf-8"))
            return head, [file.read_bytes() for file in sorted(folder.glob("booster_*.ubj"))]

    def changed(self, current: Mapping[str, str]) -> list[str]:
        """Names of the features it reads that ``current`` lacks or defines otherwise: none, and it can answer."""
        if self.tags.get("definitions") == fingerprint(dict(current)):
            return []
        read = set(self.scorer.columns)
        return differences({name: text for name, text in self.contract.items() if name in read}, dict(current))

    def _files(self) -> Any:
        return _Downloaded(self.client, self.settings, self.found)


class _Downloaded:
    """The files of a version, as a context: where they are if that is here, else a copy."""

    def __init__(self, client: Any, settings: Settings, found: Any) -> None:
        self._place = client.get_model_version_download_uri(found.name, found.version)
        self._uri = settings.tracking_uri
        self._folder = TemporaryDirectory()

    def __enter__(self) -> Path:
        from mlflow import artifacts  # noqa: PLC0415 - seconds

        target = None if urlsplit(self._place).scheme in {"", "file"} else self._folder.name
        return Path(
            artifacts.download_artifacts(
                artifact_uri=self._place, tracking_uri=self._uri, registry_uri=self._uri, dst_path=target
            )
        )

    def __exit__(self, *failure: object) -> None:
        self._folder.cleanup()


def find_version(client: Any, settings: Settings, task: str, asked: str) -> Version:
    """Return a version by its number, or by an alias.

    Raises
    ------
    DataError
        There is none.
    """
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - seconds

    try:
        found = client.get_model_version(task, asked) if asked.isdigit() else None
        return Version(client, settings, found or client.get_model_version_by_alias(task, asked))
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise
        raise _unknown(client, task, asked) from None


def _unknown(client: Any, task: str, asked: str) -> DataError:
    models = {each.name: each for each in client.search_registered_models()}
    if task not in models:
        return DataError(f"There is no registered model '{task}'.", hint=did_you_mean(task, models))
    numbers = [str(each.version) for each in client.search_model_versions(f"name = '{task}'")]
    return DataError(f"'{task}' has no version '{asked}'.", hint=did_you_mean(asked, [*numbers, *models[task].aliases]))


def champion_version(client: Any, settings: Settings, task: str) -> Version | None:
    """Return the version that answers for a task; None without one."""
    found = champion_of(client, task)
    return Version(client, settings, found) if found else None


def current_contract(service: str) -> Contract | None:
    """Return what the features of a service mean in the registry of here; None if it has no such service."""
    from feature_repo.engine.contract import service_contract  # noqa: PLC0415 - Feast takes seconds
    from feature_repo.engine.feature_store import open_store, quiet_feast  # noqa: PLC0415

    try:
        with quiet_feast():
            return service_contract(open_store(), service)
    except DeclarationError:
        return None
