"""The real data, imported once per worker."""

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from feature_repo.core.clock import FixedClock, to_us
from feature_repo.core.settings import Settings
from feature_repo.events.demo import LoadReport, load_demo

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Demo(NamedTuple):
    """A home with the demo in it, the report of the import, and the steps it told of."""

    settings: Settings
    report: LoadReport
    steps: list[tuple[str, float]]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo imported at a fixed now; do not write to it, except by importing it again."""
    settings = Settings(home=tmp_path_factory.mktemp("demo") / "home", threads=2, memory="2GB")
    steps: list[tuple[str, float]] = []
    report = load_demo(settings, FixedClock(to_us(NOW)), progress=lambda step, done: steps.append((step, done)))
    return Demo(settings, report, steps)


@pytest.fixture
def own_settings(tmp_path: Path) -> Settings:
    """Settings of an empty home, without a Redis."""
    return Settings(home=tmp_path / "home", threads=1, memory="2GB")
