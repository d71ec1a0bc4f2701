"""`portrait bench recommend`: a list of ten for one shopper through the SDK, beside the floor below which none can be.

The floor fetches the same bytes by a plain pipeline of redis-py and lets XGBoost predict on a matrix that is there
already: nothing is proposed, decoded, computed, sorted out or told. The shop is made up, and so is what the model was
taught; how many items a shopper has, how many are proposed and how large the model is are those of the real data.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xgboost

from feature_repo.bench.bench import Bench, Findings, Size
from feature_repo.bench.ground import Ground
from feature_repo.bench.measure import spent as measured
from feature_repo.bench.stock import quiet
from feature_repo.bench.synthetic import SEED, Span, pseudonym_sql, queried, ranked_sql, unit
from feature_repo.candidates.kept import history_key, read_history
from feature_repo.candidates.proposals import COLUMNS, SHELF, TASTE, Proposer
from feature_repo.candidates.shelf import Shelf, shelf_at
from feature_repo.candidates.taste import Taste
from feature_repo.core.errors import CheckFailedError
from feature_repo.core.mlflow_home import settle
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.contract import service_contract
from feature_repo.engine.feature_store import open_store
from feature_repo.events.log import read_snapshot, reading
from feature_repo.events.schema import arrow_schema, log_table, table_path
from feature_repo.jobs.features import apply
from feature_repo.jobs.histories import bring_histories
from feature_repo.jobs.materialize import materialize
from serving.bench_model import logged, promote
from serving.bench_online import Scale as Calls
from serving.bench_online import summary, timed
from serving.catalogue import Catalogue
from serving.recommending.desk import CATEGORY, ITEM, TASK
from serving.sdk import ProfileClient

SERVICE = "items_v1"
HISTORY_DAYS = 364
FACTORS, NEIGHBOURS, GROUPS, FAVOURITES = 48, 30, 40, 150
TREES, DEPTH = 85, 6
CALLS = 200  # whose processor time is taken: where others use the machine, the wall tells more of them
VIEWS = ("user_category_purchases", "item_purchases", "user_payments", "user_purchases", "user_item_feedback")


@dataclass(frozen=True)
class Scale:
    """Shoppers, order lines of each, items on the shelf, and ``calls``: shoppers at once (one), and how many calls."""

    users: int
    lines: int
    items: int
    calls: tuple[tuple[int, int], ...]


def measure(ground: Ground, scale: Scale) -> Findings:
    """Recommend to the same shoppers through the SDK and by the floor, in turn."""
    settings = ground.settings
    with quiet():
        ground.step("writing events", 0.0)
        apply()
        _write(settings, scale, ground.clock.now_us())
        ground.step("materializing", 0.1)
        materialize(settings, ground.clock, views=[*VIEWS])
        bring_histories(settings, ground.clock)
        ground.step("teaching a model", 0.3)
        shelf = _shelf(settings, ground.clock.now_us())
        booster = _register(settings, shelf)
        users = queried(settings, f"SELECT {pseudonym_sql('i')} AS u FROM range({scale.users}) t(i)")["u"].to_pylist()
        with ProfileClient(settings=settings) as client, closing(_Floor(ground, shelf, booster, users)) as floor:
            client.warm_up()
            short = [user for user in users[:20] if len(client.recommend(user)) < 10]  # noqa: PLR2004 - a list of ten
            if short:
                raise CheckFailedError(f"{len(short)} of 20 shoppers got less than ten items.")
            sides = {"recommend": lambda asked: client.recommend(asked[0]), "floor": lambda asked: floor.ask(asked[0])}
            spent = [measured(partial(client.recommend, user)).cpu for user in users[:CALLS]]
            taken = timed(ground, sides, users, Calls(scale.users, scale.lines, scale.calls))
    ours, peer = (summary(taken[side][1]) for side in ("recommend", "floor"))
    return Findings(
        {"1": ours, "proposed": floor.proposed, "cpu_ms": 1e3 * sum(spent) / len(spent)},
        {"1": peer},
        peer["p50_ms"] / ours["p50_ms"],
        "p50 ms of one shopper through ProfileClient.recommend",
        {"peer": "redis-py pipeline of the same bytes, inplace_predict of a matrix that is there", "trees": TREES},
    )


def _write(settings: Settings, scale: Scale, now: int) -> None:
    """Write order lines: a shopper has favourites, so that items are bought again."""
    favourite = f"(CAST(hash(user_no, pick, {SEED}) % 1000000 AS DOUBLE) / 1000000)"
    query = f"""
        WITH line AS (
            SELECT i, i // {scale.lines} AS user_no, {ranked_sql(unit("i", "pick"), 1.05, scale.lines)} AS pick
            FROM range({scale.users * scale.lines}) t(i)
        ), item AS (
            SELECT i, user_no, {ranked_sql(favourite, 1.1, scale.items)} AS item_no FROM line
        )
        SELECT 'e' || i AS event_id, {pseudonym_sql("user_no")} AS user_id,
            {Span(now, HISTORY_DAYS).sql("i", "bought")} AS event_timestamp, 'o' || (i // 10) AS order_id,
            'i' || item_no AS item_id, 'c' || (item_no % 300) AS category, 'm' || (item_no % 1000) AS manufacturer_id,
            's' || (user_no % 20) AS store_id, 1 + 9 * {unit("i", "amount")} AS amount, 1::BIGINT AS quantity
        FROM item
    """
    _commit(settings, "purchase", queried(settings, query))
    paid = f"""
        SELECT 'p' || i AS event_id, {pseudonym_sql("i % " + str(scale.users))} AS user_id,
            {Span(now, HISTORY_DAYS).sql("i", "paid")} AS event_timestamp, 'o' || i AS order_id, 20.0 AS amount
        FROM range({scale.users * 20}) t(i)
    """
    _commit(settings, "payment", queried(settings, paid))


def _commit(settings: Settings, name: str, rows: pa.Table) -> None:
    schema = arrow_schema(name)
    rows = rows.append_column("ingested_at", rows["event_timestamp"])
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    log_table(settings.log_root, name).commit(pa.table(columns, schema=schema))


def _shelf(settings: Settings, at: int) -> Shelf:
    snapshot = read_snapshot(table_path(settings.log_root, "purchase"))
    with closing(connect_duckdb(settings)) as connection, reading(snapshot):
        return shelf_at(connection, snapshot.sql(), at)


def _taste(shelf: Shelf) -> Taste:
    """Make up a taste of the items with ten buyers: what it says is of no consequence to its speed."""
    items = shelf.items[shelf.buyers >= 10]  # noqa: PLR2004 - as of training
    random = np.random.default_rng(SEED)
    return Taste(
        items=items,
        factors=random.normal(size=(len(items), FACTORS)).astype(np.float32),
        regularization=5.0,
        confidence=4.0,
        neighbours=random.integers(0, len(items), (len(items), NEIGHBOURS)).astype(np.int32),
        nearness=random.random((len(items), NEIGHBOURS)).astype(np.float32),
        centres=random.normal(size=(GROUPS, FACTORS)).astype(np.float32),
        favourites=random.integers(0, len(items), (GROUPS, FAVOURITES)).astype(np.int32),
        shares=random.random((GROUPS, FAVOURITES)).astype(np.float32),
    )


def _register(settings: Settings, shelf: Shelf) -> xgboost.Booster:
    """Make a model of the real one's size champion, with what proposes for it."""
    settle(settings)
    contract = service_contract(open_store(), SERVICE)
    columns = [*contract, *COLUMNS]
    random = np.random.default_rng(SEED)
    rows = xgboost.DMatrix(random.random((20_000, len(columns))), random.random(20_000) < 0.1)  # noqa: PLR2004
    parameters = {"objective": "binary:logistic", "max_depth": DEPTH, "nthread": 1, "seed": SEED}
    booster = xgboost.train(parameters, rows, num_boost_round=TREES)
    head = {
        "columns": columns,
        "weights": {"linear": 0.0, "boosting": 1.0},
        "linear": None,
        "calibration": {"slope": 1.0, "offset": 0.0},
        "link": "identity",
    }
    context = [{"name": name, "default": 0.0} for name in COLUMNS]
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "head.json": json.dumps(head).encode(),
            "contract.json": json.dumps(contract).encode(),
            SHELF: shelf.to_json().encode(),
            TASTE: _taste(shelf).to_bytes(),
            "booster_0.ubj": bytes(booster.save_raw("ubj")),
        }
        for name, raw in files.items():
            (Path(folder) / name).write_bytes(raw)
        artifacts = {Path(name).stem: str(Path(folder) / name) for name in files}
        tags = {"feature_service": SERVICE, "context": json.dumps(context)}
        promote(settings, logged(settings, artifacts, name=TASK, tags=tags), name=TASK)
    return booster


class _Floor:
    """What a list takes at least."""

    def __init__(self, ground: Ground, shelf: Shelf, booster: xgboost.Booster, users: list[str]) -> None:
        self._plan = Catalogue(ground.settings).plan(SERVICE)
        self._redis = ground.redis().__enter__()
        self._booster = booster
        proposer = Proposer(_taste(shelf), shelf)
        self._keys = {user: self._keys_of(proposer, user) for user in users}
        self.proposed = max(count for _, count in self._keys.values())
        self._matrix = np.random.default_rng(SEED).random((self.proposed, booster.num_features()))

    def close(self) -> None:
        self._redis.close()

    def ask(self, user: str) -> Any:
        keys, count = self._keys[user]
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.get(history_key(user))
            for key, fields in keys:
                pipeline.hmget(key, fields)
            pipeline.execute()
        return self._booster.inplace_predict(self._matrix[:count], validate_features=False)

    def _keys_of(self, proposer: Proposer, user: str) -> tuple[list[tuple[bytes, list[bytes]]], int]:
        history = read_history(self._redis, user)
        if history is None:
            raise CheckFailedError("A shopper has no history in Redis.")
        places = proposer.propose(history, history.at).places
        asked = {
            "user_id": [user] * len(places),
            ITEM: proposer.shelf.items[places].tolist(),
            CATEGORY: proposer.shelf.category[places].tolist(),
        }
        keys = {key for entity in self._plan.entities for key in entity.rows(self._plan.reader.project, asked).keys}
        return [(key, self._redis.hkeys(key)) for key in sorted(keys) if self._redis.exists(key)], len(places)


BENCH = Bench(
    name="recommend",
    sizes={
        Size.SMALL: Scale(users=300, lines=600, items=8_000, calls=((1, 300),)),
        Size.FULL: Scale(users=2_500, lines=600, items=60_000, calls=((1, 2_000),)),
    },
    measure=measure,
    least=0.2,
)
