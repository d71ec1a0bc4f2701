"""Feast's offline store over the event log: "duckdb, plus windows"."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import duckdb
import pandas as pd
import pyarrow as pa
from feast import FeatureView, OnDemandFeatureView, RepoConfig
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel

from feature_repo.core.clock import from_us
from feature_repo.core.settings import load_settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.duckdb_sql import quote
from feature_repo.engine.parquet_sources import append_logs, append_rows
from feature_repo.engine.point_in_time import (
    ROWS_PER_BATCH,
    PointInTimeQuery,
    Request,
    Spine,
    range_spine,
    spine_of,
)
from feature_repo.engine.retrieval import DuckDBRetrievalJob
from feature_repo.engine.sources import ensure_log_table, relation_of


class WindowedDuckDBOfflineStoreConfig(FeastConfigBaseModel):
    """Nothing to set here: threads and memory come from ``PORTRAIT_THREADS`` and ``PORTRAIT_MEMORY``."""

    type: Literal["feature_repo.engine.offline_store.WindowedDuckDBOfflineStore"] = (
        "feature_repo.engine.offline_store.WindowedDuckDBOfflineStore"
    )


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
        start, end = kwargs.get("start_date"), kwargs.get("end_date")

        def spine(connection: duckdb.DuckDBPyConnection) -> Spine:
            if entity_df is None:
                return range_spine(connection, request, start, end)
            return spine_of(connection, entity_df, request.join_keys)

        return DuckDBRetrievalJob(
            lambda connection: PointInTimeQuery(request).reader(connection, spine(connection)),
            on_demand=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            full_feature_names=full_feature_names,
            metadata=lambda: _metadata(spine, feature_refs),
        )

    @staticmethod
    def write_logged_features(
        config: RepoConfig,  # noqa: ARG004
        data: pa.Table | Path,
        source: LoggingSource,  # noqa: ARG004
        logging_config: LoggingConfig,
        registry: BaseRegistry,  # noqa: ARG004
    ) -> None:
        """Add logged features to the Parquet files of a ``FileLoggingDestination``."""
        append_logs(data, logging_config.destination)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,  # noqa: ARG004
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Add rows to the Parquet file of an ordinary view; the event log is refused, events enter it by the door."""
        append_rows(feature_view, table)
        if progress:
            progress(table.num_rows)

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

    def run(connection: duckdb.DuckDBPyConnection) -> pa.RecordBatchReader:
        query = f"SELECT {picked} FROM {relation_of(source)} WHERE {where} {last}"
        return connection.sql(query, params=limits).to_arrow_reader(ROWS_PER_BATCH)

    return DuckDBRetrievalJob(run)


def _metadata(spine: Callable[[duckdb.DuckDBPyConnection], Spine], refs: list[str]) -> RetrievalMetadata:
    with contextlib.closing(connect_duckdb(load_settings())) as connection:
        held = spine(connection)
    first, last = held.span or (0, 0)
    return RetrievalMetadata(
        features=refs,
        keys=[column for column in held.columns if column != held.time],
        min_event_timestamp=from_us(first),
        max_event_timestamp=from_us(last),
    )
