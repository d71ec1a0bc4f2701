"""The SQL of views as text, so that a reviewer reads what runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from feature_repo.core.clock import DAY, HOUR, MINUTE
from feature_repo.engine.asof_sql import asof_sql
from feature_repo.engine.duckdb_sql import Source
from feature_repo.engine.spec import WindowedView, windowed_view_of
from feature_repo.engine.state_sql import tiles_sql
from feature_repo.engine.windows_sql import TilePlan, windows_sql
from histories import every_kernel_view


@pytest.fixture
def view() -> WindowedView:
    every = windowed_view_of(every_kernel_view(Path("log/history")))
    chosen = {"count_all_2h", "mean_amount_5h", "max_units_24h", "days_since_amount_24h"}
    return replace(every, features=tuple(feature for feature in every.features if feature.name in chosen))


PLANS = {
    "event by event": (TilePlan(), False),
    "hot entities": (TilePlan((DAY, HOUR, 5 * MINUTE), shared=True, clustered=False), False),
    "as it was known": (TilePlan((DAY, HOUR), clustered=False), True),
}


@pytest.mark.parametrize("case", PLANS)
def test_windows_at_the_instants_of_a_spine(view: WindowedView, snapshot: SnapshotAssertion, case: str) -> None:
    plan, known_by_at = PLANS[case]
    source = Source("history", upto_version=7, known_by_at=known_by_at)
    names = [feature.name for feature in view.features]
    sql = windows_sql(
        view,
        view.features,
        source=source,
        spine="spine_rows",
        keys={"user_id": '"user_id"'},
        span=(0, 1),
        outputs=names,
        plan=plan,
    )
    assert sql == snapshot


@pytest.mark.parametrize("above", [-1, 3])
def test_tiles_of_a_build_and_of_an_apply(view: WindowedView, snapshot: SnapshotAssertion, above: int) -> None:
    assert tiles_sql(view, source="history", since=18_000_000_000, versions=(above, 7)) == snapshot


@pytest.mark.parametrize("known_by_at", [False, True])
def test_the_latest_row_of_an_ordinary_view(snapshot: SnapshotAssertion, known_by_at: bool) -> None:
    sql = asof_sql(
        source=Source("users", known_by_at=known_by_at),
        spine="spine_rows",
        keys={"user_id": '"user_id"'},
        columns={"age_band": "age_band"},
        timestamp_field="event_timestamp",
        created_field="ingested_at",
        ttl=86_400_000_000,
        span=(0, 1),
    )
    assert sql == snapshot
