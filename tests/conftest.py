"""A home of its own for every test, and one real Redis per worker, emptied before each test that uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import redis as redis_py

from feature_repo.core.clock import SystemClock
from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import connect_redis, redis_url
from feature_repo.jobs import services

# Two shared cores: how long an example takes says nothing about the code.
hypothesis.settings.register_profile("portrait", deadline=None)
hypothesis.settings.load_profile("portrait")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home that PORTRAIT_HOME names; no service of the machine is inherited."""
    for name in ("PORTRAIT_REDIS_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "home"
    monkeypatch.setenv("PORTRAIT_HOME", str(path))
    return path


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real server that lives as long as the worker."""
    settings = Settings(home=tmp_path_factory.mktemp("redis-home"), redis_url="")
    services.up(settings, SystemClock())
    yield redis_url(settings)
    services.down(settings)


@pytest.fixture
def settings(home: Path, redis_server: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an empty home and an empty Redis, as the environment of subprocesses says too."""
    monkeypatch.setenv("PORTRAIT_REDIS_URL", redis_server)
    settings = load_settings()
    with connect_redis(settings) as client:
        client.flushall()
        client.script_flush()
    return settings


@pytest.fixture
def redis(settings: Settings) -> Iterator[redis_py.Redis]:
    """A client of the empty Redis."""
    with connect_redis(settings) as client:
        yield client
