"""What is said of features is what the registry, Redis, the log and the models say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.core.clock import SystemClock
from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import connect_redis
from feature_repo.engine.feature_store import open_store
from feature_repo.engine.positions import Positions
from feature_repo.jobs.features import catalogue
from feature_repo.jobs.status import stream_status
from serving.console.desk import Desk
from serving.console.distribution import SHOWN, everybody, trained_on
from serving.console.feature_view import CatalogueView, catalogue_view, feature_view
from serving.console.words import Words
from serving.tags.snapshots import Manifest, write_snapshot
from training.monitor.summary import summary

EN = Words("en")
NOW = datetime(2026, 3, 4, tzinfo=UTC)


@pytest.fixture
def desk(shop: Settings) -> Iterator[Desk]:
    found = Desk.of(shop, SystemClock())
    yield found
    found.portrait.close()


@pytest.fixture
def found(desk: Desk) -> CatalogueView:
    return catalogue_view(desk, EN)


def snapshot(settings: Settings, values: list[Any]) -> None:
    users = [f"u_{n:032x}" for n in range(len(values))]
    people = pa.table({"user_id": users, "a__b": pa.array(values), "a__text": ["x"] * len(values)})
    write_snapshot(settings, people, Manifest(NOW, NOW, len(values), {}, {}, {}))


def test_the_catalogue_holds_every_feature_and_who_reads_it(desk: Desk, found: CatalogueView) -> None:
    rows = {row.name: row for view in found.views for row in view.features}
    assert set(rows) == {f"{line.view}__{line.feature}" for line in catalogue()}
    champion = next(each for each in desk.shelf.models() if each.name == "redemption").having("champion")
    assert champion
    reading = {name for name, row in rows.items() if "redemption@1" in row.models}
    assert reading == champion.features
    assert found.features == len(rows) == found.found


def test_freshness_is_what_jobs_status_says(shop: Settings, found: CatalogueView) -> None:
    said = {view.name: view for view in stream_status(shop, SystemClock()).views}
    shown = {view.name: view for view in found.views}
    assert said
    for name, view in said.items():
        assert view.behind == 0
        assert shown[name].state == f"at the log's head (version {view.head})"
        assert (shown[name].table, shown[name].fresh) == (view.table, True)
        assert shown[name].grew


def test_a_view_that_is_not_built_is_said_to_be_so(desk: Desk, shop: Settings) -> None:
    with connect_redis(shop) as client:
        key = Positions(client, open_store().project).key
        served = client.hget(key, "serve:user_redemptions")
        client.hdel(key, "serve:user_redemptions")
        try:
            views = {view.name: view for view in catalogue_view(desk, EN).views}
        finally:
            client.hset(key, "serve:user_redemptions", served)
    assert views["user_redemptions"].state.startswith("not built yet")
    assert not views["user_redemptions"].fresh
    assert views["user_payments"].fresh


def test_without_redis_and_mlflow_the_catalogue_says_so_and_is_there(
    shop: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTRAIT_REDIS_URL", "redis://127.0.0.1:9/0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    found = catalogue_view(Desk.of(load_settings(), SystemClock()), EN)
    assert "Redis" in found.redis
    assert "MLflow" in found.mlflow
    assert {view.state for view in found.views} == {"not known: Redis does not answer", "computed when it is read"}
    assert found.features > 100


def test_a_search_finds_by_name_owner_table_and_model(found: CatalogueView) -> None:
    names = {row.name for view in found.matching("Payments 84D").views for row in view.features}
    assert names
    assert all("user_payments" in name and "84d" in name for name in names)
    assert found.matching("redemption@1").found > 20
    assert found.matching("no such words") == CatalogueView((), 0, found.features, "", "")


def test_a_feature_is_shown_as_its_snapshot_and_its_trainings_have_it(desk: Desk, found: CatalogueView) -> None:
    view = feature_view(desk, found, "user_payments__count_28d", EN)
    assert view
    assert [each.of for each in view.trainings] == ["redemption@1"]
    assert feature_view(desk, found, "nothing__here", EN) is None


FAR_AWAY = [*[1] * 200, 10**6, None]


@pytest.mark.parametrize("values", [[0, 1, 1, 2, None, 9], [0.5, 0.25, None, 7.0], FAR_AWAY])
def test_everybody_is_counted_once(home: Any, values: list[Any]) -> None:
    settings = load_settings()
    assert everybody(settings, "a__b") is None
    snapshot(settings, values)
    found = everybody(settings, "a__b")
    assert found
    known = [value for value in values if value is not None]
    assert sum(count for _, _, count in found.bars) == len(known)
    assert (found.spread.rows, found.spread.null_share) == (len(values), pytest.approx(1 / len(values)))
    assert found.spread.mean == pytest.approx(sum(known) / len(known))
    assert found.spread.quantiles == tuple(np.quantile(known, SHOWN, method="inverted_cdf"))
    assert everybody(settings, "a__text") is None
    assert everybody(settings, "a__none") is None


def test_what_nobody_has_has_no_bars(home: Any) -> None:
    settings = load_settings()
    snapshot(settings, [None, None])
    people = everybody(settings, "a__b")
    assert people is None  # of no type, so no number
    snapshot(settings, [float("nan"), float("nan")])
    people = everybody(settings, "a__b")
    assert people
    assert (people.bars, people.spread.quantiles, people.spread.null_share) == ((), (), 1.0)


@given(st.lists(st.integers(0, 9) | st.none(), min_size=1, max_size=40))
def test_quantiles_of_a_training_are_those_of_its_rows(values: list[int | None]) -> None:
    matrix = np.array([[np.nan if value is None else value] for value in values], np.float64)
    found = trained_on("t@1", summary(("x",), matrix), "x")
    assert found
    known = [value for value in values if value is not None]
    expected = tuple(np.quantile(known, SHOWN, method="inverted_cdf").tolist()) if known else ()
    assert found.quantiles == expected
    assert found.rows == len(values)
    assert trained_on("t@1", {"columns": {"x": {"texts": ["a"]}}}, "x") is None
