"""A Kafka without a topic for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from feature_repo.core.settings import Settings
from kafka_streams import settings_of
from tansu_process import Broker


@pytest.fixture
def kafka(kafka_broker: Broker, home: Path) -> Settings:
    """Settings of a broker without a topic."""
    return settings_of(kafka_broker, home)
