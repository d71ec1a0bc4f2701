"""Features of a service at the instants of a spine, from the log at given versions.

``FeatureStore.get_historical_features`` reads every table at its head, and asks ordinary views for rows up to and
including the instant. A dataset needs more: labels and features must read the same version of a table that is being
written to, and an ordinary row stamped at the label's own instant must not be seen. So the views of a service are asked
here through the same classes that stand behind Feast's call, with versions pinned and ordinary views one microsecond
earlier; at the head, and without ordinary views, the values are those of Feast's call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
from feast import FeatureService, FeatureStore, OnDemandFeatureView
from feast.infra.offline_stores.offline_store import RetrievalMetadata

from feature_repo.core.errors import SettingsError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.offline_store import DuckDBRetrievalJob
from feature_repo.engine.point_in_time import EVENT_TIMESTAMP, PointInTimeQuery, Request, spine_of
from feature_repo.engine.sources import located
from feature_repo.engine.spec import is_windowed

BEFORE = timedelta(microseconds=1)


@dataclass(frozen=True, eq=False)
class ServiceViews:
    """The views behind a feature service.

    Attributes
    ----------
    names
        Full feature names (``view__feature``), in the service's order.
    refs
        ``view:feature`` of everything to ask for, inputs of on-demand views included.
    stored, on_demand
        Views with a source, and those computed on top.
    """

    names: tuple[str, ...]
    refs: tuple[str, ...]
    stored: tuple[Any, ...]
    on_demand: tuple[OnDemandFeatureView, ...]

    @property
    def tables(self) -> set[str]:
        """Tables of the log the views read."""
        return {table for view in self.stored if (table := _log_table(view))}


def service_views(store: FeatureStore, service: str) -> ServiceViews:
    """Resolve a feature service.

    Raises
    ------
    feast.errors.FeatureServiceNotFoundException
        The registry has no such service.
    """
    known = {view.name: view for view in store.list_all_feature_views()}
    found = store.get_feature_service(service)
    refs = list(_refs(found))
    on_demand = []
    stored: dict[str, Any] = {}
    for projection in _projections(found, known):
        view = known[projection.name].with_projection(projection)
        if isinstance(view, OnDemandFeatureView):
            on_demand.append(view)
        else:
            stored.setdefault(projection.name_to_use(), view)
            refs += [f"{projection.name_to_use()}:{feature.name}" for feature in projection.features]
    names = tuple(ref.replace(":", "__", 1) for ref in _refs(found))
    return ServiceViews(names, tuple(dict.fromkeys(refs)), tuple(stored.values()), tuple(on_demand))


def features_at(
    views: ServiceViews, spine: pd.DataFrame, *, versions: Mapping[str, int], settings: Settings
) -> pd.DataFrame:
    """Return the spine with the features of a service.

    Parameters
    ----------
    spine
        Join keys and ``event_timestamp``; other columns are carried along.
    versions
        Table -> highest ``log_version`` to read.

    Returns
    -------
    pandas.DataFrame
        The spine's rows in their order, then one column per feature under its full name. Windowed features know events
        before the instant, ordinary ones rows before it, too.

    Raises
    ------
    SettingsError
        ``settings`` are not of the home ``PORTRAIT_HOME`` names, whose registry and log Feast reads.
    """
    _check_home(settings)
    stored = Retrieval(views, spine, dict(versions), settings)
    job = DuckDBRetrievalJob(
        stored.run,
        on_demand=views.on_demand,
        full_feature_names=True,
        metadata=RetrievalMetadata(features=list(views.refs), keys=[]),
    )
    joined: pd.DataFrame = job.to_df()
    return joined[[*spine.columns, *views.names]]


@dataclass(frozen=True, eq=False)
class Retrieval:
    """One request of :func:`features_at`, without the on-demand views."""

    views: ServiceViews
    spine: pd.DataFrame
    versions: dict[str, int]
    settings: Settings

    def run(self, connection: duckdb.DuckDBPyConnection) -> pa.Table:
        """Ask windowed views at the instants, ordinary ones just before."""
        table = self._ask(connection, self.spine, windowed=True)
        if all(is_windowed(view) for view in self.views.stored):
            return table
        earlier = self.spine.assign(**{EVENT_TIMESTAMP: self.spine[EVENT_TIMESTAMP] - BEFORE})
        with closing(connect_duckdb(self.settings)) as another:
            ordinary = self._ask(another, earlier, windowed=False)
        for name in ordinary.column_names[len(self.spine.columns) :]:
            table = table.append_column(name, ordinary[name])
        return table

    def _ask(self, connection: duckdb.DuckDBPyConnection, spine: pd.DataFrame, *, windowed: bool) -> pa.Table:
        asked = [view for view in self.views.stored if is_windowed(view) == windowed]
        pinned = {view.name: self.versions[table] for view in asked if (table := _log_table(view))}
        request = Request.of(asked, self.views.refs, full_feature_names=True, versions=pinned)
        return PointInTimeQuery(request).run(connection, spine_of(connection, spine, request.join_keys))


def _refs(service: FeatureService) -> Iterator[str]:
    for projection in service.feature_view_projections:
        yield from (f"{projection.name_to_use()}:{feature.name}" for feature in projection.features)


def _projections(service: FeatureService, known: Mapping[str, Any]) -> Iterator[Any]:
    for projection in service.feature_view_projections:
        yield projection
        if isinstance(known[projection.name], OnDemandFeatureView):
            yield from known[projection.name].source_feature_view_projections.values()


def _check_home(settings: Settings) -> None:
    home = load_settings().home
    if settings.home != home:
        raise SettingsError(
            f"A dataset of {settings.home} was asked for while PORTRAIT_HOME is {home}; Feast reads the latter.",
            hint=f"set PORTRAIT_HOME={settings.home}.",
        )


def _log_table(view: Any) -> str | None:
    """Name of the log's table a view reads; None for a view on a file of its own."""
    path = Path(located(view.batch_source.path))
    return path.name if path.parent == load_settings().log_root else None
