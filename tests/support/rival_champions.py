"""A home of its own with two versions of a model, each of which says a number of its own of everybody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import xgboost

from feature_repo.bench.ground import temporary_ground
from feature_repo.bench.stock import quiet
from feature_repo.core.settings import Settings
from serving.bench_model import promote, register
from serving.bench_online import SERVICE, Scale, feed
from serving.sdk import ProfileClient


@dataclass(frozen=True)
class Rivals:
    """The home, whose shoppers, and what each version says."""

    settings: Settings
    users: list[str]
    said: dict[str, float]


@contextmanager
def rivals() -> Iterator[Rivals]:
    """Build the home; the first version is the champion."""
    with temporary_ground(lambda _what, _share: None) as ground:
        with quiet():
            fed = feed(ground, Scale(users=200, events=20, calls=()))
            with fed.client as client:
                models = {value: always(client, fed.users, value) for value in (0.2, 0.8)}
                said = {register(ground.settings, client, SERVICE, each): value for value, each in models.items()}
            promote(ground.settings, min(said))
        yield Rivals(ground.settings, fed.users, said)


def always(client: ProfileClient, users: list[str], value: float) -> xgboost.Booster:
    """A model that has learned next to nothing."""
    matrix = client.features(users, service=SERVICE).to_numpy()
    parameters = {"objective": "binary:logistic", "base_score": value, "eta": 1e-6, "nthread": 1}
    return xgboost.train(parameters, xgboost.DMatrix(matrix, np.zeros(len(matrix))), num_boost_round=1)
