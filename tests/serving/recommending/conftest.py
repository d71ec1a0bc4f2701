"""A small shop with a model of its baskets, once per worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import made_baskets as shop_of
from feature_repo.core.clock import FixedClock, SystemClock, to_us
from feature_repo.core.settings import Settings
from feature_repo.jobs import services
from feature_repo.jobs.features import apply
from feature_repo.jobs.histories import bring_histories
from feature_repo.jobs.materialize import materialize
from feature_repo.privacy.pseudonyms import load_pseudonymiser
from running_shop import living_in
from training.declaring.recipe import Boosting, Recipe
from training.jobs.train import train
from training.task import find_task

NOW = to_us(shop_of.END + timedelta(hours=6))


@pytest.fixture(scope="session")
def baskets_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with the shop, its champion, and a Redis of its own that holds all of it."""
    home = tmp_path_factory.mktemp("recommending") / "home"
    settings = Settings(home=home, redis_url="")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PORTRAIT_REDIS_URL", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        patch.setenv("PORTRAIT_HOME", str(home))
        apply()
        load_pseudonymiser(home)  # the key, before there are events
        shop_of.fill(settings)
        services.up(settings, SystemClock())
        materialize(settings, FixedClock(NOW))
        bring_histories(settings, FixedClock(NOW))
        boosting = Boosting(eta=0.3, max_depth=3, min_child_weight=1.0, seeds=(7,), max_rounds=30, patience=10)
        task = replace(find_task("items"), model=Recipe(boosting=boosting), gates=(), must_beat=(), surely_beats=())
        assert train(task).promoted
    yield home
    services.down(settings)


@pytest.fixture
def baskets(baskets_home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of the shop. It is shared: a test adds events of shoppers and items of its own alone."""
    return living_in(baskets_home, monkeypatch)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)
