"""`portrait bench online`: twenty windowed features through the SDK, beside twenty doubles stock Feast stores."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from feast import FeatureService, FeatureStore, StreamFeatureView

from feature_repo.bench.bench import Bench, Findings, Size
from feature_repo.bench.ground import Ground
from feature_repo.bench.measure import percentile
from feature_repo.bench.shoppers import EVENT, shopper_view, write_purchases
from feature_repo.bench.stock import CLASSES, our_store, quiet, stock_store
from feature_repo.bench.synthetic import SEED, Span, pseudonym_sql, queried
from feature_repo.bench.twins import twin_of, value_fields
from feature_repo.core.clock import FixedClock, from_us
from feature_repo.core.errors import CheckFailedError
from feature_repo.definitions.entities import user
from feature_repo.events.schema import table_path
from serving.sdk import PROFILE, ProfileClient

VIEW = "shopper_purchases"
SERVICE = PROFILE  # a server reads this one to tell whether it can answer
HISTORY_DAYS = 91
BLOCK = 10
HEADLINE = 100


@dataclass(frozen=True)
class Scale:
    """Shoppers held, their events, and for how many of them at once (users, calls) the time is taken."""

    users: int
    events: int
    calls: tuple[tuple[int, int], ...]


Read = Callable[[list[str]], Any]


@dataclass(frozen=True)
class Stores:
    """Both sides with the same values in Redis, read at one instant."""

    client: ProfileClient
    ours: FeatureStore
    stock: FeatureStore
    names: list[str]

    def readers(self) -> dict[str, Read]:
        refs = [f"{VIEW}:{name}" for name in self.names]
        return {
            "features": lambda users: self.client.features(users, service=SERVICE),
            "get_online_features": lambda users: self.ours.get_online_features(refs, _rows(users)),
            "stock": lambda users: self.stock.get_online_features(refs, _rows(users)),
        }


def measure(ground: Ground, scale: Scale) -> Findings:
    """Read the same shoppers through the SDK, our store and stock Feast in turn."""
    users, stores = prepare(ground, scale)
    with quiet(), stores.client:
        _check_equal(stores, users)
        taken = timed(ground, stores.readers(), users, scale)
    table = {side: {str(n): summary(times) for n, times in sizes.items()} for side, sizes in taken.items()}
    stock = table.pop("stock")
    ratios = {
        side: {n: stock[n]["p50_ms"] / each["p50_ms"] for n, each in sizes.items()} for side, sizes in table.items()
    }
    headline = min((n for n, _ in scale.calls), key=lambda n: abs(n - HEADLINE))
    return Findings(
        {**table, "ratios": ratios},
        {"get_online_features": stock},
        ratios["features"][str(headline)],
        f"p50 ms of {headline} users through ProfileClient.features",
        {"peer": f"{CLASSES}; {len(stores.names)} stored doubles"},
    )


@dataclass(frozen=True)
class Fed:
    """Shoppers whose windows are in Redis, and a client that reads them at the instant they were built at."""

    users: list[str]
    store: FeatureStore
    view: StreamFeatureView
    clock: FixedClock
    client: ProfileClient


def feed(ground: Ground, scale: Scale) -> Fed:
    """Write shoppers' events, and bring their windows to Redis."""
    settings, now = ground.settings, ground.clock.now_us()
    ground.step("writing events", 0.0)
    table = table_path(settings.log_root, EVENT)
    write_purchases(settings, table, users=scale.users, events=scale.events, span=Span(now, HISTORY_DAYS))
    users = queried(settings, f"SELECT {pseudonym_sql('i')} AS u FROM range({scale.users}) t(i)")["u"].to_pylist()
    view, store, clock = shopper_view(VIEW, table), our_store(), FixedClock(now)
    with quiet():
        store.apply([user, view, FeatureService(name=SERVICE, features=[view])])
        store._get_provider().online_store.clock = clock  # noqa: SLF001 - both sides read at one instant
        ground.step("materializing", 0.1)
        store.materialize(from_us(now) - timedelta(days=HISTORY_DAYS), from_us(now), feature_views=[VIEW])
    return Fed(users, store, view, clock, ProfileClient(settings=settings, clock=clock))


def prepare(ground: Ground, scale: Scale) -> tuple[list[str], Stores]:
    """Write shoppers' events, and hold the same values on both sides; return the shoppers and the stores."""
    fed, stock = feed(ground, scale), stock_store(ground.settings)
    now = fed.clock.now_us()
    ground.step("copying the values to stock Feast", 0.2)
    with quiet():
        path = ground.settings.home / f"{VIEW}.parquet"
        twin = twin_of(fed.store, fed.view, fed.users, path, now=now, doubles=True)
        stock.apply([user, twin])
        stock.materialize(from_us(now) - timedelta(days=1), from_us(now))
    return fed.users, Stores(fed.client, fed.store, stock, [field.name for field in value_fields(fed.view)])


def _rows(users: Sequence[str]) -> list[dict[str, str]]:
    return [{"user_id": each} for each in users]


def _check_equal(stores: Stores, users: list[str]) -> None:
    some = users[:HEADLINE]
    read = stores.readers()
    mine = read["features"](some).to_df()[[f"{VIEW}__{name}" for name in stores.names]]
    for side in ("get_online_features", "stock"):
        theirs = read[side](some).to_df().set_index("user_id").loc[some, stores.names]
        same = np.allclose(mine.to_numpy(np.float64), theirs.to_numpy(np.float64), rtol=1e-12, equal_nan=True)
        if not same:
            raise CheckFailedError(f"The SDK and {side} give different values of the same shoppers.")


def timed(
    ground: Ground, sides: Mapping[str, Read], users: list[str], scale: Scale
) -> dict[str, dict[int, list[float]]]:
    """Seconds of each call by side and number of users; the sides take turns in blocks of a few calls."""
    taken: dict[str, dict[int, list[float]]] = {side: {n: [] for n, _ in scale.calls} for side in sides}
    random = np.random.default_rng(SEED)
    for i, (n, calls) in enumerate(scale.calls):
        for block in range(0, calls, BLOCK):
            asked = [[users[j] for j in random.integers(0, len(users), n)] for _ in range(min(BLOCK, calls - block))]
            for side, read in sides.items():
                taken[side][n] += [_seconds(read, each) for each in asked]
            ground.step(f"{n} users at once", 0.4 + 0.6 * (i + block / calls) / len(scale.calls))
    return taken


def _seconds(read: Read, users: list[str]) -> float:
    started = time.perf_counter()
    read(users)
    return time.perf_counter() - started


def summary(times: list[float]) -> dict[str, float]:
    """Median and 99th percentile of seconds, in milliseconds."""
    return {"p50_ms": 1e3 * percentile(times, 50), "p99_ms": 1e3 * percentile(times, 99)}


BENCH = Bench(
    name="online",
    sizes={
        Size.SMALL: Scale(users=1_000, events=60, calls=((1, 300), (10, 150), (100, 60), (500, 20))),
        Size.FULL: Scale(users=20_000, events=60, calls=((1, 3_000), (10, 1_500), (100, 600), (500, 200))),
    },
    measure=measure,
    least=2.0,
)
