"""Stock Feast code on our views, over the real shop: what Feast's documentation says to type works."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from feast import FeatureStore
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

from feature_repo.core.clock import FixedClock
from feature_repo.core.errors import DataError, DeclarationError
from feature_repo.core.settings import Settings
from feature_repo.engine.feature_store import open_store
from feature_repo.engine.sources import located
from feature_repo.events.log import read_snapshot

EPOCH = pd.Timestamp(0, tz="UTC")


@pytest.fixture
def store(shop: Settings) -> FeatureStore:
    return open_store()


def relation(name: str) -> str:
    return read_snapshot(located(f"log/{name}")).sql()


def spine_sql(rows: int) -> str:
    columns = "user_id, campaign_id, event_timestamp"
    return f"SELECT {columns} FROM {relation('campaign_exposure')} ORDER BY ALL LIMIT {rows}"


def test_a_sql_spine_and_a_frame_give_the_same_rows(store: FeatureStore) -> None:
    service = store.get_feature_service("redemption_v1")
    by_sql = store.get_historical_features(spine_sql(300), service, full_feature_names=True).to_df()
    frame = by_sql[["user_id", "campaign_id", "event_timestamp"]]
    by_frame = store.get_historical_features(frame, service, full_feature_names=True).to_df()
    pd.testing.assert_frame_equal(by_sql, by_frame)
    assert list(by_sql.columns[:3]) == ["user_id", "campaign_id", "event_timestamp"]
    assert by_sql["user_price_sensitivity__coupon_visit_share_182d"].notna().any()


def test_windowed_ordinary_and_on_demand_views_mix_in_one_service(store: FeatureStore) -> None:
    spine = f"SELECT DISTINCT user_id, TIMESTAMPTZ '2099-01-01 00:00:00+00' AS event_timestamp FROM {relation('users')}"
    service = store.get_feature_service("profile_v1")
    frame = store.get_historical_features(spine, service, full_feature_names=True).to_df()
    assert len(frame) == 801
    assert frame["user_demographics__age_band"].notna().all()
    assert (frame["user_payments__count_28d"] == 0).all()
    assert frame["user_trends__visits_trend_28d_84d"].isna().all()


def test_a_frame_with_times_as_objects_and_mixed_zones_is_understood(store: FeatureStore) -> None:
    first = store.get_historical_features(spine_sql(1), ["user_campaigns:count_84d"]).to_df().iloc[0]
    late = (first["event_timestamp"] + timedelta(days=1)).to_pydatetime()
    times = pd.Series([late, late.astimezone(ZoneInfo("Asia/Shanghai"))], dtype=object)
    spine = pd.DataFrame({"user_id": [first["user_id"]] * 2, "event_timestamp": times})
    one, other = store.get_historical_features(spine, ["user_campaigns:count_84d"]).to_df()["count_84d"]
    assert one == other >= 1


def test_range_mode_gives_a_row_for_every_instant_a_view_has_one(store: FeatureStore) -> None:
    exposures = store.get_historical_features(spine_sql(6589), ["user_campaigns:count_84d"]).to_df()
    start, end = exposures["event_timestamp"].min(), exposures["event_timestamp"].quantile(0.3)
    found = store.get_historical_features(
        features=["user_campaigns:count_84d"], start_date=start.to_pydatetime(), end_date=end.to_pydatetime()
    ).to_df()
    within = exposures[(exposures["event_timestamp"] >= start) & (exposures["event_timestamp"] <= end)]
    assert len(found) == len(within.drop_duplicates(["user_id", "event_timestamp"]))
    both = found.merge(within.drop_duplicates(["user_id", "event_timestamp"]), on=["user_id", "event_timestamp"])
    assert (both["count_84d_x"] == both["count_84d_y"]).all()


def test_range_mode_over_views_of_different_entities_says_what_to_do(store: FeatureStore) -> None:
    job = store.get_historical_features(
        features=["user_campaigns:count_84d", "item_purchases:count_7d"],
        start_date=pd.Timestamp("2020-01-01", tz="UTC").to_pydatetime(),
        end_date=pd.Timestamp("2020-01-02", tz="UTC").to_pydatetime(),
    )
    with pytest.raises(DataError, match=r"different join keys: item_id; user_id"):
        job.to_df()


@pytest.mark.parametrize(
    ("spine", "message"),
    [
        (pd.DataFrame({"usr_id": ["a"], "event_timestamp": [EPOCH]}), "lacks the join key 'user_id'"),
        (pd.DataFrame({"user_id": ["a"]}), "0 columns of times"),
        (pd.DataFrame({"user_id": ["a"], "event_timestamp": ["yesterday"]}), "'event_timestamp' is not a time"),
        (pd.DataFrame({"user_id": ["a"], "event_timestamp": [pd.NaT]}), "NULL in 1 rows"),
        ("SELECT nothing FROM nowhere", "SQL of entity_df fails"),
    ],
)
def test_a_spine_that_cannot_be_joined_is_refused_with_what_to_do(
    store: FeatureStore, spine: pd.DataFrame | str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        store.get_historical_features(spine, ["user_campaigns:count_84d"]).to_df()
    assert caught.value.hint


def test_a_result_is_saved_once(store: FeatureStore, tmp_path: Path) -> None:
    job = store.get_historical_features(spine_sql(10), ["user_campaigns:count_84d"])
    storage = SavedDatasetFileStorage(path=str(tmp_path / "set.parquet"))
    job.persist(storage)
    assert len(pd.read_parquet(tmp_path / "set.parquet")) == 10
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(storage)


@pytest.mark.parametrize("service", ["profile_v1", "redemption_v1", "live_v1"])
def test_online_features_are_the_offline_ones_at_the_instant_of_reading(store: FeatureStore, service: str) -> None:
    users = store.get_historical_features(spine_sql(400), ["user_campaigns:count_84d"]).to_df()["user_id"].unique()[:40]
    wanted = store.get_feature_service(service)
    at = pd.Timestamp.now(tz="UTC").floor("us")
    store._get_provider().online_store.clock = FixedClock(at.value // 1000)
    online = store.get_online_features(wanted, [{"user_id": user} for user in users], full_feature_names=True).to_df()
    spine = pd.DataFrame({"user_id": users, "event_timestamp": at})
    offline = store.get_historical_features(spine, wanted, full_feature_names=True).to_df()
    assert set(online.columns) <= set(offline.columns)  # offline gives the inputs of on-demand views too
    for column in online.columns:
        left, right = offline[column], online[column]
        if column.endswith("last_event_at"):
            left = left.dt.floor("s")
        pd.testing.assert_series_equal(
            left, right.astype(left.dtype) if right.notna().any() else left, check_names=False, rtol=1e-9, obj=column
        )


def test_pushing_values_into_a_windowed_view_is_refused(store: FeatureStore) -> None:
    row = pd.DataFrame({"user_id": ["a"], "event_timestamp": [pd.Timestamp.now(tz="UTC")], "count_84d": [1]})
    with pytest.raises(DeclarationError, match="computed from events"):
        store._get_provider().online_store.online_write_batch(
            store.config, store.get_stream_feature_view("user_campaigns"), [row], None
        )
