"""What the registry says, compiled for reading, and compiled again when the registry was applied anew."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any

from feast import FeatureStore

from feature_repo.core.errors import DeclarationError
from feature_repo.core.settings import Settings
from feature_repo.engine.feature_store import open_store, quiet_feast
from feature_repo.engine.services import check_home
from serving.online_features import ServicePlan

_CHINESE = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True)
class Label:
    """What a feature says to a reader, in English and in Chinese, and the dimension its view's tags name, if any."""

    description: str
    zh: str
    dimension: str = ""


@dataclass(frozen=True, eq=False)
class _Compiled:
    """What was compiled of one state of the registry; ``stamp`` is when that was written."""

    stamp: int
    store: FeatureStore
    plans: dict[str, ServicePlan] = field(default_factory=dict)

    @cached_property
    def labels(self) -> dict[str, Label]:
        with quiet_feast():
            views = self.store.list_all_feature_views()
        return {f"{view.name}__{each.name}": _label(view, each) for view in views for each in view.features}


class Catalogue:
    """Plans of feature services and labels of features, from the registry of a home. Threads may share one.

    Raises
    ------
    SettingsError
        The settings are not of the home ``PORTRAIT_HOME`` names, whose registry Feast reads.
    """

    def __init__(self, settings: Settings) -> None:
        check_home(settings)
        self._registry_path = settings.registry_path
        self._compiling = Lock()  # Feast's registry is no place for two threads
        self._compiled: _Compiled | None = None

    @property
    def project(self) -> str:
        """Feast project."""
        return str(self._current().store.project)

    def plan(self, service: Any) -> ServicePlan:
        """Return how to read a service, by its name.

        Raises
        ------
        DeclarationError
            Nothing was applied yet, the registry has no such service, or it is not a name.
        """
        compiled = self._current()
        if not isinstance(service, str):
            raise DeclarationError(
                f"A service was asked for by something of type {type(service).__name__}.",
                hint="pass the name of a feature service, for example 'profile_v1'.",
            )
        if service not in compiled.plans:
            with self._compiling:
                if service not in compiled.plans:
                    compiled.plans[service] = ServicePlan.of(compiled.store, service)
        return compiled.plans[service]

    def labels(self) -> dict[str, Label]:
        """Every feature's label by full name."""
        compiled = self._current()
        with self._compiling:
            return compiled.labels

    def _current(self) -> _Compiled:
        compiled, stamp = self._compiled, self._changed_at()
        if compiled is None or compiled.stamp != stamp:
            with self._compiling:
                compiled = self._compiled
                if compiled is None or compiled.stamp != stamp:
                    compiled = self._compiled = _Compiled(stamp, open_store())
        return compiled

    def _changed_at(self) -> int:
        try:
            return self._registry_path.stat().st_mtime_ns
        except FileNotFoundError:
            raise DeclarationError(
                f"There is no registry in {self._registry_path.parent}.", hint="run `portrait features apply`."
            ) from None


def _label(view: Any, field: Any) -> Label:
    # An on-demand view keeps the texts of its features as tags: English, then Chinese.
    english, chinese = split_languages(view.tags.get(field.name, ""))
    return Label(
        description=field.description or english or field.name.replace("_", " "),
        zh=field.tags.get("zh", "") or chinese,
        dimension=view.tags.get("dimension", ""),
    )


def split_languages(text: str) -> tuple[str, str]:
    """Split a text where its Chinese begins.

    >>> split_languages("Visits in 28 days. 近28天到店")
    ('Visits in 28 days.', '近28天到店')
    >>> split_languages("Visits")
    ('Visits', '')
    """
    found = _CHINESE.search(text)
    start = found.start() if found else len(text)
    return text[:start].strip(), text[start:].strip()
