"""Nothing that happens at or after the instant of a question may change its features: recomputed, not assumed.

Each view is asked about entities of its own source table, at random instants and where one of its own events lies, and
asked again over a log that ends before the instant.
"""

from __future__ import annotations

import random as seeds
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast import FeatureStore

from feature_repo.core.clock import from_us, to_us
from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.duckdb_sql import quote
from feature_repo.engine.feature_store import open_store, quiet_feast, stored_views
from feature_repo.engine.services import ServiceViews, StoredView
from feature_repo.events.schema import arrow_schema, log_table
from training.data.features import features_at
from training.data.log_views import head_versions, open_tables

VIEWS = (
    "category_purchases",
    "item_carts_live",
    "item_catalogue",
    "item_purchases",
    "item_purchases_live",
    "item_views_live",
    "user_campaigns",
    "user_carts",
    "user_carts_live",
    "user_category_carts",
    "user_category_purchases",
    "user_category_views",
    "user_clicks",
    "user_clicks_live",
    "user_consent",
    "user_demographics",
    "user_feedback",
    "user_habits",
    "user_item_feedback",
    "user_item_purchases",
    "user_payments",
    "user_purchases",
    "user_redemptions",
    "user_searches",
    "user_searches_live",
    "user_segments",
    "user_unusual",
    "user_views",
    "user_views_live",
)
# The demo, a supermarket, has no events of a web shop; and nobody was placed in it yet.
WEB = ("cart", "click", "consent", "feedback", "search", "user_habits", "user_segments", "user_unusual", "view")
VISITS = 600
FIRST = datetime(2026, 11, 1, tzinfo=UTC)
ROWS = 12
US = timedelta(microseconds=1)


class Cut(NamedTuple):
    """One instant, and the entities asked about: rows of join keys."""

    at: pd.Timestamp
    entities: pd.DataFrame


@pytest.fixture
def store(demo: Settings) -> FeatureStore:
    return open_store()


@pytest.fixture(scope="session")
def web_home(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the same registry, and the tables of the log that the demo has nothing in."""
    home = tmp_path_factory.mktemp("web") / "home"
    home.mkdir()
    shutil.copy(Settings(home=demo_home).registry_path, home)
    for seed, name in enumerate(WEB):
        table = log_table(Settings(home=home).log_root, name)
        table.ensure()
        table.commit(visits(name, np.random.default_rng(seed)))
    return home


def visits(table: str, random: np.random.Generator) -> pa.Table:
    """Events of few shoppers, items and categories, on a grid of five minutes."""
    # Consents are at instants of their own: each says the contrary of the one before it, so that all change something.
    ticks = np.sort(random.choice(4 * VISITS, VISITS, replace=table != "consent"))
    columns = {field.name: some(field.type, random) for field in arrow_schema(table)}
    columns["event_id"] = [f"{table}-{number}" for number in range(VISITS)]
    columns["event_timestamp"] = columns["ingested_at"] = [FIRST + 5 * timedelta(minutes=int(tick)) for tick in ticks]
    if table == "consent":
        keys = pd.Series(columns["user_id"]) + columns["purpose"]
        columns["granted"] = (keys.groupby(keys).cumcount() % 2 == 0).to_numpy()
    return pa.table([pa.array(columns[field.name], field.type) for field in arrow_schema(table)], arrow_schema(table))


def some(kind: pa.DataType, random: np.random.Generator) -> Any:
    """Values of a column, each often."""
    small = random.integers(6, size=VISITS)
    if pa.types.is_string(kind):
        return small.astype(str).astype(object)
    return [None] * VISITS if pa.types.is_timestamp(kind) else small.astype(kind.to_pandas_dtype())


@pytest.fixture
def logged(view: str, store: FeatureStore, demo: Settings, web_home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of the home that has events for a view."""
    [table] = alone(store, view).tables
    if table in WEB:
        monkeypatch.setenv("PORTRAIT_HOME", str(web_home))
    return load_settings()


def alone(store: FeatureStore, name: str) -> ServiceViews:
    """A service of all features of one view."""
    with quiet_feast():
        [view] = stored_views(store, [name])
    features = tuple(each.name for each in view.features if each.name not in view.join_keys)
    return ServiceViews(tuple(f"{name}__{feature}" for feature in features), (StoredView(view, features),), ())


def cuts(views: ServiceViews, logged: Settings) -> Iterator[Cut]:
    """An instant within the table's span, and an instant at which an event of one of the entities lies exactly."""
    random = np.random.default_rng(seeds.randrange(2**32))  # pytest-randomly seeds it, and prints the seed
    [stored], [table] = views.stored, views.tables
    keys = sorted(stored.view.join_keys)
    columns = ", ".join(map(quote, keys))
    with closing(connect_duckdb(logged)) as connection:
        open_tables(connection, logged, head_versions(logged, [table]))
        events = connection.sql(
            f"SELECT {columns}, event_timestamp FROM {quote(table)} WHERE COLUMNS([{', '.join(map(repr, keys))}]) "
            "IS NOT NULL ORDER BY event_id"
        ).to_arrow_table()
    frame = events.take(random.choice(events.num_rows, ROWS, replace=False)).to_pandas()
    [first, last] = frame.event_timestamp.min(), frame.event_timestamp.max()
    within = from_us(int(random.integers(to_us(first), to_us(last) + 1)))
    collision = frame.event_timestamp[random.integers(ROWS)]
    yield from (Cut(pd.Timestamp(at), frame[keys].drop_duplicates()) for at in (within, collision))


@pytest.mark.parametrize("view", VIEWS)
def test_features_do_not_change_when_the_future_is_removed(
    view: str, store: FeatureStore, logged: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    views = alone(store, view)
    assert changed_values(cuts(views, logged), views, logged, tmp_path, monkeypatch, ask_late=0 * US) == 0


@pytest.mark.parametrize("view", VIEWS)
def test_this_test_can_fail_a_question_asked_a_microsecond_late_is_noticed(
    view: str, store: FeatureStore, logged: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    views = alone(store, view)
    *_, collision = cuts(views, logged)
    assert changed_values([collision], views, logged, tmp_path, monkeypatch, ask_late=US) > 0


def test_every_stored_view_is_tried(store: FeatureStore):
    assert tuple(view.name for view in stored_views(store)) == VIEWS


def changed_values(
    cuts: Iterable[Cut],
    views: ServiceViews,
    logged: Settings,
    folder: Path,
    patch: pytest.MonkeyPatch,
    *,
    ask_late: timedelta,
) -> int:
    """Values that differ between the log and a copy of it that ends before the instant."""
    changed = 0
    for number, cut in enumerate(cuts):
        spine = cut.entities.assign(event_timestamp=cut.at + ask_late)
        spine["event_timestamp"] = spine.event_timestamp.dt.as_unit("us")
        whole = features_at(views, spine, versions=head_versions(logged, views.tables), settings=logged)
        past = past_of(logged, cut, views, folder / str(number), patch)
        known = features_at(views, spine, versions=head_versions(past, views.tables), settings=past)
        patch.setenv("PORTRAIT_HOME", str(logged.home))
        changed += int((~_same(whole, known)).to_numpy().sum())
    return changed


def past_of(logged: Settings, cut: Cut, views: ServiceViews, home: Path, patch: pytest.MonkeyPatch) -> Settings:
    """A home whose log holds what the entities did before the instant, and nothing else."""
    home.mkdir()
    shutil.copy(logged.registry_path, home)
    [name] = views.tables
    with closing(connect_duckdb(logged)) as connection:
        open_tables(connection, logged, head_versions(logged, [name]))
        connection.register("asked", cut.entities)
        query = f"SELECT * FROM {quote(name)} SEMI JOIN asked USING ({', '.join(map(quote, cut.entities))})"
        kept = connection.sql(f"{query} WHERE event_timestamp < $at", params={"at": cut.at.to_pydatetime()})
        rows = kept.to_arrow_table().select(arrow_schema(name).names)
    patch.setenv("PORTRAIT_HOME", str(home))
    past = load_settings()
    table = log_table(past.log_root, name)
    table.ensure()
    table.commit(rows)
    return past


def _same(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    numbers = one.select_dtypes("number").columns
    near = pd.DataFrame(np.isclose(one[numbers], other[numbers], rtol=1e-9, atol=1e-9, equal_nan=True), columns=numbers)
    others = one.columns.difference(numbers)
    return near.join((one[others] == other[others]) | (one[others].isna() & other[others].isna()))
