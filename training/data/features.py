"""Features of a service at the instants of a spine, from the log at given versions.

``FeatureStore.get_historical_features`` reads every table at its head, and asks ordinary views for rows up to and
including the instant. A dataset needs more: labels and features must read the same version of a table that is being
written to, and an ordinary row stamped at the label's own instant must not be seen. So the views of a service are asked
here through the same classes that stand behind Feast's call, with versions pinned and ordinary views one microsecond
earlier; at the head, and without ordinary views, the values are those of Feast's call.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta

import duckdb
import pandas as pd
import pyarrow as pa
from feast.infra.offline_stores.offline_store import RetrievalMetadata

from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.point_in_time import EVENT_TIMESTAMP, PointInTimeQuery, Request, spine_of
from feature_repo.engine.retrieval import DuckDBRetrievalJob
from feature_repo.engine.services import ServiceViews, check_home
from feature_repo.engine.sources import reading_from
from feature_repo.engine.spec import is_windowed

BEFORE = timedelta(microseconds=1)


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
    LogError
        A table is missing or damaged.
    SettingsError
        ``settings`` are not of the home ``PORTRAIT_HOME`` names, whose registry and log Feast reads.
    """
    check_home(settings)
    stored = Retrieval(views, spine, dict(versions), settings)
    job = DuckDBRetrievalJob(
        stored.run,
        on_demand=views.on_demand,
        full_feature_names=True,
        metadata=RetrievalMetadata(features=list(views.refs), keys=[]),
    )
    with reading_from(*[each.view.batch_source for each in views.stored]):
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
        if all(is_windowed(each.view) for each in self.views.stored):
            return table
        earlier = self.spine.assign(**{EVENT_TIMESTAMP: self.spine[EVENT_TIMESTAMP] - BEFORE})
        with closing(connect_duckdb(self.settings)) as another:
            ordinary = self._ask(another, earlier, windowed=False)
        for name in ordinary.column_names[len(self.spine.columns) :]:
            table = table.append_column(name, ordinary[name])
        return table

    def _ask(self, connection: duckdb.DuckDBPyConnection, spine: pd.DataFrame, *, windowed: bool) -> pa.Table:
        asked = [each for each in self.views.stored if is_windowed(each.view) == windowed]
        pinned = {each.view.name: self.versions[table] for each in asked if (table := each.log_table)}
        request = Request.of([each.view for each in asked], self.views.refs, full_feature_names=True, versions=pinned)
        return PointInTimeQuery(request).run(connection, spine_of(connection, spine, request.join_keys))
