"""`portrait bench materialize`: ordinary views from Parquet to Redis."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from feast import FeatureStore

from feature_repo.bench.bench import Bench, Findings, Size
from feature_repo.bench.ground import Ground
from feature_repo.bench.measure import Spent, in_turns, rates, spent, times_faster
from feature_repo.bench.stock import CLASSES, our_store, quiet, stock_store
from feature_repo.bench.synthetic import fact_view, write_facts
from feature_repo.core.clock import from_us
from feature_repo.core.errors import CheckFailedError
from feature_repo.definitions.entities import user

TTL = timedelta(days=30)
CHECKED = 1_000


@dataclass(frozen=True)
class Scale:
    """Rows of each of ``views`` views of ``columns`` doubles, and how often each side writes all of them."""

    entities: int
    views: int = 4
    columns: int = 5
    rounds: int = 3


def measure(ground: Ground, scale: Scale) -> Findings:
    """Write the same rows into a new Redis, ours and the peer in turn; both must hold equal bytes in the end."""
    now = ground.clock.now_us()
    names = [f"facts_{i}" for i in range(scale.views)]
    paths = {
        name: write_facts(ground.settings, name, entities=scale.entities, columns=scale.columns, now=now)
        for name in names
    }

    def applied(store: FeatureStore) -> FeatureStore:
        views = [fact_view(name, path, columns=scale.columns, ttl=TTL) for name, path in paths.items()]
        with quiet():
            store.apply([user, *views])
        return store

    ours, peer = applied(our_store()), applied(stock_store(ground.settings))
    taken = in_turns(
        lambda: _written(our_store(), now),
        lambda: _written(stock_store(ground.settings), now),
        rounds=scale.rounds,
        told=lambda share: ground.step("ours and stock in turn", share),
        before=ground.new_redis,
    )
    _check_equal(ground, ours.project, peer.project)
    rows = scale.entities * scale.views
    mine, stock = (rates(rows, each) for each in taken)
    return Findings(mine, stock, times_faster(*taken), "rows/s", {"peer": CLASSES, "rows": rows})


def _written(store: FeatureStore, now: int) -> Spent:
    with quiet():
        return spent(lambda: store.materialize(from_us(now) - timedelta(days=1), from_us(now)))


def _check_equal(ground: Ground, ours: str, peer: str) -> None:
    """Compare what the two projects hold of some entities, byte by byte, and how many entities each holds."""
    with ground.redis() as client:
        keys = sorted(set(client.scan_iter(match=f"*user_id*{peer}", count=1000)))  # one may come twice
        others = len(set(client.scan_iter(match=f"*user_id*{ours}", count=1000)))
        pairs = [(key, key.removesuffix(peer.encode()) + ours.encode()) for key in keys[:CHECKED]]
        differing = sum(client.hgetall(theirs) != client.hgetall(mine) for theirs, mine in pairs)
    if not keys or others != len(keys) or differing:
        raise CheckFailedError(
            f"Stock Feast wrote {len(keys)} entities and ours {others}; {differing} of {len(pairs)} compared differ."
        )


BENCH = Bench(
    name="materialize",
    sizes={Size.SMALL: Scale(entities=10_000), Size.FULL: Scale(entities=200_000)},
    measure=measure,
    least=2.0,
)
