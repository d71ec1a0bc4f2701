"""Feast's offline store over the event log: "duckdb, plus windows"."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureView, OnDemandFeatureView, RepoConfig
from feast.data_source import DataSource
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel
from feast.saved_dataset import SavedDatasetStorage

from feature_repo.core.errors import DataError
from feature_repo.core.settings import load_settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.duckdb_sql import quote
from feature_repo.engine.point_in_time import PointInTimeQuery, Request, Spine, range_spine, spine_of, spine_times
from feature_repo.engine.sources import ensure_log_table, relation_of


class WindowedDuckDBOfflineStoreConfig(FeastConfigBaseModel):
    """Nothing to set here: threads and memory come from ``PORTRAIT_THREADS`` and ``PORTRAIT_MEMORY``."""

    type: Literal["feature_repo.engine.offline_store.WindowedDuckDBOfflineStore"] = (
        "feature_repo.engine.offline_store.WindowedDuckDBOfflineStore"
    )


class DuckDBRetrievalJob(RetrievalJob):
    """A query that runs when its result is asked for.

    Parameters
    ----------
    run
        Executes the query over a connection and returns the result.
    on_demand
        On-demand views to compute on top, which Feast does in ``to_df`` and ``to_arrow``.
    """

    def __init__(
        self,
        run: Callable[[duckdb.DuckDBPyConnection], pa.Table],
        *,
        on_demand: Sequence[OnDemandFeatureView] = (),
        full_feature_names: bool = False,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        self._run = run
        self._on_demand = list(on_demand)
        self._full_feature_names = full_feature_names
        self._metadata = metadata

    @property
    def full_feature_names(self) -> bool:
        """Whether columns are named ``view__feature``."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """On-demand views of the request."""
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """What was asked for."""
        return self._metadata

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the result to a Parquet file.

        Raises
        ------
        SavedDatasetLocationAlreadyExists
            The file exists and ``allow_overwrite`` is False.
        """
        if not isinstance(storage, SavedDatasetFileStorage):
            raise DataError(
                f"A dataset cannot be saved to {type(storage).__name__}.", hint="use SavedDatasetFileStorage."
            )
        path = Path(storage.file_options.uri)
        if path.exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=str(path))
        partial = path.with_name(f".{path.name}.partial")
        pq.write_table(self.to_arrow(timeout=timeout), partial)
        partial.replace(path)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # noqa: ARG002
        return self._result

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:  # noqa: ARG002
        frame: pd.DataFrame = self._result.to_pandas()
        return frame

    @cached_property
    def _result(self) -> pa.Table:
        with contextlib.closing(connect_duckdb(load_settings())) as connection:
            return self._run(connection)


class WindowedDuckDBOfflineStore(OfflineStore):
    """Point-in-time features from raw events, computed in DuckDB; Feast names this class in ``feature_store.yaml``.

    Windowed views follow ``engine.tiles``; ordinary views keep Feast's rule, the latest row at or before the entity
    row's time and within the view's ttl.
    """

    @staticmethod
    def get_historical_features(
        config: RepoConfig,  # noqa: ARG004 - Feast's signature
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **kwargs: Any,
    ) -> RetrievalJob:
        """Join the features asked for to every row of the spine.

        Parameters
        ----------
        entity_df
            Rows of entity keys and a time, as a DataFrame or a SQL query over DuckDB; its other columns are carried
            through. None is range mode: the spine is every (entity, instant) at which one of the views has a row
            between ``start_date`` and ``end_date``.

        Returns
        -------
        RetrievalJob
            Rows in the spine's order; times are UTC microseconds; a windowed feature at ``t`` knows events before
            ``t``, an ordinary one rows up to and including ``t``.

        Raises
        ------
        DataError
            The spine lacks a join key or a time column.
        """
        request = Request.of(
            feature_views,
            feature_refs,
            full_feature_names=full_feature_names,
            known_by_at=bool(kwargs.get("filter_by_created_timestamp")),
        )
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        start, end = kwargs.get("start_date"), kwargs.get("end_date")

        def spine(connection: duckdb.DuckDBPyConnection) -> Spine:
            if entity_df is None:
                return range_spine(connection, request, start, end)
            return spine_of(connection, entity_df, request.join_keys)

        return DuckDBRetrievalJob(
            lambda connection: PointInTimeQuery(request).run(connection, spine(connection)),
            on_demand=on_demand,
            full_feature_names=full_feature_names,
            metadata=_metadata(entity_df, feature_refs),
        )

    @staticmethod
    def validate_data_source(config: RepoConfig, data_source: DataSource) -> None:  # noqa: ARG004
        """Create the log's table behind an event source that has none yet: ``apply`` calls this for every source."""
        ensure_log_table(data_source)

    def ensure_filter_by_created_timestamp_supported(self) -> None:
        """``filter_by_created_timestamp`` is supported: only rows the log had learned of by then are read."""

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,  # noqa: ARG004
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """Latest row of every entity with ``start_date <= time <= end_date``; ties go to the row created last."""
        keys = ", ".join(map(quote, join_key_columns))
        order = f"{quote(timestamp_field)} DESC" + (
            f", {quote(created_timestamp_column)} DESC" if created_timestamp_column else ""
        )
        latest = f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {order}) = 1"
        columns = [*join_key_columns, *feature_name_columns, timestamp_field, created_timestamp_column or ""]
        return _rows(data_source, columns, timestamp_field, start_date, end_date, latest)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,  # noqa: ARG004
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Every row with ``start_date <= time <= end_date``."""
        columns = [*join_key_columns, *feature_name_columns, timestamp_field, created_timestamp_column or ""]
        return _rows(data_source, columns, timestamp_field, start_date, end_date, "")


def _rows(
    source: DataSource, columns: list[str], ts: str, start: datetime | None, end: datetime | None, last: str
) -> RetrievalJob:
    picked = ", ".join(quote(column) for column in dict.fromkeys(columns) if column)
    bounds = [f"{quote(ts)} >= $start"] * (start is not None) + [f"{quote(ts)} <= $end"] * (end is not None)
    where = " AND ".join(bounds) or "true"
    limits = {name: at for name, at in (("start", start), ("end", end)) if at is not None}

    def run(connection: duckdb.DuckDBPyConnection) -> pa.Table:
        query = f"SELECT {picked} FROM {relation_of(source)} WHERE {where} {last}"
        return connection.sql(query, params=limits).to_arrow_table()

    return DuckDBRetrievalJob(run)


def _metadata(entity_df: pd.DataFrame | str | None, refs: list[str]) -> RetrievalMetadata | None:
    if not isinstance(entity_df, pd.DataFrame) or entity_df.empty:
        return RetrievalMetadata(features=refs, keys=[])
    times, spine = spine_times(entity_df), Spine.time_column(entity_df)
    return RetrievalMetadata(
        features=refs,
        keys=[column for column in entity_df.columns if column != spine],
        min_event_timestamp=times.min().to_pydatetime(),
        max_event_timestamp=times.max().to_pydatetime(),
    )
