"""The events behind a reason, and its values computed again from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import duckdb

from feature_repo.core.clock import from_us, to_us
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.feature_store import open_store, stored_views
from feature_repo.engine.monoids import TIME
from feature_repo.engine.oracle import oracle_value
from feature_repo.engine.sources import MappedSource, reading_from
from feature_repo.engine.spec import WindowedFeature, WindowedView, is_windowed, windowed_view_of
from feature_repo.engine.tiles import floor
from feature_repo.jobs.skew_values import differ
from feature_repo.privacy.tombstones import Tombstones
from serving.entities import USER
from serving.reasons.answers import MOST_EVENTS, Evidence
from serving.reasons.explanation import Trace
from serving.reasons.logged import History

# What is read is no event, but the clock.
_OF_THE_CLOCK = "read_at"


def evidence_of(settings: Settings, user: str, traces: Sequence[Trace], *, most: int) -> tuple[Evidence, ...]:
    """Read the log of the windows of some values.

    Of a person who was erased the log is not read, whatever of it is still there.

    Parameters
    ----------
    user
        Pseudonym.
    most
        Events to show of each value.

    Raises
    ------
    DataError
        ``most`` is out of bounds, or a trace names no windowed feature.
    DeclarationError
        A view is not declared any more.
    LogError
        A table is missing or damaged.
    """
    if isinstance(most, bool) or not isinstance(most, int) or not 0 <= most <= MOST_EVENTS:
        raise DataError("So many events cannot be shown.", hint=f"pass a number from 0 to {MOST_EVENTS}.")
    erased = Tombstones(settings.home).holds(user)
    with closing(connect_duckdb(settings)) as connection:
        return tuple(_evidence(connection, user, traces, most=most, erased=erased))


def _evidence(
    connection: duckdb.DuckDBPyConnection, user: str, traces: Sequence[Trace], *, most: int, erased: bool
) -> Iterator[Evidence]:
    views = {view.name: view for view in stored_views(open_store(), [*{trace.view for trace in traces}])}
    for trace in traces:
        view = views[trace.view]
        spec, feature = _declared(view, trace)
        if feature.function == _OF_THE_CLOCK:
            continue
        with reading_from(view.batch_source):
            source = MappedSource.of(view.batch_source)
            keys = _keys(spec, trace, user)
            upto = -1 if trace.log_version is None or (erased and USER in keys) else trace.log_version
            history = History(connection, PurePosixPath(spec.source_path).name, source, keys, upto)
            yield _of_window(trace, source.read_by(spec), feature, history, most if USER in keys else 0)


def _of_window(trace: Trace, spec: WindowedView, feature: WindowedFeature, history: History, most: int) -> Evidence:
    until = to_us(trace.until)
    since = floor(until - feature.reach, spec.hop)
    found = oracle_value(spec, feature, history.values(feature.column, since, until), until)
    recomputed = from_us(int(found)) if feature.kind == TIME and found is not None else found
    return Evidence(
        name=trace.name,
        since=from_us(since),
        until=trace.until,
        served=trace.value,
        recomputed=recomputed,
        agrees=not differ(_plain(trace.value), _plain(recomputed)),
        total=history.count(feature.column, since, until),
        events=history.newest(feature.column, since, until, most) if most else (),
    )


def _declared(view: Any, trace: Trace) -> tuple[WindowedView, WindowedFeature]:
    name = trace.name.split("__", 1)[-1]
    if is_windowed(view):
        spec = windowed_view_of(view)
        if name in {feature.name for feature in spec.features}:
            return spec, spec.feature(name)
    raise DataError(f"View '{view.name}' has no windowed feature of that name.", hint="pass a reason as it was told.")


def _keys(spec: WindowedView, trace: Trace, user: str) -> dict[str, str]:
    """Return whose events are read: the shopper's, whatever a trace that came over HTTP says."""
    keys = {**trace.about, USER: user}
    if not set(spec.join_keys) <= set(keys):
        raise DataError(f"A trace does not say what '{trace.name}' is about.", hint="pass a reason as it was told.")
    return {key: keys[key] for key in spec.join_keys}


def _plain(value: Any) -> Any:
    return to_us(value) if isinstance(value, datetime) else value
