"""Nothing that happens at or after the instant of a question may change its features: recomputed, not assumed.

Each view is asked about entities of its own source table, at random instants and where one of its own events lies, and
asked again over a log that ends before the instant.
"""

from __future__ import annotations

import random as seeds
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from feast import FeatureStore

from feature_repo.core.clock import from_us, to_us
from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.duckdb_sql import quote
from feature_repo.engine.feature_store import open_store, quiet_feast, stored_views
from feature_repo.engine.services import ServiceViews, StoredView
from feature_repo.events.schema import arrow_schema, log_table
from training.features import features_at
from training.log_views import head_versions, open_tables

VIEWS = (
    "category_purchases",
    "item_catalogue",
    "item_purchases",
    "item_purchases_live",
    "user_campaigns",
    "user_category_purchases",
    "user_demographics",
    "user_payments",
    "user_purchases",
    "user_redemptions",
)
ROWS = 12
US = timedelta(microseconds=1)


class Cut(NamedTuple):
    """One instant, and the entities asked about: rows of join keys."""

    at: pd.Timestamp
    entities: pd.DataFrame


@pytest.fixture
def store(demo: Settings) -> FeatureStore:
    return open_store()


def alone(store: FeatureStore, name: str) -> ServiceViews:
    """A service of all features of one view."""
    with quiet_feast():
        [view] = stored_views(store, [name])
    features = tuple(each.name for each in view.features if each.name not in view.join_keys)
    return ServiceViews(tuple(f"{name}__{feature}" for feature in features), (StoredView(view, features),), ())


def cuts(views: ServiceViews, demo: Settings) -> Iterator[Cut]:
    """An instant within the table's span, and an instant at which an event of one of the entities lies exactly."""
    random = np.random.default_rng(seeds.randrange(2**32))  # pytest-randomly seeds it, and prints the seed
    [stored], [table] = views.stored, views.tables
    keys = sorted(stored.view.join_keys)
    columns = ", ".join(map(quote, keys))
    with closing(connect_duckdb(demo)) as connection:
        open_tables(connection, demo, head_versions(demo, [table]))
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
    view: str, store: FeatureStore, demo: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    views = alone(store, view)
    assert changed_values(cuts(views, demo), views, demo, tmp_path, monkeypatch, ask_late=0 * US) == 0


@pytest.mark.parametrize("view", VIEWS)
def test_this_test_can_fail_a_question_asked_a_microsecond_late_is_noticed(
    view: str, store: FeatureStore, demo: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    views = alone(store, view)
    *_, collision = cuts(views, demo)
    assert changed_values([collision], views, demo, tmp_path, monkeypatch, ask_late=US) > 0


def test_every_stored_view_the_demo_has_events_for_is_tried(store: FeatureStore, demo: Settings):
    """Views of events the demo has none of are held to the oracle, on generated histories and a simulated shop."""
    table_of = {view.name: Path(view.batch_source.path).name for view in stored_views(store)}
    heads = head_versions(demo, set(table_of.values()))
    with closing(connect_duckdb(demo)) as connection:
        open_tables(connection, demo, heads)
        filled = {name for name in heads if connection.execute(f"FROM {quote(name)} LIMIT 1").fetchall()}
    tried = [view for view, table in table_of.items() if table in filled]
    assert tuple(tried) == VIEWS


def changed_values(
    cuts: Iterable[Cut],
    views: ServiceViews,
    demo: Settings,
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
        whole = features_at(views, spine, versions=head_versions(demo, views.tables), settings=demo)
        past = past_of(demo, cut, views, folder / str(number), patch)
        known = features_at(views, spine, versions=head_versions(past, views.tables), settings=past)
        patch.setenv("PORTRAIT_HOME", str(demo.home))
        changed += int((~_same(whole, known)).to_numpy().sum())
    return changed


def past_of(demo: Settings, cut: Cut, views: ServiceViews, home: Path, patch: pytest.MonkeyPatch) -> Settings:
    """A home whose log holds what the entities did before the instant, and nothing else."""
    home.mkdir()
    shutil.copy(demo.registry_path, home)
    [name] = views.tables
    with closing(connect_duckdb(demo)) as connection:
        open_tables(connection, demo, head_versions(demo, [name]))
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
