"""The SQL of views as text, so that a reviewer reads what runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from feature_repo.engine.duckdb_sql import Source
from feature_repo.engine.past_sql import entities_sql, facts_sql, history_sql, rows_sql
from feature_repo.engine.past_windows import PastWindows
from feature_repo.engine.spec import WindowedView, windowed_view_of
from feature_repo.engine.state_sql import tiles_sql
from histories import every_kernel_view


@pytest.fixture
def view() -> WindowedView:
    every = windowed_view_of(every_kernel_view(Path("log/history")))
    chosen = {"count_all_2h", "mean_amount_5h", "max_units_24h", "days_since_amount_24h"}
    return replace(every, features=tuple(feature for feature in every.features if feature.name in chosen))


@pytest.mark.parametrize("known_by_at", [False, True])
def test_the_events_windows_may_hold(view: WindowedView, snapshot: SnapshotAssertion, known_by_at: bool) -> None:
    past = PastWindows(view.features, tuple(feature.name for feature in view.features), view.hop, (0, 1))
    sql = history_sql(
        view,
        past.monoids,
        past.units,
        source=Source("history", upto_version=7, known_by_at=known_by_at),
        entities="entities",
        keys=["user_id"],
        span=(0, 1),
        longest=past.reaches[0],
    )
    assert sql == snapshot


def test_the_rows_of_a_spine_and_their_entities(snapshot: SnapshotAssertion) -> None:
    keys = ['"user_id"', 'CAST("place" AS VARCHAR)']
    assert entities_sql("spine_rows", keys) == snapshot
    assert rows_sql("spine_rows", "entities", keys) == snapshot


@pytest.mark.parametrize("above", [-1, 3])
def test_tiles_of_a_build_and_of_an_apply(view: WindowedView, snapshot: SnapshotAssertion, above: int) -> None:
    assert tiles_sql(view, source="history", since=18_000_000_000, versions=(above, 7)) == snapshot


@pytest.mark.parametrize("known_by_at", [False, True])
def test_the_rows_of_an_ordinary_view(snapshot: SnapshotAssertion, known_by_at: bool) -> None:
    sql = facts_sql(
        ["age_band"],
        source=Source("users", known_by_at=known_by_at),
        entities="entities",
        keys=["user_id"],
        timestamp_field="event_timestamp",
        created_field="ingested_at",
        ttl=86_400_000_000,
        span=(0, 1),
    )
    assert sql == snapshot
