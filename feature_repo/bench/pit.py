"""`portrait bench pit`: windows at past instants, from raw events."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from feast import FeatureStore, StreamFeatureView

from feature_repo.bench.bench import Bench, Findings, Size
from feature_repo.bench.ground import Ground
from feature_repo.bench.measure import Spent, in_turns, rates, spent, times_faster
from feature_repo.bench.shoppers import shopper_view, write_purchases
from feature_repo.bench.snapshots import write_snapshots
from feature_repo.bench.stock import CLASSES, our_store, quiet, stock_store
from feature_repo.bench.synthetic import Span, write_spine
from feature_repo.bench.twins import stored_view, value_fields
from feature_repo.core.clock import DAY, from_us
from feature_repo.core.errors import CheckFailedError
from feature_repo.core.stores import connect_duckdb
from feature_repo.definitions.entities import user
from feature_repo.engine.spec import windowed_view_of
from feature_repo.events.log import read_snapshot

SPINE_DAYS = 28
HISTORY_DAYS = SPINE_DAYS + 92
SNAPSHOT_TTL = timedelta(days=2)
CHECKED = 1_000
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Scale:
    """Spine rows over ``users`` shoppers, for each number of events per shopper in ``events``."""

    users: int
    rows: int
    events: tuple[int, ...] = (20, 200)
    rounds: int = 3


@dataclass(frozen=True)
class _Case:
    """One history, declared to both sides."""

    ground: Ground
    view: StreamFeatureView
    table: Path
    snapshots: Path
    days: range
    ours: FeatureStore
    stock: FeatureStore

    @property
    def refs(self) -> list[str]:
        return [f"{self.view.name}:{field.name}" for field in value_fields(self.view)]

    def joined(self, store: FeatureStore, spine: pd.DataFrame) -> pd.DataFrame:
        with quiet():
            frame: pd.DataFrame = store.get_historical_features(spine, self.refs).to_df()
        return frame

    def snapshot(self) -> None:
        with closing(connect_duckdb(self.ground.settings)) as connection:
            relation = read_snapshot(self.table).sql()
            write_snapshots(connection, windowed_view_of(self.view), relation, self.days, self.snapshots)


def measure(ground: Ground, scale: Scale) -> Findings:
    """Join the same spine to the same events: ours, and snapshots plus stock Feast's join, in turn."""
    end = ground.clock.now_us() // DAY * DAY
    spine = pd.read_parquet(
        write_spine(ground.settings, "spine", entities=scale.users, rows=scale.rows, span=Span(end, SPINE_DAYS))
    )
    mine: dict[str, Any] = {}
    stock: dict[str, Any] = {}
    ratios: dict[str, float] = {}
    for n, events in enumerate(scale.events):
        case = _case(ground, scale, events, end)
        case.snapshot()
        _check_midnights(case, spine)
        ours, builds, joins = _timed(case, spine, scale, done=n / len(scale.events))
        whole = [build + join for build, join in zip(builds, joins, strict=True)]
        ratios[f"events_{events}"] = times_faster(ours, whole)
        mine[f"events_{events}"] = rates(scale.rows, ours)
        stock[f"events_{events}"] = {
            **rates(scale.rows, whole),
            "snapshot_seconds": [each.wall for each in builds],
            "join_only_rows_per_s": rates(scale.rows, joins)["rows_per_s"],
        }
    few, many = (mine[f"events_{events}"]["rows_per_s"] for events in (scale.events[0], scale.events[-1]))
    facts = {"peer": f"daily snapshots by DuckDB SQL, joined by {CLASSES}", "features": len(case.refs)}
    mine |= {"few_over_many_events": few / many, "ratios": ratios}
    return Findings(mine, stock, min(ratios.values()), "rows/s, the lowest of the ratios", facts)


def _case(ground: Ground, scale: Scale, events: int, end: int) -> _Case:
    name, home = f"shoppers_{events}", ground.settings.home
    table = home / "log" / name
    span = Span(end, HISTORY_DAYS)
    write_purchases(ground.settings, table, users=scale.users, events=events, span=span)
    view = shopper_view(name, table)
    snapshots = home / f"{name}.parquet"
    last = end // DAY
    ours, stock = our_store(), stock_store(ground.settings)
    with quiet():
        ours.apply([user, view])
        stock.apply([user, stored_view(name, snapshots, value_fields(view), ttl=SNAPSHOT_TTL)])
    return _Case(ground, view, table, snapshots, range(last - SPINE_DAYS, last + 1), ours, stock)


def _timed(
    case: _Case, spine: pd.DataFrame, scale: Scale, *, done: float
) -> tuple[list[Spent], list[Spent], list[Spent]]:
    builds: list[Spent] = []
    joins: list[Spent] = []

    def peer() -> Spent:
        builds.append(spent(case.snapshot))
        joins.append(spent(lambda: case.joined(case.stock, spine)))
        return builds[-1] + joins[-1]

    ours, _ = in_turns(
        lambda: spent(lambda: case.joined(case.ours, spine)),
        peer,
        rounds=scale.rounds,
        told=lambda share: case.ground.step(case.view.name, done + share / len(scale.events)),
    )
    return ours, builds, joins


def _check_midnights(case: _Case, spine: pd.DataFrame) -> None:
    """At a midnight both sides must give the same values: a snapshot is as of its own day's beginning."""
    some = spine.head(CHECKED)
    midnights = some.assign(event_timestamp=some["event_timestamp"].dt.floor("D"))
    mine, stock = (
        case.joined(store, midnights).sort_values("row").reset_index(drop=True) for store in (case.ours, case.stock)
    )
    for field in value_fields(case.view):
        ours, theirs = (frame[field.name].to_numpy(np.float64) for frame in (mine, stock))
        if not np.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
            raise CheckFailedError(
                f"Feature '{field.name}' of {case.view.name} differs from its snapshot at a midnight, for example at "
                f"{from_us(case.days.start * DAY):%Y-%m-%d} or later."
            )


BENCH = Bench(
    name="pit",
    sizes={Size.SMALL: Scale(users=2_000, rows=50_000), Size.FULL: Scale(users=20_000, rows=500_000)},
    measure=measure,
    least=2.0,
)
