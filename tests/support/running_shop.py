"""A copy of a home that was built once, with a Redis of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from feature_repo.core.clock import SystemClock
from feature_repo.core.settings import Settings, load_settings
from feature_repo.jobs import services


@contextmanager
def running_copy(built: Path, home: Path) -> Iterator[Path]:
    """Copy a home, and let its embedded Redis run."""
    shutil.copytree(built, home)
    settings = Settings(home=home, redis_url="")
    services.up(settings, SystemClock())
    yield home
    services.down(settings)


def living_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Let PORTRAIT_HOME name a home, whose own Redis and MLflow are used; return its settings."""
    for name in ("PORTRAIT_REDIS_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PORTRAIT_HOME", str(home))
    return load_settings()
