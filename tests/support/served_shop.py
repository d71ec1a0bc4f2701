"""A shop of two tables and four views whose features are served, and what may happen to them afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import (
    Aggregation,
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    RepoConfig,
    StreamFeatureView,
    ValueType,
)
from feast.data_format import DeltaFormat
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String, UnixTimestamp

from feature_repo.core.clock import HOUR, SECOND, FixedClock, SystemClock, from_us
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_redis
from feature_repo.engine.batch_engine import materialize_view
from feature_repo.engine.feature_store import quiet_feast
from feature_repo.engine.positions import state_key
from feature_repo.events.log import LogTable
from feature_repo.jobs.served import read_served, served_root, write_served
from feature_repo.jobs.skew import SkewReport, skew
from histories import SCHEMA, Event, table_of
from serving.sdk import ProfileClient
from shop_stream import pseudonym

PROJECT = "served_shop"
SERVICE = "shop_v1"
TTL = timedelta(days=30)
FACTS = pa.schema([*SCHEMA, pa.field("size", pa.int64())])
ADA, BOB = pseudonym(1), pseudonym(2)
USER = Entity(name="user_id", join_keys=["user_id"], value_type=ValueType.STRING)
KEY = Field(name="user_id", dtype=String)


@dataclass(frozen=True)
class Declared:
    """What the shop declares; another one is what it changes to."""

    window: timedelta = timedelta(hours=24)
    weighed: str = "amount"
    factor: int = 2
    extra: bool = False


@dataclass
class ServedShop:
    """``visits`` and ``spending`` have windows, ``facts`` is ordinary and expires; ``twice`` reads ``spending``."""

    settings: Settings
    store: FeatureStore
    root: Path
    clock: FixedClock
    declared: Declared = field(default_factory=Declared)

    @property
    def events(self) -> LogTable:
        return _table(self.root / "visit", SCHEMA)

    @property
    def facts(self) -> LogTable:
        return _table(self.root / "facts", FACTS)

    @property
    def now(self) -> int:
        return self.clock.at_us

    def apply(self, **changes: Any) -> None:
        """Declare the views, changed as is said."""
        self.declared = replace(self.declared, **changes)
        with quiet_feast():
            self.store.apply([USER, *_views(self.root, self.declared)])

    def materialize(self, *names: str, full: bool = False) -> None:
        for view in self.store.list_all_feature_views():
            if view.name in (names or ("visits", "spending", "facts")):
                materialize_view(view, project=PROJECT, settings=self.settings, clock=SystemClock(), full=full)

    def visit(self, event_id: str, *, ago: int = HOUR, arrived: int | None = None, amount: float = 1.5) -> None:
        """Let Ada visit; ``arrived`` is how long ago the platform knew of it, if not at once."""
        row = table_of([Event(ADA, "a", self.now - ago, 0, 3, amount)])
        at = pa.array([from_us(self.now - (ago if arrived is None else arrived))], pa.timestamp("us", "UTC"))
        row = row.set_column(row.column_names.index("ingested_at"), "ingested_at", at)
        self.events.commit(row.set_column(0, "event_id", pa.array([event_id])))

    def tell(self, event_id: str, size: int, *, ago: int = HOUR, arrived: int | None = None, user: str = ADA) -> None:
        """Let a fact be known of somebody."""
        at, known = from_us(self.now - ago), from_us(self.now - (ago if arrived is None else arrived))
        row = {"event_id": event_id, "event_timestamp": at, "ingested_at": known, "user_id": user, "size": size}
        self.facts.commit(pa.Table.from_pylist([{**row, "amount": 0.5}], schema=FACTS))

    def make_anew(self, name: str) -> None:
        """Move a table away, and make another one of its name."""
        (self.root / name).rename(self.root / f"old_{name}_{self.now}")
        _table(self.root / name, SCHEMA if name == "visit" else FACTS)

    @contextmanager
    def client(self) -> Iterator[ProfileClient]:
        with ProfileClient(settings=self.settings, clock=self.clock) as client:
            yield client

    def serve(self, *, fed: bool = False) -> pd.DataFrame:
        """Answer once, at the shop's instant, and go on by a second; ``fed``: it is known how far the views are fed."""
        with self.client() as client:
            if fed:
                self.look(client)
            found = client.features([ADA, BOB], service=SERVICE).to_df()
        self.clock.at_us += SECOND
        return found

    def look(self, client: ProfileClient) -> None:
        """Let a client see how far views are fed, as it does every few seconds."""
        transport: Any = client._transport
        transport._served.look(PROJECT)
        self.clock.at_us += SECOND

    def states(self) -> dict[bytes, dict[bytes, bytes]]:
        """What Redis holds of everybody."""
        with connect_redis(self.settings) as client:
            found: Any = {key: client.hgetall(key) for key in client.keys("*") if key != state_key(PROJECT)}
        return dict(found)

    def restore(self, states: dict[bytes, dict[bytes, bytes]]) -> None:
        """Put older states back."""
        with connect_redis(self.settings) as client:
            for key, fields in states.items():
                client.hset(key, mapping=fields)

    def skew(self) -> SkewReport:
        return skew(self.settings)

    def causes(self) -> dict[str, set[str]]:
        """Why, by feature: those that do not differ are left out."""
        features = self.skew().features
        return {name: set(each.by_cause) for name, each in features.items() if each.mismatches}


def _table(path: Path, schema: pa.Schema) -> LogTable:
    table = LogTable(path, schema)
    table.ensure()
    return table


def _views(root: Path, declared: Declared) -> list[Any]:
    windows = [("count_24h", Int64, "", "count"), ("last_event_at_24h", UnixTimestamp, "", "last_event_at")]
    visits = _windowed(
        "visits",
        root,
        *((name, kind, Aggregation(column, how, declared.window, name=name)) for name, kind, column, how in windows),
        ("fading", Float64, Aggregation("amount", "decayed_sum", timedelta(hours=2), name="fading")),
    )
    weight = Aggregation(declared.weighed, "sum", timedelta(hours=24), name="weight")
    spending = _windowed("spending", root, ("weight", Float64, weight))
    facts = FeatureView(
        name="facts",
        entities=[USER],
        source=_source("facts", root),
        ttl=TTL,
        schema=[KEY, Field(name="size", dtype=Int64), *([Field(name="amount", dtype=Float64)] * declared.extra)],
    )
    twice = _twice(spending, declared.factor)
    return [visits, spending, facts, twice, FeatureService(name=SERVICE, features=[visits, facts, twice])]


def _windowed(name: str, root: Path, *features: tuple[str, Any, Aggregation]) -> StreamFeatureView:
    return StreamFeatureView(
        name=name,
        entities=[USER],
        source=PushSource(name=f"{name}_pushed", batch_source=_source("visit", root)),
        schema=[KEY, *(Field(name=each, dtype=kind) for each, kind, _ in features)],
        timestamp_field="event_timestamp",
        aggregations=[how for _, _, how in features],
        enable_tiling=True,
        tiling_hop_size=timedelta(hours=1),
    )


def _twice(spending: StreamFeatureView, factor: int) -> Any:
    def twice(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"weight_twice": inputs["spending__weight"] * 2})

    def thrice(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"weight_twice": inputs["spending__weight"] * 3})

    declared = on_demand_feature_view(
        sources=[spending], schema=[Field(name="weight_twice", dtype=Float64)], mode="pandas", name="twice"
    )
    return declared(twice if factor == 2 else thrice)


def _source(name: str, root: Path) -> FileSource:
    return FileSource(
        name=name,
        path=str(root / name),
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="ingested_at",
    )


@contextmanager
def served_shop(settings: Settings, root: Path, patched: pytest.MonkeyPatch) -> Iterator[ServedShop]:
    """A shop nothing has happened in, whose registry is the home's; all answers are kept."""
    patched.setenv("PORTRAIT_SERVED_SAMPLE", "1")
    config = RepoConfig(
        project=PROJECT,
        provider="local",
        registry=str(settings.registry_path),
        offline_store={"type": "feature_repo.engine.offline_store.WindowedDuckDBOfflineStore"},
        online_store={"type": "feature_repo.engine.online_store.WindowedRedisOnlineStore"},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    for module in ("serving.catalogue", "feature_repo.jobs.skew"):
        patched.setattr(f"{module}.open_store", lambda: store)
    sampled = settings.model_copy(update={"served_sample": 1.0})
    shop = ServedShop(sampled, store, root, FixedClock(SystemClock().now_us()))
    for table in (shop.events, shop.facts):
        table.ensure()
    shop.apply()
    yield shop
    online: Any = store._get_provider().online_store
    if online._client:
        online._client.close()


def rewritten(settings: Settings, column: str, values: pa.Array) -> None:
    """Put other values into the one file of what was served."""
    [rows] = read_served(settings)
    for path in served_root(settings).glob("*.parquet"):
        path.unlink()
    table = rows.table.replace_schema_metadata()
    write_served(settings, replace(rows, table=table.set_column(table.column_names.index(column), column, values)))
