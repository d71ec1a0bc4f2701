"""`portrait bench predict`: a prediction through the SDK, beside the floor below which none can be.

The floor fetches the same bytes by a plain pipeline of redis-py and lets XGBoost predict on a matrix that is there
already: nothing is decoded, no window is computed, and nobody is told how fresh or how complete the answer is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import xgboost

from feature_repo.bench.bench import Bench, Findings, Size
from feature_repo.bench.ground import Ground
from feature_repo.bench.stock import quiet
from feature_repo.core.errors import CheckFailedError
from serving.bench_model import TASK, TAUGHT, TREES, make_champion, taught
from serving.bench_online import HEADLINE, SERVICE, Scale, prepare, summary, timed
from serving.catalogue import Catalogue
from serving.sdk import ProfileClient


def measure(ground: Ground, scale: Scale) -> Findings:
    """Predict for the same shoppers through the SDK and by the floor, in turn."""
    users, stores = prepare(ground, scale)
    client = stores.client
    with quiet(), client:
        ground.step("teaching a model", 0.3)
        booster = taught(client, SERVICE, users)
        make_champion(ground.settings, client, SERVICE, booster)
        with closing(_Floor(ground, client, booster, users)) as floor:
            _check(client, floor, users)
            taken = timed(ground, {"predict": _asking(client), "floor": floor.predict}, users, scale)
    table = {side: {str(n): summary(times) for n, times in sizes.items()} for side, sizes in taken.items()}
    headline = str(min((n for n, _ in scale.calls), key=lambda n: abs(n - HEADLINE)))
    return Findings(
        table["predict"],
        table["floor"],
        table["floor"][headline]["p50_ms"] / table["predict"][headline]["p50_ms"],
        f"p50 ms of {headline} users through ProfileClient.predict",
        {"peer": "redis-py pipeline of the same bytes, inplace_predict of a matrix that is there", "trees": TREES},
    )


def _asking(client: ProfileClient) -> Callable[[list[str]], Any]:
    return lambda users: client.predict(TASK, users)


class _Floor:
    """What a prediction takes at least."""

    def __init__(self, ground: Ground, client: ProfileClient, booster: xgboost.Booster, users: list[str]) -> None:
        plan = Catalogue(ground.settings).plan(SERVICE)  # the keys the SDK itself asks for
        [entity] = plan.entities
        rows = entity.rows(plan.reader.project, {"user_id": users})
        self._keys = dict(zip(users, rows.keys, strict=True))
        self._redis = ground.redis().__enter__()
        self._fields = self._redis.hkeys(rows.keys[0])
        self._booster = booster
        self._matrix = client.features(users[:TAUGHT], service=SERVICE).to_numpy()

    def close(self) -> None:
        self._redis.close()

    def predict(self, users: list[str]) -> Any:
        with self._redis.pipeline(transaction=False) as pipeline:
            for user in users:
                pipeline.hmget(self._keys[user], self._fields)
            pipeline.execute()
        return self._booster.inplace_predict(self._matrix[: len(users)], validate_features=False)


def _check(client: ProfileClient, floor: _Floor, users: list[str]) -> None:
    some = users[:HEADLINE]
    said = [score.value for score in client.predict(TASK, some)]
    if not np.allclose(said, floor.predict(some), rtol=1e-6):
        raise CheckFailedError("The SDK and XGBoost alone predict differently for the same shoppers.")


BENCH = Bench(
    name="predict",
    sizes={
        Size.SMALL: Scale(users=1_000, events=60, calls=((1, 300), (10, 150), (100, 60), (500, 20))),
        Size.FULL: Scale(users=20_000, events=60, calls=((1, 3_000), (10, 1_500), (100, 600), (500, 200))),
    },
    measure=measure,
    least=0.25,
)
