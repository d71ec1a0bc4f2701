"""`portrait bench predict`: a prediction through the SDK, beside the floor below which none can be.

The floor fetches the same bytes by a plain pipeline of redis-py and lets XGBoost predict on a matrix that is there
already: nothing is decoded, no window is computed, and nobody is told how fresh or how complete the answer is.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from feature_repo.bench.bench import Bench, Findings, Size
from feature_repo.bench.ground import Ground
from feature_repo.bench.stock import quiet
from feature_repo.bench.synthetic import SEED
from feature_repo.core.errors import CheckFailedError
from feature_repo.core.mlflow_client import CHAMPION, open_mlflow
from feature_repo.core.mlflow_home import settle
from feature_repo.core.settings import Settings
from feature_repo.engine.contract import service_contract
from feature_repo.engine.feature_store import open_store
from serving.bench_online import HEADLINE, SERVICE, Scale, prepare, summary, timed
from serving.catalogue import Catalogue
from serving.sdk import ProfileClient

TASK = "bench"
TREES = 200
DEPTH = 6
TAUGHT = 1_000


def measure(ground: Ground, scale: Scale) -> Findings:
    """Predict for the same shoppers through the SDK and by the floor, in turn."""
    users, stores = prepare(ground, scale)
    client = stores.client
    with quiet(), client:
        ground.step("teaching a model", 0.3)
        booster = _taught(client, users)
        _register(ground.settings, client, booster)
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


def _taught(client: ProfileClient, users: list[str]) -> xgboost.Booster:
    """Boosted trees on what the shoppers' features are; what they are taught is of no consequence to their speed."""
    matrix = client.features(users[:TAUGHT], service=SERVICE).to_numpy()
    label = np.random.default_rng(SEED).random(len(matrix)) < 0.3  # noqa: PLR2004
    parameters = {"objective": "binary:logistic", "max_depth": DEPTH, "nthread": 1, "seed": SEED}
    return xgboost.train(parameters, xgboost.DMatrix(matrix, label), num_boost_round=TREES)


def _register(settings: Settings, client: ProfileClient, booster: xgboost.Booster) -> None:
    """Make the model a champion as training registers one, with the same code to score by."""
    settle(settings)
    names = client.features([], service=SERVICE).reading.table.column_names
    contract = {name: service_contract(open_store(), SERVICE)[name] for name in names}
    code = find_spec("training.scorer")
    if code is None or code.origin is None:
        raise CheckFailedError("Package 'training' is not installed.", hint="install Portrait whole.")
    head = {
        "columns": names,
        "weights": {"linear": 0.0, "boosting": 1.0},
        "linear": None,
        "calibration": {"slope": 1.0, "offset": 0.0},
        "link": "logit",
    }
    with tempfile.TemporaryDirectory() as folder:
        artifacts = {name: str(Path(folder) / f"{name}.json") for name in ("head", "contract")}
        Path(artifacts["head"]).write_text(json.dumps(head), "utf-8")
        Path(artifacts["contract"]).write_text(json.dumps(contract), "utf-8")
        artifacts["booster_0"] = str(Path(folder) / "booster_0.ubj")
        booster.save_model(artifacts["booster_0"])
        _make_champion(settings.tracking_uri, code.origin, artifacts)


def _make_champion(uri: str, code: str, artifacts: dict[str, str]) -> None:
    """Log a model where MLflow's global address points, and put that back."""
    import mlflow  # noqa: PLC0415

    registry = open_mlflow(uri)
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        with mlflow.start_run() as run:
            made = mlflow.pyfunc.log_model(
                name=TASK, python_model=code, artifacts=artifacts, pip_requirements=["mlflow"]
            )
        registry.create_registered_model(TASK)
        tags = {"feature_service": SERVICE, "context": "[]"}
        version = registry.create_model_version(TASK, made.model_uri, run_id=run.info.run_id, tags=tags)
        registry.set_registered_model_alias(TASK, CHAMPION, version.version)
    finally:
        mlflow.set_tracking_uri(before)


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
)
