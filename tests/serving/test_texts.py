"""A model that reads texts is asked online what it was taught offline."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from feature_repo.core.clock import FixedClock, SystemClock, from_us
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_redis
from feature_repo.engine.feature_store import open_store
from feature_repo.engine.services import service_views
from serving import ProfileClient
from serving.models import Model
from serving.online_features import ServicePlan
from serving.service_views import as_places
from training.data.features import features_at
from training.data.log_views import head_versions
from training.fitting.fit import Fitted
from training.scorer import codes, matrix_of

SERVICE = "profile_v1"
TEXTS = {
    "user_demographics__age_band": ["45-54", "19-24", "35-44"],  # not all there are
    "user_demographics__income": ["50-74K", "35-49K", "25-34K", "Under 15K"],
}
COLUMNS = ("user_demographics__age_band", "user_payments__count_84d", "user_demographics__income")


@pytest.fixture
def plan(shop: Settings) -> ServicePlan:
    return ServicePlan.of(open_store(), SERVICE)


@pytest.fixture
def client(shop: Settings) -> Iterator[Any]:
    with connect_redis(shop) as client:
        yield client


def a_model() -> Fitted:
    part = {"fill": [0.0] * 4, "mean": [0.0] * 4, "scale": [1.0] * 4, "coef": [0.3, -0.7, 0.1, 0.9], "intercept": -0.5}
    linear = {**part, "source": [0, 0, 1, 2], "level": [1, -1, None, 3], "logarithmic": True}
    head = {
        "columns": list(COLUMNS),
        "categories": TEXTS,
        "weights": {"linear": 1.0, "boosting": 0.0},
        "linear": linear,
        "calibration": {"slope": 1.0, "offset": 0.0},
        "link": "logit",
    }
    return Fitted(head, (), 0)


def offline(settings: Settings, users: list[str], at: int) -> pd.DataFrame:
    views = service_views(open_store(), SERVICE)
    spine = pd.DataFrame({"user_id": users, "event_timestamp": from_us(at)})
    return features_at(views, spine, versions=head_versions(settings, views.tables), settings=settings)


def users_of(settings: Settings) -> list[str]:
    with ProfileClient(settings=settings) as portrait:
        return [portrait.key(str(n)) for n in range(1, 200)]


def test_the_vector_of_a_model_that_reads_texts_is_that_of_training(
    shop: Settings, plan: ServicePlan, client: Any
) -> None:
    at, users = SystemClock().now_us(), users_of(shop)
    frame = offline(shop, users, at)
    online = plan.read(client, {"user_id": users}, at).matrix(COLUMNS, TEXTS)
    np.testing.assert_array_equal(online, matrix_of(frame, COLUMNS, TEXTS))
    known = ~np.isnan(online[:, 0])
    assert 0 < known.sum() < frame["user_demographics__age_band"].notna().sum()  # NULL, known texts and others
    assert set(online[known, 0]) == {0.0, 1.0, 2.0}


def test_a_prediction_from_texts_is_the_one_the_frame_of_training_gives(
    shop: Settings, plan: ServicePlan, client: Any
) -> None:
    at, users = SystemClock().now_us(), users_of(shop)
    scorer = a_model().scorer()
    model = Model("any", "1", SERVICE, {}, plan.contract, scorer)
    reading = plan.read(client, {"user_id": users}, at)
    scores = model.scores(
        users, reading.matrix(model.features, model.texts), np.empty((len(users), 0)), known=[True] * len(users),
        as_of=datetime(2026, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    expected = scorer.predict(None, offline(shop, users, at))
    np.testing.assert_array_equal([score.value for score in scores], expected)
    assert len(set(expected)) > 10
    unseen = next(score for score in scores if "user_demographics__age_band" in score.missing)
    assert "user_payments__count_84d" not in unseen.missing


@pytest.mark.parametrize("said", [["b", None, "z", "a", ""], [], [None]])
def test_places_of_texts_are_the_numbers_of_training(said: list[str | None]) -> None:
    known = ["a", "b", ""]
    np.testing.assert_array_equal(as_places(pa.array(said, pa.string()), known), codes(said, known))


def test_a_number_is_not_read_as_a_text_nor_a_text_as_a_number(plan: ServicePlan, client: Any) -> None:
    reading = plan.read(client, {"user_id": ["u_" + "0" * 32]}, FixedClock(0).now_us())
    with pytest.raises(DataError, match="int64, and the model reads a text"):
        reading.matrix(COLUMNS, {**TEXTS, "user_payments__count_84d": ["1"]})
    with pytest.raises(DataError, match="models read numbers"):
        reading.matrix(COLUMNS, {"user_demographics__income": []})
