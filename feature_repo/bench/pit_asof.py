"""`portrait bench pit-asof`: the latest row at past instants, time and memory, each side in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from feast import FeatureStore

from feature_repo.bench.bench import Bench, Findings, Size
from feature_repo.bench.ground import Ground
from feature_repo.bench.measure import ChildResult, Spent, in_child, in_turns, peak_bytes, rates, spent, times_faster
from feature_repo.bench.stock import CLASSES, our_store, quiet, stock_store
from feature_repo.bench.synthetic import Span, fact_view, write_history, write_spine
from feature_repo.core.errors import CheckFailedError
from feature_repo.core.settings import load_settings
from feature_repo.definitions.entities import user

TTL = timedelta(days=30)
HISTORY_DAYS = 200
SPINE_DAYS = 100
STORES: dict[str, Callable[[], FeatureStore]] = {"ours": our_store, "peer": lambda: stock_store(load_settings())}


@dataclass(frozen=True)
class Scale:
    """Spine rows over ``users`` shoppers, of whom each has ``events`` rows in each of ``views`` views."""

    users: int
    rows: int
    views: int = 4
    events: int = 200
    columns: int = 5
    rounds: int = 3

    @property
    def names(self) -> list[str]:
        """Names of the views."""
        return [f"history_{i}" for i in range(self.views)]

    @property
    def refs(self) -> list[str]:
        """All features of all views."""
        return [f"{name}:f{j}" for name in self.names for j in range(self.columns)]


@dataclass(frozen=True)
class Joined:
    """What a child did: what the join took, and sums by which the two sides' answers are compared."""

    spent: Spent
    peak_bytes: int
    sums: dict[str, float]


def measure(ground: Ground, scale: Scale) -> Findings:
    """Join the same spine to the same rows, ours and stock Feast's join in turn; both must find the same rows."""
    now = ground.clock.now_us()
    spine = write_spine(ground.settings, "spine", entities=scale.users, rows=scale.rows, span=Span(now, SPINE_DAYS))
    _declare(ground, scale, now)
    found: dict[str, list[ChildResult]] = {"ours": [], "peer": []}

    def joined(side: str) -> Spent:
        found[side].append(in_child(join, side, spine, scale.refs))
        taken: Spent = found[side][-1].value.spent
        return taken

    taken = in_turns(
        lambda: joined("ours"),
        lambda: joined("peer"),
        rounds=scale.rounds,
        told=lambda share: ground.step("ours and stock in turn", share),
    )
    _check_equal(found["ours"][0].value, found["peer"][0].value)
    mine, stock = (_measures(scale, found[side]) for side in ("ours", "peer"))
    mine["memory_ratio"] = stock["peak_mb"] / mine["peak_mb"]
    return Findings(
        mine, stock, times_faster(*taken), "rows/s; memory_ratio is the peer's peak over ours", {"peer": CLASSES}
    )


def _declare(ground: Ground, scale: Scale, now: int) -> None:
    span = Span(now, HISTORY_DAYS)
    sizes = {"entities": scale.users, "rows": scale.events, "columns": scale.columns}
    paths = {name: write_history(ground.settings, name, **sizes, span=span) for name in scale.names}
    for open_side in STORES.values():
        views = [fact_view(name, path, columns=scale.columns, ttl=TTL) for name, path in paths.items()]
        with quiet():
            open_side().apply([user, *views])


def join(side: str, spine: Path, refs: list[str]) -> Joined:
    """Join in this process: what a child runs."""
    store, rows = STORES[side](), pd.read_parquet(spine)
    frames: list[pd.DataFrame] = []
    with quiet():
        job = partial(store.get_historical_features, rows, refs, full_feature_names=True)
        taken = spent(lambda: frames.append(job().to_df()))
    peak = peak_bytes()  # before the answers are checked, which takes memory of its own
    [frame] = frames
    names = [ref.replace(":", "__") for ref in refs]
    weights = frame["row"] % 1009  # a value in another row would change the sum
    sums = {name: float((frame[name] * weights).sum()) for name in names}
    return Joined(taken, peak, {"rows": len(frame), "known": int(frame[names].count().sum()), **sums})


def _check_equal(ours: Joined, peer: Joined) -> None:
    for name, theirs in peer.sums.items():
        if abs(ours.sums[name] - theirs) > 1e-9 * max(1.0, abs(theirs)):
            raise CheckFailedError(f"Ours and stock Feast's join differ in '{name}': {ours.sums[name]} and {theirs}.")


def _measures(scale: Scale, found: list[ChildResult]) -> dict[str, Any]:
    return {
        **rates(scale.rows, [each.value.spent for each in found]),
        "peak_mb": round(max(each.value.peak_bytes for each in found) / 2**20),
        "before_mb": round(max(each.base_bytes for each in found) / 2**20),
    }


BENCH = Bench(
    name="pit-asof",
    sizes={Size.SMALL: Scale(users=4_000, rows=100_000, rounds=1), Size.FULL: Scale(users=20_000, rows=500_000)},
    measure=measure,
    least=2.0,
)
