from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from feature_repo.core.clock import SystemClock
from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.settings import load_settings
from feature_repo.jobs import services
from serving.session import RedisSession


def answers(client: Any) -> bool:
    return bool(client.ping())


def test_a_session_tells_that_redis_went_and_finds_it_again(home: Path) -> None:
    settings = load_settings()
    session = RedisSession(settings, timeout_s=2.0)
    with pytest.raises(StoreUnavailableError, match="portrait up"):
        session.ask(answers)
    services.up(settings, SystemClock())
    try:
        assert session.ask(answers)
        services.down(settings)
        with pytest.raises(StoreUnavailableError, match="portrait up"):
            session.ask(answers)
        services.up(settings, SystemClock())
        assert session.ask(answers)
    finally:
        session.close()
        services.down(settings)
