"""`portrait bench serve`: `portrait serve` beside `feast serve`, asked over HTTP by one client about the same shoppers.

Feast's server fetches twenty doubles that are stored; ours computes as many windowed features, and predicts from them.
Each is asked by one connection, which tells how long an answer takes, and by several at once, which tells how many
answers its one worker gives in a second.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from feature_repo.bench.bench import Bench, Findings, Size
from feature_repo.bench.ground import Ground
from feature_repo.bench.measure import percentile
from feature_repo.bench.stock import quiet
from feature_repo.bench.synthetic import SEED
from feature_repo.core.clock import FixedClock, to_us
from feature_repo.core.errors import CheckFailedError
from serving import bench_online
from serving.bench_load import OK, Connection, load, post
from serving.bench_model import TASK, TREES, make_champion, taught
from serving.bench_online import HEADLINE, SERVICE, VIEW, Stores
from serving.bench_servers import Server, feast_serve, portrait_serve
from serving.sdk import ProfileClient

ROUNDS = 5
PEER = "feast serve"
_TICK_S = 0.01

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scale(bench_online.Scale):
    """As of :class:`bench_online.Scale`; ``calls`` are made by one connection and again by ``connections`` at once."""

    connections: int = 4


@dataclass(frozen=True)
class _Side:
    """A server, and how it is asked about shoppers."""

    server: Server
    question: Callable[[list[str]], bytes]


@dataclass(frozen=True)
class _Block:
    """What one round found of one side.

    Seconds of each call, alone and beside others; of the latter, calls a second, and the server's seconds of processor.
    """

    alone: Sequence[float]
    together: Sequence[float]
    per_s: float
    cpu_s: float


Blocks = dict[str, dict[int, list[_Block]]]


def measure(ground: Ground, scale: Scale) -> Findings:
    """Ask both servers about the same shoppers in turn, after their answers were found to be the same."""
    users, stores = bench_online.prepare(ground, scale)
    with quiet(), stores.client as client:
        booster = taught(client, SERVICE, users)
        make_champion(ground.settings, client, SERVICE, booster)
        ground.step("starting the servers", 0.3)
        with portrait_serve(ground) as ours, feast_serve(ground) as peer:
            sides = _sides(ours, peer, stores.names)
            _check_equal(ground, sides, stores, users[:HEADLINE], booster)
            blocks = _in_turns(ground, sides, users, scale)
    return _findings(blocks, scale, stores.names)


def _sides(ours: Server, peer: Server, names: Sequence[str]) -> dict[str, _Side]:
    refs = [f"{VIEW}:{name}" for name in names]
    return {
        "predict": _Side(ours, lambda users: post("/v1/predict", {"task": TASK, "users": users})),
        PEER: _Side(
            peer, lambda users: post("/get-online-features", {"features": refs, "entities": {"user_id": users}})
        ),
        "features": _Side(ours, lambda users: post("/v1/features", {"users": users, "service": SERVICE})),
    }


def _check_equal(
    ground: Ground, sides: Mapping[str, _Side], stores: Stores, users: list[str], booster: xgboost.Booster
) -> None:
    """Compare every value: Feast stores what the windows held at one instant, ours computes them at its own."""
    columns = [f"{VIEW}__{name}" for name in stores.names]
    stored = _stored(_said(sides[PEER], users), users, stores.names)
    _compare(PEER, stored, stores.client.features(users, service=SERVICE).to_numpy(columns))
    answer = _said(sides["features"], users)
    rows = [[row["values"][name] for name in columns] for row in answer["rows"]]
    _compare("/v1/features", np.array(rows, np.float64), _at(ground, answer["features_as_of"], users, columns))
    scores = _said(sides["predict"], users)["scores"]
    inputs = _at(ground, scores[0]["features_as_of"], users, None)
    expected = booster.inplace_predict(inputs, validate_features=False)
    _compare("/v1/predict", np.array([score["value"] for score in scores]), expected, rtol=1e-6)


def _said(side: _Side, users: list[str]) -> Any:
    connection = Connection(side.server.address)
    try:
        status, body = connection.ask(side.question(users))
    finally:
        connection.close()
    if status != OK:
        raise CheckFailedError(f"A server answered {status}: {body[:200].decode(errors='replace')}")
    return json.loads(body)


def _stored(answer: Any, users: Sequence[str], names: Sequence[str]) -> Matrix:
    """Rows in the order of the question; Feast answers in another."""
    said = zip(answer["metadata"]["feature_names"], answer["results"], strict=True)
    columns = {name: each["values"] for name, each in said}
    rows = {user: row for row, user in enumerate(columns["user_id"])}
    found: Matrix = np.array([columns[name] for name in names], np.float64).T[[rows[user] for user in users]]
    return found


def _at(ground: Ground, instant: str, users: list[str], columns: Sequence[str] | None) -> Matrix:
    """What the SDK says in process; columns are those of the service unless named."""
    clock = FixedClock(to_us(datetime.fromisoformat(instant)))
    with ProfileClient(settings=ground.settings, clock=clock) as client:
        return client.features(users, service=SERVICE).to_numpy(columns)


def _compare(who: str, found: Matrix, expected: Matrix, *, rtol: float = 1e-12) -> None:
    if not np.allclose(found, expected, rtol=rtol, atol=0, equal_nan=True):
        raise CheckFailedError(f"{who} and the SDK say different things of the same shoppers at the same instant.")


def _in_turns(ground: Ground, sides: Mapping[str, _Side], users: list[str], scale: Scale) -> Blocks:
    """Measure each side at each size in every round; who goes first changes from round to round."""
    blocks: Blocks = {side: {n: [] for n, _ in scale.calls} for side in sides}
    random = np.random.default_rng(SEED)
    done, names = 0, list(sides)
    for turn in range(ROUNDS):
        for n, calls in scale.calls:
            asked = [[users[j] for j in random.integers(0, len(users), n)] for _ in range(max(1, calls // ROUNDS))]
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                blocks[name][n].append(_block(sides[name], asked, scale.connections))
            done += 1
            ground.step(f"{n} users a request", 0.4 + 0.6 * done / (ROUNDS * len(scale.calls)))
    return blocks


def _block(side: _Side, asked: Sequence[list[str]], connections: int) -> _Block:
    address, requests = side.server.address, [side.question(users) for users in asked]
    alone = load(address, requests)
    before = side.server.cpu_s()
    together = load(address, requests, connections=connections)
    cpu_s = side.server.cpu_s() - before
    return _Block(alone.times, together.times, together.per_s, cpu_s)


def _findings(blocks: Blocks, scale: Scale, names: Sequence[str]) -> Findings:
    table = {side: {str(n): dict(_summary(each)) for n, each in sizes.items()} for side, sizes in blocks.items()}
    peer = blocks.pop(PEER)
    ratios = {
        side: {str(n): _times_faster(each, peer[n]) for n, each in sizes.items()} for side, sizes in blocks.items()
    }
    processor = {
        side: {str(n): _cpu_s(peer[n]) / _cpu_s(each) for n, each in sizes.items()} for side, sizes in blocks.items()
    }
    headline = min((n for n, _ in scale.calls), key=lambda n: abs(n - HEADLINE))
    return Findings(
        {side: table[side] for side in blocks} | {"ratios": ratios, "cpu_ratios": processor},
        {PEER: table[PEER]},
        ratios["predict"][str(headline)],
        f"requests/s of {headline} users: /v1/predict against /get-online-features",
        {
            "peer": f"feast serve, RedisOnlineStore, {len(names)} stored doubles, its worker never replaced",
            "servers": "one worker each, one Redis, loopback, connections kept",
            "checked": f"values of {HEADLINE} shoppers, one by one",
            "trees": TREES,
            "rounds": ROUNDS,
        },
    )


def _summary(blocks: Sequence[_Block]) -> Iterator[tuple[str, float]]:
    alone = [each for block in blocks for each in block.alone]
    together = [each for block in blocks for each in block.together]
    yield "requests_per_s", median(block.per_s for block in blocks)
    yield "p50_ms", 1e3 * percentile(alone, 50)
    yield "p99_ms", 1e3 * percentile(alone, 99)
    yield "loaded_p99_ms", 1e3 * percentile(together, 99)
    yield "cpu_ms", 1e3 * _cpu_s(blocks)


def _cpu_s(blocks: Sequence[_Block]) -> float:
    """Processor of a call; of all rounds, for the system counts it in hundredths of a second."""
    calls = sum(len(block.together) for block in blocks)
    return max(sum(block.cpu_s for block in blocks), _TICK_S) / calls


def _times_faster(ours: Sequence[_Block], peer: Sequence[_Block]) -> float:
    """Median over the rounds: the two of one round had the same neighbours."""
    return median(mine.per_s / theirs.per_s for mine, theirs in zip(ours, peer, strict=True))


BENCH = Bench(
    name="serve",
    sizes={
        Size.SMALL: Scale(users=1_000, events=60, calls=((1, 200), (100, 50), (500, 15))),
        Size.FULL: Scale(users=20_000, events=60, calls=((1, 1_500), (100, 300), (500, 75))),
    },
    measure=measure,
    least=2.0,
)
