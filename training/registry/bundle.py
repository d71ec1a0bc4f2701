"""A run and its model as files: what is sent to MLflow, at once or when it answers again.

In the folder: ``bundle.json`` (the fields of :class:`Bundle`), ``run/`` (artifacts of the run), its entity rows,
``model/`` (artifacts of the model), the module MLflow runs the model by, an input example, and ``sent.json``: what
MLflow has of it already.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pandas as pd

from feature_repo.core.console import to_json
from feature_repo.core.errors import DataError
from feature_repo.core.stores import atomic_write

BUNDLE = "bundle.json"
SENT = "sent.json"
EXAMPLE = "example.parquet"
ENTITY_ROWS = "entity_rows.parquet"
CODE = "model_code.py"


@dataclass(frozen=True, eq=False)
class Bundle:
    """A run that can be logged and a model that can be registered, without anything else at hand.

    Attributes
    ----------
    folder
        Where the files are.
    name, description
        Of the registered model.
    params, metrics
        Of the run; metrics are finite.
    tags, note
        Of the run and of the version; the note of the run alone.
    signature
        ``ModelSignature.to_dict()``.
    metadata, requirements
        Of the logged model.
    holds
        Whether every gate holds.
    trained_at
        When the run ended, in milliseconds.
    report
        Kept with the run, once it holds what is known only after registration.
    """

    folder: Path
    name: str
    description: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    note: str
    signature: Mapping[str, Any]
    metadata: Mapping[str, str]
    requirements: tuple[str, ...]
    holds: bool
    trained_at: int
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def run_folder(self) -> Path:
        """Artifacts of the run."""
        return self.folder / "run"

    @property
    def entity_rows(self) -> Path:
        """The rows it was made of, see :mod:`training.data.entity_rows`; a model that lists none has no such file."""
        return self.folder / ENTITY_ROWS

    @property
    def model_artifacts(self) -> dict[str, str]:
        """Artifacts of the model: their paths, by the name its code finds them under."""
        return {path.stem: str(path) for path in sorted((self.folder / "model").iterdir())}

    @property
    def example(self) -> pd.DataFrame:
        """Input rows no shopper is behind."""
        return pd.read_parquet(self.folder / EXAMPLE)

    def write(self) -> None:
        """Write the fields beside the files."""
        facts = {name: value for name, value in asdict(self).items() if name != "folder"}
        atomic_write(self.folder / BUNDLE, to_json(facts), private=True)

    def sent(self) -> dict[str, str]:
        """Return what MLflow has already: ``run_id``, ``model_uri``, as far as it came."""
        path = self.folder / SENT
        return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}

    def note_sent(self, **facts: str) -> None:
        """Remember what MLflow has."""
        atomic_write(self.folder / SENT, json.dumps(self.sent() | facts), private=True)


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle that was written before.

    Raises
    ------
    DataError
        The folder holds none, or one of another version of Portrait.
    """
    try:
        facts = json.loads((folder / BUNDLE).read_text("utf-8"))
        given = {each.name: facts[each.name] for each in fields(Bundle) if each.name != "folder"}
        return Bundle(folder=folder, **{**given, "requirements": tuple(given["requirements"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"The kept run {folder} cannot be read: {type(error).__name__}.",
            hint="it was cut off or written by another version: remove the folder, and train again.",
        ) from None
