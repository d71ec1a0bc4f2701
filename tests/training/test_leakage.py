"""Nothing that happens at or after the instant of a question may change its features: recomputed, not assumed."""

from __future__ import annotations

import random as seeds
import shutil
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.feature_store import open_store
from feature_repo.events.schema import arrow_schema, log_table
from training.datasets import Dataset
from training.features import ServiceViews, features_at, service_views
from training.log_views import head_versions, open_tables

SHOPPERS = 12
INSTANTS = 3
US = timedelta(microseconds=1)


class Cut(NamedTuple):
    """One instant, and the shoppers asked about."""

    at: pd.Timestamp
    shoppers: list[str]


@pytest.fixture
def views(demo: Settings) -> ServiceViews:
    return service_views(open_store(), "profile_v1")


@pytest.fixture
def cuts(rows: Dataset, demo: Settings, views: ServiceViews) -> list[Cut]:
    """Random label instants, and random instants at which one of the shoppers pays: an event lies exactly on them."""
    random = np.random.default_rng(seeds.randrange(2**32))  # pytest-randomly seeds it, and prints the seed
    shoppers = list(random.choice(rows.frame.user_id.unique(), SHOPPERS, replace=False))
    starts = random.choice(rows.frame.event_timestamp.unique(), INSTANTS, replace=False)
    with closing(connect_duckdb(demo)) as connection:
        open_tables(connection, demo, head_versions(demo, ["payment"]))
        paid = connection.execute(
            "SELECT event_timestamp FROM payment WHERE list_contains($1, user_id) ORDER BY event_id", [shoppers]
        ).fetchall()
    collisions = random.choice([at for (at,) in paid], INSTANTS, replace=False)
    return [Cut(pd.Timestamp(at).tz_convert("UTC"), shoppers) for at in (*map(_utc, starts), *collisions)]


def test_features_do_not_change_when_the_future_is_removed(
    cuts: list[Cut], demo: Settings, views: ServiceViews, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert changed_values(cuts, demo, views, tmp_path, monkeypatch, ask_late=0 * US) == 0


def test_this_test_can_fail_a_question_asked_a_microsecond_late_is_noticed(
    cuts: list[Cut], demo: Settings, views: ServiceViews, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert changed_values(cuts, demo, views, tmp_path, monkeypatch, ask_late=US) > 0


def changed_values(
    cuts: list[Cut],
    demo: Settings,
    views: ServiceViews,
    folder: Path,
    patch: pytest.MonkeyPatch,
    *,
    ask_late: timedelta,
) -> int:
    """Values that differ between the log and a copy of it that ends before the instant."""
    changed = 0
    for number, cut in enumerate(cuts):
        spine = pd.DataFrame({"user_id": cut.shoppers, "event_timestamp": cut.at + ask_late})
        spine["event_timestamp"] = spine.event_timestamp.dt.as_unit("us")
        patch.setenv("PORTRAIT_HOME", str(demo.home))
        whole = features_at(views, spine, versions=head_versions(demo, views.tables), settings=demo)
        past = past_of(demo, cut, views, folder / str(number), patch)
        known = features_at(views, spine, versions=head_versions(past, views.tables), settings=past)
        changed += int((~_same(whole, known)).to_numpy().sum())
    return changed


def past_of(demo: Settings, cut: Cut, views: ServiceViews, home: Path, patch: pytest.MonkeyPatch) -> Settings:
    """A home whose log holds what the shoppers did before the instant, and nothing else."""
    home.mkdir()
    shutil.copy(demo.registry_path, home)
    patch.setenv("PORTRAIT_HOME", str(home))
    past = load_settings()
    with closing(connect_duckdb(demo)) as connection:
        open_tables(connection, demo, head_versions(demo, views.tables))
        for name in views.tables:
            table = log_table(past.log_root, name)
            table.ensure()
            query = f"SELECT * FROM {name} WHERE event_timestamp < $at AND list_contains($shoppers, user_id)"
            kept = connection.sql(query, params={"at": cut.at.to_pydatetime(), "shoppers": cut.shoppers})
            table.commit(kept.to_arrow_table().select(arrow_schema(name).names))
    return past


def _same(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    numbers = one.select_dtypes("number").columns
    near = pd.DataFrame(np.isclose(one[numbers], other[numbers], rtol=1e-9, atol=1e-9, equal_nan=True), columns=numbers)
    others = one.columns.difference(numbers)
    return near.join((one[others] == other[others]) | (one[others].isna() & other[others].isna()))


def _utc(at: np.datetime64) -> pd.Timestamp:
    found = pd.Timestamp(at)
    return found if found.tzinfo else found.tz_localize("UTC")
