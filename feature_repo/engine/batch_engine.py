"""Feast's compute engine for ``feast materialize``: bring a view to the log's head, whatever the interval says.

The state in Redis is a fold of the log, so there is no interval to choose: ``start`` is ignored, ``end`` is now, and a
run after which nothing was committed writes nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from duckdb import DuckDBPyConnection
from feast import Entity, FeatureView, RepoConfig
from feast.infra.common.materialization_job import MaterializationJob, MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.base import ComputeEngine
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel

from feature_repo.core.clock import Clock, SystemClock
from feature_repo.core.errors import FencedError, LogError
from feature_repo.core.fences import folding_client
from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import connect_duckdb, redis_answers
from feature_repo.engine.builder import Materialized, StateBuilder
from feature_repo.engine.folds import Progress
from feature_repo.engine.row_writer import RowMaterializer
from feature_repo.engine.sources import reading_from
from feature_repo.engine.spec import is_windowed, windowed_view_of
from feature_repo.privacy.tombstones import Tombstones


class WindowedBatchEngineConfig(FeastConfigBaseModel):
    """Nothing to set here: threads and memory come from ``PORTRAIT_THREADS`` and ``PORTRAIT_MEMORY``."""

    type: str = "feature_repo.engine.batch_engine.WindowedBatchEngine"


class WindowedBatchEngine(ComputeEngine):
    """Feast names this class in ``feature_store.yaml``."""

    def __init__(self, *, repo_config: RepoConfig, offline_store: Any, online_store: Any, **_: Any) -> None:
        super().__init__(repo_config=repo_config, offline_store=offline_store, online_store=online_store)

    def update(
        self,
        project: str,
        views_to_delete: Sequence[Any],
        views_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
    ) -> None:
        """Nothing to prepare."""

    def teardown_infra(self, project: str, fvs: Sequence[Any], entities: Sequence[Entity]) -> None:
        """Nothing to take down."""

    def get_historical_features(self, registry: BaseRegistry, task: Any) -> Any:
        """Feast asks the offline store instead."""
        raise NotImplementedError("Historical features come from the offline store.")

    def _materialize_one(self, registry: BaseRegistry, task: MaterializationTask, **_: Any) -> MaterializationJob:  # noqa: ARG002
        name = f"{task.feature_view.name}-{task.end_time}"
        try:
            materialize_view(task.feature_view, project=task.project, settings=load_settings(), clock=SystemClock())
        except Exception as error:  # noqa: BLE001 - Feast raises it from the job
            return LocalMaterializationJob(job_id=name, status=MaterializationJobStatus.ERROR, error=error)
        return LocalMaterializationJob(job_id=name, status=MaterializationJobStatus.SUCCEEDED)


def materialize_view(
    view: FeatureView,
    *,
    project: str,
    settings: Settings,
    clock: Clock,
    duckdb: DuckDBPyConnection | None = None,
    full: bool = False,
    dry_run: bool = False,
    progress: Progress = lambda _: None,
) -> Materialized:
    """Bring one view's state in Redis to the head of its table, or say what that would take (``dry_run``).

    If somebody is erased meanwhile, it starts over. ``duckdb`` is for who brings several views to the head: opening one
    takes longer than to see that nothing is to be done.

    Raises
    ------
    LogError
        The view's table is missing or damaged.
    StoreUnavailableError
        Redis is not there, or went away. Running again goes on.
    """
    read_again = False
    while True:
        try:
            with (
                _cursor(settings, duckdb) as cursor,
                _keeping(view, project, settings, clock, cursor) as (keeper, about),
            ):
                run = keeper.plan if dry_run else partial(keeper.bring_to_head, progress=progress)
                done: Materialized = run(about, full=full)
                return done
        except FencedError:
            continue
        except LogError:  # an erasure replaces files and deletes the old ones, of which some may not have been read yet
            if read_again or not Tombstones(settings.home).count:
                raise
            read_again = True


@contextlib.contextmanager
def _cursor(settings: Settings, duckdb: DuckDBPyConnection | None) -> Iterator[DuckDBPyConnection]:
    """A cursor, whose temporary tables go with it."""
    opened = contextlib.closing(connect_duckdb(settings)) if duckdb is None else contextlib.nullcontext(duckdb)
    with opened as connection, connection.cursor() as cursor:
        yield cursor


@contextlib.contextmanager
def _keeping(
    view: FeatureView, project: str, settings: Settings, clock: Clock, connection: DuckDBPyConnection
) -> Iterator[tuple[Any, Any]]:
    """What keeps a view's state in Redis, and what it takes for the view."""
    with (
        redis_answers(),
        folding_client(settings) as client,
        reading_from(view.batch_source),
    ):
        if is_windowed(view):
            yield StateBuilder(connection, client, project, clock), windowed_view_of(view)
        else:
            yield RowMaterializer(connection, client, project), view
