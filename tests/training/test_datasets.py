from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo.core.errors import DeclarationError, SettingsError
from feature_repo.core.settings import Settings
from feature_repo.engine.feature_store import open_store
from feature_repo.engine.services import service_views
from training.data.dataset import Dataset, dataset
from training.data.features import features_at
from training.data.log_views import head_versions
from training.declaring.recipe import Linear, Recipe
from training.task import Task

US = timedelta(microseconds=1)


def test_the_demo_splits_by_campaigns_with_an_embargo(rows: Dataset):
    frame = rows.to_df()
    campaigns = {role: set(part.campaign_id) for role, part in frame.groupby("split")}
    assert campaigns == {
        "train": {"27", *map(str, range(1, 14))},
        "embargo": {"14"},
        "test": {"16", "17", "18", "19"},
    }
    assert (rows.train.sum(), rows.labels[rows.train].sum()) == (3780, 462)
    assert (rows.test.sum(), round(rows.labels[rows.test].mean(), 3)) == (1653, 0.161)
    assert set(frame.campaign_id[rows.valid]) == {"11", "12", "13"}
    assert set(frame.campaign_id[rows.split.fit]) == {"27", *map(str, range(1, 10))}


def test_the_features_are_those_of_feasts_own_call(rows: Dataset, demo: Settings):
    store = open_store()
    spine = rows.frame[["user_id", "event_timestamp"]]
    service = store.get_feature_service("redemption_v1")
    theirs = store.get_historical_features(spine, service, full_feature_names=True).to_df()
    for name in rows.features:
        ours = rows.frame[name]
        assert ours.isna().equals(theirs[name].isna()), name
        np.testing.assert_allclose(ours.dropna().to_numpy(float), theirs[name].dropna().to_numpy(float), rtol=1e-9)


def test_a_dataset_built_twice_has_one_fingerprint(rows: Dataset, demo: Settings, redemption: Task):
    again = dataset(redemption)
    assert again.fingerprint == rows.fingerprint
    assert again.frame[rows.key].equals(rows.frame[rows.key])


def test_a_task_may_be_named(demo: Settings, rows: Dataset):
    assert dataset("redemption").fingerprint == rows.fingerprint


def test_pandas_and_arrow_hold_the_same(rows: Dataset):
    table = rows.to_arrow()
    pd.testing.assert_frame_equal(table.to_pandas(), rows.to_df())
    assert table.schema.field("event_timestamp").type.tz == "UTC"


def test_an_unknown_input_suggests_a_known_one(rows: Dataset):
    with pytest.raises(DeclarationError, match="did you mean 'campaign_days'"):
        rows.matrix(("campaign_dys",))


def test_events_that_come_later_do_not_change_the_rows_of_a_version(
    rows: Dataset, own_demo: Settings, write_to, redemption: Task
):
    shopper, at = rows.frame.loc[rows.test, ["user_id", "event_timestamp"]].iloc[0]
    late = [{"user_id": shopper, "event_timestamp": (at - timedelta(days=1)).to_pydatetime(), "amount": 1e6}]
    write_to(own_demo, "payment", late)
    then, now = dataset(redemption, versions=rows.log_versions), dataset(redemption)
    assert then.fingerprint == rows.fingerprint != now.fingerprint
    assert now.log_versions["payment"] == rows.log_versions["payment"] + 1
    assert now.frame.user_payments__amount_sum_28d.max() > 1e6 > then.frame.user_payments__amount_sum_28d.max()


def test_an_ordinary_row_stamped_at_the_instant_is_not_seen(shop: Settings, write_to):
    at = datetime(2026, 3, 1, tzinfo=UTC)
    shopper = "u_" + "0" * 32
    for when, band in ((at - US, "before"), (at, "at the instant")):
        write_to(shop, "users", [{"user_id": shopper, "event_timestamp": when, "age_band": band}])
        write_to(shop, "payment", [{"user_id": shopper, "event_timestamp": when, "amount": 1.0}])
    views = service_views(open_store(), "profile_v1")
    spine = pd.DataFrame({"user_id": [shopper], "event_timestamp": pd.to_datetime([at])})
    found = features_at(views, spine, versions=head_versions(shop, views.tables), settings=shop).iloc[0]
    assert found.user_demographics__age_band == "before"
    assert found.user_payments__count_7d == 1
    assert found.event_timestamp == pd.Timestamp(at)


def test_a_misspelt_input_of_a_recipe_is_found_before_anything_is_fitted(demo: Settings, redemption: Task):
    wrong = replace(
        redemption, baselines={**redemption.baselines, "tiny": Recipe(inputs=("campaign_dys",), linear=Linear())}
    )
    with pytest.raises(DeclarationError, match="did you mean 'campaign_days'"):
        dataset(wrong)


def test_a_sum_that_overflows_is_told_as_one(rows: Dataset, own_demo: Settings, write_to, redemption: Task):
    shopper, at = rows.frame.loc[rows.test, ["user_id", "event_timestamp"]].iloc[0]
    visit = {"user_id": shopper, "event_timestamp": (at - timedelta(days=1)).to_pydatetime(), "amount": 1.7e308}
    write_to(own_demo, "payment", [visit, visit])
    with pytest.raises(DeclarationError, match=r"user_payments__amount_sum_28d.* infinite") as caught:
        dataset(redemption)
    assert "overflowed" in caught.value.hint


def test_settings_of_another_home_are_refused(demo: Settings, redemption: Task, tmp_path: Path):
    shutil.copytree(demo.log_root, tmp_path / "log")
    with pytest.raises(SettingsError, match="Feast reads the latter"):
        dataset(redemption, demo.model_copy(update={"home": tmp_path}))
