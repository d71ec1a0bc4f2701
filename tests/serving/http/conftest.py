"""The real shop behind a port; a file of tests that asks another one has a fixture of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from feature_repo.core.clock import FixedClock, SystemClock
from feature_repo.core.settings import Settings
from running_app import Running


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(SystemClock().now_us())


@pytest.fixture
def running(shop: Settings, clock: FixedClock) -> Iterator[Running]:
    found = Running(shop, clock)
    yield found
    found.close()
