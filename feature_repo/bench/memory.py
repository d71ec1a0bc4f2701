"""`portrait bench memory`: bytes of Redis per shopper of Complete Journey, the median one and one of the busiest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import mean
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureStore, FeatureView

from feature_repo.bench.bench import Bench, Findings, Size
from feature_repo.bench.ground import Ground
from feature_repo.bench.stock import CLASSES, our_store, quiet, stock_store
from feature_repo.bench.synthetic import queried
from feature_repo.bench.twins import stored_view, twin_of, value_fields
from feature_repo.core.clock import from_us
from feature_repo.core.errors import CheckFailedError
from feature_repo.core.settings import Settings
from feature_repo.definitions.engagement import user_campaigns, user_redemptions
from feature_repo.definitions.entities import user
from feature_repo.definitions.facts import user_demographics
from feature_repo.definitions.purchases import LINE, user_payments, user_purchases
from feature_repo.definitions.sources import purchases
from feature_repo.definitions.windows import count_distinct, day, windowed_view
from feature_repo.engine.entity_keys import entity_keys
from feature_repo.engine.sources import relation_of
from feature_repo.events.demo import load_demo
from feature_repo.events.log import read_snapshot
from feature_repo.events.schema import table_path

SHARES = {"median": 0.50, "p99": 0.99}
SHOP = (user_payments, user_purchases, user_campaigns, user_redemptions)
FOREVER = timedelta(days=3650)

Stores = Mapping[str, FeatureStore]


@dataclass(frozen=True)
class Scale:
    """How many shoppers around each rank the bytes are averaged over; Redis holds all of Complete Journey."""

    band: int


def measure(ground: Ground, scale: Scale) -> Findings:
    """Hold the same features of the same shoppers in both stores, and ask Redis what each shopper's key takes."""
    ground.step("loading Complete Journey", 0.0)
    load_demo(ground.settings, ground.clock, folder=None)
    stores = {"ours": our_store(), "peer": stock_store(ground.settings)}
    windowed_views, ranked = [*SHOP, _distinct_categories()], _ranked(ground.settings)
    with quiet():
        stores["ours"].apply([user, user_demographics, *windowed_views])
        ground.step("ordinary views", 0.4)
        _write_ordinary(ground, stores)
        found = {"ordinary": _bytes(ground, stores, ranked, scale.band)}
        ground.empty_redis()
        ground.step("windowed views", 0.5)
        _write_windowed(ground, stores, windowed_views, ranked)
        found["windowed"] = _bytes(ground, stores, ranked, scale.band)
        by_view = _states(ground, stores["ours"], ranked, scale.band)
        ground.step("both together", 0.9)
        _write_ordinary(ground, stores)
        found["together"] = _bytes(ground, stores, ranked, scale.band)
    ours, peer = ({kind: sides[side] for kind, sides in found.items()} for side in stores)
    ratios = {kind: {share: peer[kind][share] / ours[kind][share] for share in SHARES} for kind in found}
    features = {"windowed": sum(len(view.aggregations) for view in windowed_views), "ordinary": 7}
    return Findings(
        {**ours, "windowed_by_field": by_view, "ratios": ratios},
        peer,
        ratios["windowed"]["median"],
        "bytes of windowed views at the median shopper",
        {"peer": CLASSES, "shoppers": len(ranked), "features": features},
    )


def _distinct_categories() -> FeatureView:
    return windowed_view(
        name="user_categories",
        entities=[user],
        source=purchases,
        hop=day,
        events=LINE,
        owner="bench",
        description="How many categories a shopper buys of.",
        zh="顾客购买的品类数",
        features=count_distinct("category", days=(28, 84)),
    )


def _ranked(settings: Settings) -> list[str]:
    """Shoppers by their number of order lines, the fewest first."""
    lines = read_snapshot(table_path(settings.log_root, "purchase")).sql()
    query = f"SELECT user_id FROM {lines} GROUP BY user_id ORDER BY count(*), user_id"
    ids: list[str] = queried(settings, query)["user_id"].to_pylist()
    return ids


def _write_ordinary(ground: Ground, stores: Stores) -> None:
    """Write the declared facts: ours from the log, stock from the same rows as Parquet."""
    settings = ground.settings
    fields = value_fields(user_demographics)
    names = ", ".join(field.name for field in fields)
    path = settings.home / "demographics.parquet"
    relation = relation_of(user_demographics.batch_source)
    latest = "QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY event_timestamp DESC) = 1"
    pq.write_table(queried(settings, f"SELECT user_id, {names}, event_timestamp FROM {relation} {latest}"), path)
    stores["peer"].apply([user, stored_view(user_demographics.name, path, fields, ttl=timedelta(0))])
    for store in stores.values():
        _materialize(ground, store, [user_demographics.name])


def _write_windowed(ground: Ground, stores: Stores, views: Sequence[FeatureView], users: Sequence[str]) -> None:
    """Write our states, then give stock Feast the values they have now."""
    _materialize(ground, stores["ours"], [view.name for view in views])
    now = ground.clock.now_us()
    for view in views:
        twin = twin_of(stores["ours"], view, users, _path(ground, view.name), now=now)
        stores["peer"].apply([user, twin])
    _materialize(ground, stores["peer"], [view.name for view in views])


def _path(ground: Ground, name: str) -> Path:
    return ground.settings.home / f"{name}.parquet"


def _materialize(ground: Ground, store: FeatureStore, names: list[str]) -> None:
    end = from_us(ground.clock.now_us())
    store.materialize(end - FOREVER, end, feature_views=names)


def _bytes(ground: Ground, stores: Stores, ranked: Sequence[str], band: int) -> dict[str, dict[str, float]]:
    """Mean bytes of the keys nearest each rank, by side; a shopper without the rows asked about is passed over."""
    found: dict[str, dict[str, float]] = {}
    with ground.redis() as client:
        for side, store in stores.items():
            usage = _usage(client, _keys(store, ranked))
            known = [i for i, size in enumerate(usage) if size is not None]
            found[side] = {
                name: mean(usage[i] or 0 for i in _nearest(known, share * len(ranked), band))
                for name, share in SHARES.items()
            }
    if not all(size for sizes in found.values() for size in sizes.values()):
        raise CheckFailedError("One of the sides holds nothing of the shoppers asked about.")
    return found


def _states(ground: Ground, ours: FeatureStore, ranked: Sequence[str], band: int) -> dict[str, dict[str, float]]:
    """Mean length of each state of the shoppers nearest each rank: where the bytes of a key come from."""
    found: dict[str, dict[str, float]] = {}
    keys = _keys(ours, ranked)
    with ground.redis() as client:
        for name, share in SHARES.items():
            near = _nearest(range(len(keys)), share * len(keys), band)
            lengths_of: dict[str, list[int]] = {}
            for i in near:
                for field, value in client.hgetall(keys[i]).items():
                    lengths_of.setdefault(field.decode().split(":")[1], []).append(len(value))
            found[name] = {view: sum(sizes) / len(near) for view, sizes in sorted(lengths_of.items())}
    return found


def _keys(store: FeatureStore, users: Sequence[str]) -> list[bytes]:
    return entity_keys(store.project, ["user_id"], [pa.array(users, pa.string())])


def _usage(client: Any, keys: Sequence[bytes]) -> list[int | None]:
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.memory_usage(key, samples=0)
        found: list[int | None] = pipe.execute()
    return found


def _nearest(known: Sequence[int], rank: float, band: int) -> list[int]:
    return sorted(known, key=lambda i: abs(i - rank))[:band]


BENCH = Bench(name="memory", sizes={Size.SMALL: Scale(band=25), Size.FULL: Scale(band=49)}, measure=measure)
