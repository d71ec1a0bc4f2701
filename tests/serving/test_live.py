"""What a simulated shop's shoppers do now, read online, is what the log says of the same instant."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from feature_repo.core.clock import HOUR, FixedClock, from_us, to_us
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb, connect_redis
from feature_repo.engine.feature_store import open_store, quiet_feast
from feature_repo.engine.oracle import oracle_value
from feature_repo.engine.spec import windowed_view_of
from feature_repo.events.log import read_snapshot
from feature_repo.events.simulation import simulate
from feature_repo.events.simulation_plan import Plan
from feature_repo.jobs.features import apply
from feature_repo.jobs.materialize import materialize
from serving.online_features import ServicePlan

pytestmark = pytest.mark.slow(20)

END = to_us(datetime(2026, 11, 21, 22, 0, 12, 345678, tzinfo=UTC))  # a Saturday afternoon in New York
NOBODY = "u_" + "0" * 32
SERVICES = {
    "live_v1": ("view", ["user_id"]),
    "item_live_v1": ("view", ["item_id"]),
    "user_category_live_v1": ("cart", ["user_id", "category"]),
}


@dataclass(frozen=True)
class Live:
    """A shop with its state in Redis."""

    settings: Settings
    client: Any

    def ask(self, query: str, table: str) -> list[dict[str, Any]]:
        with closing(connect_duckdb(self.settings)) as connection:
            relation = read_snapshot(self.settings.log_root / table).sql()
            rows: list[dict[str, Any]] = connection.sql(query.format(relation)).to_arrow_table().to_pylist()
        return rows

    def entities(self, table: str, keys: list[str]) -> dict[str, list[str]]:
        """Whom the latest events are about, and somebody never seen."""
        names = ", ".join(keys)
        present = " AND ".join(f"{key} IS NOT NULL" for key in keys)
        rows = self.ask(
            f"SELECT {names} FROM {{}} WHERE {present} GROUP BY ALL ORDER BY max(event_timestamp) DESC LIMIT 40", table
        )
        return {key: [*(row[key] for row in rows), NOBODY] for key in keys}


@pytest.fixture
def live(settings: Settings) -> Iterator[Live]:
    simulate(settings, Plan(seed=7, users=150, events=20_000, end_us=END))
    apply()
    materialize(settings, FixedClock(END))
    with connect_redis(settings) as client:
        yield Live(settings, client)


def same(left: Any, right: Any) -> bool:
    if left is None or left is pd.NA or left != left:  # noqa: PLR0124 - NaN
        return right is None
    return math.isclose(left, right, rel_tol=1e-9) if isinstance(left, float) else left == right


def test_live_features_are_the_logs_at_the_instant_of_reading_and_later(live: Live) -> None:
    store = open_store()
    for service, (table, keys) in SERVICES.items():
        entities = live.entities(table, keys)
        for at in (END, END + 5 * HOUR + 1):
            online = ServicePlan.of(store, service).read(live.client, entities, at).table
            spine = pd.DataFrame({**entities, "event_timestamp": from_us(at)})
            with quiet_feast():
                wanted = store.get_feature_service(service)
                offline = store.get_historical_features(spine, wanted, full_feature_names=True).to_df()
            assert len(online.column_names) >= 6
            for name in online.column_names:
                pairs = zip(offline[name].astype(object), online[name].to_pylist(), strict=True)
                assert all(same(left, right) for left, right in pairs), (service, name)
            recent = [name for name in online.column_names if name.endswith(("count_1d", "decayed_count_7d"))]
            assert at > END or any(value for name in recent for value in online[name].to_pylist())


def test_live_features_are_the_oracles(live: Live) -> None:
    store = open_store()
    views = {view.name: view for view in store.list_stream_feature_views()}
    for name in ("user_views_live", "user_carts", "user_category_views", "item_views_live"):
        spec = windowed_view_of(views[name])
        table = spec.source_path.rsplit("/", 1)[-1]
        entities = live.entities(table, list(spec.join_keys))
        service = next(each for each, (_, keys) in SERVICES.items() if sorted(keys) == list(spec.join_keys))
        read = ServicePlan.of(store, service).read(live.client, entities, END)
        events = live.ask(
            "SELECT * EXCLUDE event_timestamp, epoch_us(event_timestamp) AS event_timestamp FROM {}", table
        )
        for row, key in enumerate(zip(*(entities[each] for each in spec.join_keys), strict=True)):
            mine = [event for event in events if tuple(event[each] for each in spec.join_keys) == key]
            for feature in spec.features:
                column = f"{name}__{feature.name}"
                if column in read.table.column_names and feature.kind != "time":
                    expected = oracle_value(spec, feature, mine, END)
                    assert same(expected, read.table[column][row].as_py()), (column, key)


def test_the_calendar_is_that_of_the_instant_features_are_read_at(live: Live) -> None:
    plan = ServicePlan.of(open_store(), "live_v1")
    users = {"user_id": [NOBODY, *live.entities("view", ["user_id"])["user_id"][:2]]}
    midnight = to_us(datetime(2026, 11, 26, 5, tzinfo=UTC))  # New York's, before Thanksgiving
    for at, holiday in ((midnight - 1, 0), (midnight, 1)):
        table = plan.read(live.client, users, at).table
        assert table["shop_calendar__is_holiday"].to_pylist() == [holiday] * 3
        assert table["shop_calendar__hour"].to_pylist() == [0 if holiday else 23] * 3


def test_a_contract_of_models_in_service_is_untouched_by_live_views(live: Live) -> None:
    contract = ServicePlan.of(open_store(), "redemption_v1").contract
    assert not [name for name in contract if "live" in name or "views" in name]
