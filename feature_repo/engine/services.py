"""A feature service with the inputs of its on-demand views, as training and serving both read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feast import FeatureService, FeatureStore, OnDemandFeatureView

from feature_repo.core.errors import SettingsError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.engine.sources import located


@dataclass(frozen=True, eq=False)
class StoredView:
    """A view with a source, as a service names it.

    Attributes
    ----------
    view
        Feast's view with the service's projection: its name and its renamed join keys.
    features
        Names the service or one of its on-demand views reads.
    """

    view: Any
    features: tuple[str, ...]

    @property
    def prefix(self) -> str:
        """What precedes ``__`` in full feature names."""
        return str(self.view.projection.name_to_use())

    @property
    def log_table(self) -> str | None:
        """Table of the log the view reads; None for a view on a file of its own."""
        path = Path(located(self.view.batch_source.path))
        return path.name if path.parent == load_settings().log_root else None


@dataclass(frozen=True, eq=False)
class ServiceViews:
    """The views behind a feature service.

    Attributes
    ----------
    names
        Full feature names (``view__feature``), in the service's order.
    stored, on_demand
        Views with a source, those only an on-demand view reads included, and those computed on top.
    """

    names: tuple[str, ...]
    stored: tuple[StoredView, ...]
    on_demand: tuple[OnDemandFeatureView, ...]

    @property
    def refs(self) -> tuple[str, ...]:
        """``view:feature`` of everything that is asked of a source."""
        return tuple(f"{each.prefix}:{name}" for each in self.stored for name in each.features)

    @property
    def tables(self) -> set[str]:
        """Tables of the log the views read."""
        return {table for each in self.stored if (table := each.log_table)}


def service_views(store: FeatureStore, service: str) -> ServiceViews:
    """Resolve a feature service of the registry.

    Raises
    ------
    feast.errors.FeatureServiceNotFoundException
        The registry has no such service.
    """
    known = {view.name: view for view in store.list_all_feature_views()}
    found = store.get_feature_service(service)
    names = (f"{each.name_to_use()}__{feature.name}" for each in _asked(found) for feature in each.features)
    on_demand = (known[each.name].with_projection(each) for each in _asked(found) if _is_on_demand(known[each.name]))
    return ServiceViews(tuple(names), _stored(found, known), tuple(on_demand))


def check_home(settings: Settings) -> None:
    """Refuse settings of another home than the one Feast reads the registry and the log of.

    Raises
    ------
    SettingsError
        ``PORTRAIT_HOME`` names another home.
    """
    home = load_settings().home
    if settings.home != home:
        raise SettingsError(
            f"The home {settings.home} was asked for while PORTRAIT_HOME is {home}; Feast reads the latter.",
            hint=f"set PORTRAIT_HOME={settings.home}.",
        )


def _asked(service: FeatureService) -> list[Any]:
    return list(service.feature_view_projections)


def _is_on_demand(view: Any) -> bool:
    return isinstance(view, OnDemandFeatureView)


def _stored(service: FeatureService, known: Mapping[str, Any]) -> tuple[StoredView, ...]:
    views: dict[str, Any] = {}
    names: dict[str, list[str]] = {}
    for projection in _sources(service, known):
        prefix = projection.name_to_use()
        view = views.setdefault(prefix, known[projection.name].with_projection(projection))
        chosen = names.setdefault(prefix, [])
        chosen += [each.name for each in projection.features if each.name not in (*view.join_keys, *chosen)]
    return tuple(StoredView(view, tuple(names[prefix])) for prefix, view in views.items())


def _sources(service: FeatureService, known: Mapping[str, Any]) -> Iterator[Any]:
    for projection in _asked(service):
        view = known[projection.name]
        if _is_on_demand(view):
            yield from view.source_feature_view_projections.values()
        else:
            yield projection
