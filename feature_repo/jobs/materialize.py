"""Bring what Redis holds to the head of the event log, view by view."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from feast import FeatureStore, FeatureView

from feature_repo.core.clock import Clock
from feature_repo.core.errors import PortraitError, StoreUnavailableError, ViewsRefusedError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb, connect_redis, redis_answers
from feature_repo.engine.batch_engine import materialize_view
from feature_repo.engine.builder import Materialized
from feature_repo.engine.feature_store import kept_views, open_store, stored_views
from feature_repo.engine.positions import Positions


@dataclass(frozen=True)
class MaterializeReport:
    """What each view's turn did, in order, and how long all took; of a view that was refused, why."""

    views: tuple[Materialized, ...]
    seconds: float
    refused: dict[str, str] = field(default_factory=dict)


def materialize(
    settings: Settings,
    clock: Clock,
    *,
    views: list[str] | None = None,
    full: bool = False,
    dry_run: bool = False,
    progress: Callable[[str, float], None] = lambda _step, _done: None,
) -> MaterializeReport:
    """Bring views to the log's head; one that is refused does not keep the others from it.

    Parameters
    ----------
    views
        Names; None for all that are to be kept, see :func:`feature_repo.engine.feature_store.kept_views`.
    full
        Build anew even what could be applied; readers keep the old state until the new one is whole.
    dry_run
        Say what would be done, and write nothing.
    progress
        Told the view and its share done.

    Raises
    ------
    DeclarationError
        A view is unknown, or nothing was applied yet.
    ViewsRefusedError
        Tables of some views are missing, damaged, emptied or behind Redis; all other views were brought to the head.
    StoreUnavailableError
        Redis cannot be used; views done before stay done, and running again goes on.
    """
    started = clock.now_us()
    store = open_store()
    run = partial(materialize_view, project=store.project, settings=settings, clock=clock, full=full, dry_run=dry_run)
    done, refusals = [], {}
    with closing(connect_duckdb(settings)) as duckdb:
        for view in stored_views(store, views) if views else _kept(settings, store):
            progress(view.name, 0.0)
            try:
                done.append(run(view, duckdb=duckdb, progress=partial(progress, view.name)))
            except StoreUnavailableError:  # of all views alike
                raise
            except PortraitError as error:
                refusals[view.name] = error
            progress(view.name, 1.0)
    reasons = {name: error.what for name, error in refusals.items()}
    report = MaterializeReport(tuple(done), (clock.now_us() - started) / 1e6, reasons)
    if refusals:
        raise ViewsRefusedError(refusals, report)
    return report


def _kept(settings: Settings, store: FeatureStore) -> list[FeatureView]:
    with connect_redis(settings) as client, redis_answers():
        return kept_views(stored_views(store), Positions(client, store.project).recorded())
