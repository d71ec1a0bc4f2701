"""What the registry says, compiled for reading, and compiled again when the registry was applied anew."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from feast import FeatureStore

from feature_repo.core.errors import DeclarationError, SettingsError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.engine.feature_store import open_store, quiet_feast
from serving.online_features import ServicePlan

_CHINESE = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True)
class Label:
    """What a feature says to a reader, in English and in Chinese, and the dimension its view's tags name, if any."""

    description: str
    zh: str
    dimension: str = ""


class Catalogue:
    """Plans of feature services and labels of features, from the registry of a home.

    Raises
    ------
    SettingsError
        The settings are not of the home ``PORTRAIT_HOME`` names, whose registry Feast reads.
    """

    def __init__(self, settings: Settings) -> None:
        home = load_settings().home
        if settings.home != home:
            raise SettingsError(
                f"A client of {settings.home} was made while PORTRAIT_HOME is {home}; Feast reads the latter.",
                hint=f"set PORTRAIT_HOME={settings.home}.",
            )
        self._registry_path = settings.registry_path
        self._store: FeatureStore | None = None
        self._stamp = 0
        self._plans: dict[str, ServicePlan] = {}
        self._labels: dict[str, Label] = {}

    @property
    def project(self) -> str:
        """Feast project."""
        return str(self._opened().project)

    def plan(self, service: str) -> ServicePlan:
        """Return how to read a service.

        Raises
        ------
        DeclarationError
            Nothing was applied yet, or the registry has no such service.
        """
        store = self._opened()
        if service not in self._plans:
            self._plans[service] = ServicePlan.of(store, service)
        return self._plans[service]

    def labels(self) -> dict[str, Label]:
        """Every feature's label by full name."""
        store = self._opened()
        if not self._labels:
            with quiet_feast():
                views = store.list_all_feature_views()
            self._labels = {
                f"{view.name}__{field.name}": _label(view, field) for view in views for field in view.features
            }
        return self._labels

    def _opened(self) -> FeatureStore:
        stamp = self._changed_at()
        if self._store is None or stamp != self._stamp:
            self._store, self._stamp, self._plans, self._labels = open_store(), stamp, {}, {}
        return self._store

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
