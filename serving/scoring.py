"""The models that answer: champions of MLflow's registry, checked against the feature definitions they were trained on.

A version of a registered model carries what serving needs: the tags ``feature_service`` and ``context`` (a JSON list
of ``{"name", "description", "default", "allowed", "zh"}``; without ``allowed`` any number is taken), the tag
``without_redis`` (what it may answer then, see :mod:`feature_repo.core.degrading`), the artifact
``contract.json`` (definitions of its features), and a Python model with ``columns`` (inputs by name: features, then
context) and ``score(float64[n, d]) -> float64[n]``; if some inputs are texts, ``categories`` names them with the texts
it knows, and a text is scored as its place among them. A model whose answers are to be explained has ``margin`` and
``shares`` too, see :mod:`serving.reasons.shares`. Loading a model runs the code that was logged with it: whoever
can write to the registry is trusted.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlsplit

from feature_repo.candidates.proposals import SHELF, TASTE, Proposer
from feature_repo.candidates.shelf import Shelf
from feature_repo.candidates.taste import Taste
from feature_repo.core.allowed import Allowed
from feature_repo.core.clock import SECOND, Clock
from feature_repo.core.degrading import without_redis
from feature_repo.core.errors import DataError, DeclarationError, ModelUnavailableError, StoreUnavailableError
from feature_repo.core.mlflow_client import CHAMPION, version_of
from feature_repo.core.settings import Settings
from feature_repo.core.stores import mask_password
from serving.models import Model
from serving.reading_mlflow import reading_mlflow

_log = logging.getLogger("portrait")

REFRESH_US = 10 * SECOND
MOST_PINNED = 8


@dataclass(frozen=True, eq=False)
class _Loaded:
    model: Model
    checked_at: int


class ModelRegistry:
    """Models of the registry the settings name; a new champion is noticed within ten seconds.

    While MLflow does not answer, what is loaded goes on answering. Threads may share a registry. MLflow is asked again
    in a thread of its own: one question waits for it, not longer than half its time, while the others go on with
    what is loaded; none waits again before MLflow has answered.

    Parameters
    ----------
    timeout_s
        For MLflow's server to answer at all, and for a question.
    aside
        Entered while a model is loaded that was not asked for before: it takes its time, whatever a question has.

    Attributes
    ----------
    trouble
        What was wrong with MLflow when it was last asked; empty if nothing.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        timeout_s: float = 5.0,
        aside: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._timeout_s = timeout_s
        self._aside = aside
        self._refreshing = Lock()
        self._loaded: dict[tuple[str, str], _Loaded] = {}  # changed under the lock alone
        self.trouble = ""

    def champion(self, task: Any) -> Model:
        """Return the model that answers for a task, by the task's name.

        Raises
        ------
        DataError
            It is not a name.
        ModelUnavailableError
            There is no champion, MLflow does not answer, or the version is none that Portrait can use.
        """
        return self.version(task, CHAMPION)

    def version(self, task: Any, which: str) -> Model:
        """Return a model of a task, by its number or an alias.

        Raises
        ------
        DataError, ModelUnavailableError
            As :meth:`champion`.
        """
        if not isinstance(task, str) or not task.strip():
            said = "an empty name" if isinstance(task, str) else f"something of type {type(task).__name__}"
            raise DataError(f"A task was asked for by {said}.", hint="pass a task's name, for example 'redemption'.")
        known = self._loaded.get((task, which))
        if known is not None and self._fresh(known):
            return known.model
        if known is None:
            with self._aside(), self._refreshing:
                return self._refreshed(task, which)
        if not self._refreshing.acquire(blocking=False):
            return known.model
        found = self._refresh_beside(task, which)
        try:
            return found.result(0 if self.trouble else self._timeout_s / 2)
        except TimeoutError:
            self.trouble = self.trouble or "MLflow did not answer in time."
            return known.model

    def _refresh_beside(self, task: str, which: str) -> Future[Model]:
        """Ask MLflow in a thread, which gives the lock back: MLflow's own client goes on trying for minutes."""
        found: Future[Model] = Future()

        def refresh() -> None:
            try:
                found.set_result(self._refreshed(task, which))
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                found.set_exception(error)
            finally:
                self._refreshing.release()

        Thread(target=refresh, name="refresh of models", daemon=True).start()
        return found

    def tasks(self) -> tuple[str, ...]:
        """Return the names of the tasks that have a champion, sorted: models without a context are of other kinds.

        Raises
        ------
        ModelUnavailableError, StoreUnavailableError
            MLflow does not answer.
        """
        # One thread at a time: to import MLflow, and to keep it quiet, is no work for two.
        with self._refreshing, self._client() as client:
            known = client.search_registered_models() if client else []
            named = sorted(each.name for each in known if CHAMPION in each.aliases)
            return tuple(name for name in named if _of_a_task(version_of(client, name, CHAMPION)))

    def _fresh(self, loaded: _Loaded) -> bool:
        return self._clock.now_us() - loaded.checked_at < REFRESH_US

    def _refreshed(self, task: str, which: str) -> Model:
        known = self._loaded.get((task, which))
        if known is not None and self._fresh(known):  # by the thread that was waited for
            return known.model
        now = self._clock.now_us()
        try:
            model, self.trouble = self._current(task, which), ""
        except StoreUnavailableError as error:
            self._tell(error.what)
            if known is None:
                raise ModelUnavailableError(error.what, hint=error.hint) from None
            model = known.model
        self._loaded.pop((task, which), None)
        self._loaded[task, which] = _Loaded(model, now)
        self._give_up_pinned()
        return model

    def _tell(self, trouble: str) -> None:
        if not self.trouble:
            _log.warning("What is loaded goes on answering: %s", trouble)
        self.trouble = trouble

    def _give_up_pinned(self) -> None:
        """Whoever may ask may name any version: those checked the longest ago are loaded again when asked for."""
        pinned = [key for key in self._loaded if key[1].isdecimal()]
        for key in pinned[:-MOST_PINNED]:
            del self._loaded[key]

    def _current(self, task: str, which: str) -> Model:
        with self._client() as client:
            if client is None and (task, which) in self._loaded:
                raise StoreUnavailableError("MLflow's database is gone.", hint="restore it from a backup.")
            version = version_of(client, task, which) if client else None
            if version is None:
                self.trouble = ""
                self._loaded.pop((task, which), None)
                raise self._absent(task, which, client)
            held = (each.model for each in self._loaded.values() if each.model.task == task)
            same = next((model for model in held if model.version == str(version.version)), None)
            return same or _load(client, version, self._settings.tracking_uri)

    def _absent(self, task: str, which: str, client: Any) -> ModelUnavailableError:
        uri = self._settings.tracking_uri
        place = f"MLflow at {mask_password(uri)}" if urlsplit(uri).netloc else "the home's MLflow"
        if which == CHAMPION:
            return ModelUnavailableError(
                f"Task '{task}' has no champion in {place}.",
                hint=_meant(task, client)
                or f"run `portrait train {task}`; a version becomes champion when its gates hold.",
            )
        named = f"version {which}" if which.isdigit() else which
        return ModelUnavailableError(
            f"Task '{task}' has no {named} in {place}.", hint=f"`portrait models list {task}` names what there is."
        )

    def _client(self) -> AbstractContextManager[Any]:
        return reading_mlflow(self._settings, timeout_s=self._timeout_s)


def _load(client: Any, version: Any, uri: str) -> Model:
    from mlflow import artifacts, pyfunc  # noqa: PLC0415

    # A models:/ address would be looked up where MLflow's global setting points, so the place itself is asked for.
    place = client.get_model_version_download_uri(version.name, version.version)
    with TemporaryDirectory() as folder:
        target = None if urlsplit(place).scheme in {"", "file"} else folder
        path = artifacts.download_artifacts(artifact_uri=place, tracking_uri=uri, registry_uri=uri, dst_path=target)
        try:
            context = json.loads(version.tags["context"])
            return Model(
                task=version.name,
                version=str(version.version),
                service=version.tags["feature_service"],
                context={each["name"]: float(each["default"]) for each in context},
                contract=json.loads((Path(path) / "artifacts" / "contract.json").read_text("utf-8")),
                scorer=_scorer(pyfunc.load_model(path, suppress_warnings=True)),
                allowed={each["name"]: _allowed(each.get("allowed", {})) for each in context},
                proposer=_proposer(Path(path) / "artifacts"),
                meanings={each["name"]: (each.get("description", ""), each.get("zh", "")) for each in context},
                without_redis=without_redis(version.tags),
            )
        except (KeyError, TypeError, DeclarationError, ValueError, AttributeError, OSError) as error:
            raise ModelUnavailableError(
                f"Model {version.name}@{version.version} lacks what serving needs: {type(error).__name__}: {error}",
                hint=f"register it with `portrait train {version.name}`.",
            ) from error


def _proposer(folder: Path) -> Proposer | None:
    """Return what proposes the items a model ranks; None of a model that scores what it is asked about."""
    if not (folder / TASTE).exists():
        return None
    shelf = Shelf.from_json((folder / SHELF).read_text("utf-8"))
    return Proposer(Taste.from_bytes((folder / TASTE).read_bytes()), shelf)


def _meant(task: str, client: Any) -> str:
    """Name the registered model that a name never heard of is close to; nothing if there is none."""
    known = [each.name for each in client.search_registered_models()] if client else []
    close = [] if task in known else get_close_matches(task, known, n=1)
    return f"did you mean '{close[0]}'? `portrait models list` names what there is." if close else ""


def _of_a_task(version: Any) -> bool:
    return version is not None and "context" in version.tags


def _allowed(facts: dict[str, Any]) -> Allowed:
    return Allowed(**{**facts, "values": tuple(facts.get("values", ()))})


def _scorer(loaded: Any) -> Any:
    scorer = loaded.unwrap_python_model()
    if not callable(scorer.score) or not len(scorer.columns):
        raise ValueError("its Python model has no columns.")
    return scorer
