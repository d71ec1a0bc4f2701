"""Registered models as MLflow has them: versions, aliases, figures and artifacts; read, never written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from feature_repo.core.clock import SECOND, Clock
from feature_repo.core.mlflow_client import CHAMPION
from feature_repo.core.settings import Settings
from serving.reading_mlflow import reading_mlflow

CHALLENGER = "challenger"
_MOVED = "moved/"
_NEWEST = 20  # versions of a model that are listed, and those with an alias
_FRESH_US = 10 * SECOND
_KEPT = 32
_TIMEOUT_S = 5.0
_REFS = "feature_refs"


@dataclass(frozen=True)
class Version:
    """A version of a registered model: tags, the run it came from, and when it was made (ms)."""

    name: str
    number: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    run_id: str
    created_ms: int

    @property
    def features(self) -> frozenset[str]:
        """Full names of the features it reads; none of a version that does not say."""
        return frozenset(json.loads(self.tags.get(_REFS, "[]")))


@dataclass(frozen=True)
class Move:
    """An alias went from one version to another; an empty version is none."""

    alias: str
    before: str
    after: str
    at: str
    by: str
    action: str
    reason: str


@dataclass(frozen=True)
class Registered:
    """A registered model: the question it answers, its versions, the newest first, and how its aliases moved."""

    name: str
    description: str
    versions: tuple[Version, ...]
    moves: tuple[Move, ...]

    def having(self, alias: str) -> Version | None:
        """Return the version with an alias."""
        return next((each for each in self.versions if alias in each.aliases), None)

    def find(self, number: str) -> Version | None:
        """Return a version by number; the champion, else the newest, where there is no such number."""
        named = next((each for each in self.versions if each.number == number), None)
        return named or self.having(CHAMPION) or next(iter(self.versions), None)


@dataclass(frozen=True, eq=False)
class Run:
    """What the training of a version left.

    Attributes
    ----------
    metrics
        As logged: ``auc``, ``auc_low``, ``auc_high``, ``baseline/recency/auc``.
    card
        Model card, in Markdown; empty if there is none.
    report, fairness, reference
        ``report.json``, ``fairness.json``, ``reference.json``; empty where there is none, or it cannot be read.
    pictures
        Name without its ending -> PNG.
    """

    metrics: Mapping[str, float]
    card: str
    report: Mapping[str, Any]
    fairness: Mapping[str, Any]
    reference: Mapping[str, Any]
    pictures: Mapping[str, bytes] = field(repr=False)


class Shelf:
    """The registry of some settings. What is read is kept for ten seconds, runs for good. Threads may share one."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._reading = Lock()  # to import MLflow, and to keep it quiet, is no work for two
        self._models: tuple[int, tuple[Registered, ...]] | None = None
        self._runs: dict[str, Run] = {}

    def models(self) -> tuple[Registered, ...]:
        """Return every registered model by name; none where nothing was ever registered.

        Raises
        ------
        StoreUnavailableError
            MLflow does not answer.
        """
        with self._reading:
            now = self._clock.now_us()
            if self._models is None or not 0 <= now - self._models[0] < _FRESH_US:
                with reading_mlflow(self._settings, timeout_s=_TIMEOUT_S) as client:
                    self._models = now, _models(client) if client else ()
            return self._models[1]

    def run(self, run_id: str) -> Run:
        """Return what a run left.

        Raises
        ------
        StoreUnavailableError
            MLflow does not answer, or has lost the run.
        """
        with self._reading:
            if run_id not in self._runs:
                with reading_mlflow(self._settings, timeout_s=_TIMEOUT_S) as client:
                    found = _run(client, run_id)
                for oldest in list(self._runs)[: max(0, len(self._runs) - _KEPT + 1)]:
                    del self._runs[oldest]
                self._runs[run_id] = found
            return self._runs[run_id]


def _models(client: Any) -> tuple[Registered, ...]:
    known = sorted(client.search_registered_models(), key=lambda each: str(each.name))
    return tuple(_model(client, each) for each in known)


def _model(client: Any, found: Any) -> Registered:
    aliases: dict[str, list[str]] = {}
    for alias, number in found.aliases.items():
        aliases.setdefault(str(number), []).append(str(alias))
    numbers = [str(each.version) for each in client.search_model_versions(f"name = '{found.name}'")]
    newest = sorted(numbers, key=int, reverse=True)
    listed = [number for place, number in enumerate(newest) if place < _NEWEST or number in aliases]
    # A search may return no tags: each version is asked for.
    versions = [_version(client.get_model_version(found.name, number), aliases.get(number, ())) for number in listed]
    moved = [Move(**json.loads(found.tags[key])) for key in sorted(found.tags) if key.startswith(_MOVED)]
    return Registered(str(found.name), found.description or "", tuple(versions), tuple(moved))


def _version(found: Any, aliases: Sequence[str]) -> Version:
    return Version(
        name=str(found.name),
        number=str(found.version),
        aliases=tuple(sorted(aliases)),
        tags=dict(found.tags),
        run_id=str(found.run_id),
        created_ms=int(found.creation_timestamp),
    )


def _run(client: Any, run_id: str) -> Run:
    found = client.get_run(run_id)
    names = [str(each.path) for each in client.list_artifacts(run_id) if not each.is_dir]
    wanted = [name for name in names if name.endswith((".json", ".png"))]
    with TemporaryDirectory() as folder:
        paths = {name: Path(client.download_artifacts(run_id, name, folder)) for name in wanted}
        texts = {name: _json(paths[name]) for name in paths if name.endswith(".json")}
        pictures = {path.stem: path.read_bytes() for path in paths.values() if path.suffix == ".png"}
    return Run(
        metrics=dict(found.data.metrics),
        card=found.data.tags.get("mlflow.note.content", ""),
        report=texts.get("report.json", {}),
        fairness=texts.get("fairness.json", {}),
        reference=texts.get("reference.json", {}),
        pictures=pictures,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
