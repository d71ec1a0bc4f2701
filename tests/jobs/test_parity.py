from __future__ import annotations

from typing import Any

import pytest

from feature_repo.core.clock import SystemClock
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_redis
from feature_repo.engine.entity_keys import entity_pattern
from feature_repo.engine.feature_store import open_store
from feature_repo.engine.positions import Positions
from feature_repo.jobs.parity import parity
from redis_keys import keys_in


@pytest.fixture
def redis_of_shop(shop: Settings) -> Any:
    with connect_redis(shop) as client:
        yield client


def test_two_hundred_households_read_the_same_online_and_offline_in_all_views(shop: Settings) -> None:
    report = parity(shop, SystemClock(), users=200)
    assert len(report.sampled) == 200
    assert report.checked > 50_000
    assert report.mismatches == 0, report


def test_a_changed_byte_in_redis_is_found_and_named(shop: Settings, redis_of_shop: Any) -> None:
    project = open_store().project
    field = Positions(redis_of_shop, project).serving("user_campaigns").field
    keys = keys_in(redis_of_shop, entity_pattern(project, ["user_id"]))
    kept = {key: state for key in keys if (state := redis_of_shop.hget(key, field))}
    try:
        for key, state in kept.items():
            # The last byte of the last tile is how many campaigns were in it; the last instant, 8 bytes, is behind it.
            redis_of_shop.hset(key, field, state[:-9] + bytes([state[-9] + 1]) + state[-8:])
        report = parity(shop, SystemClock(), users=50, views=["user_campaigns", "user_payments"])
    finally:
        for key, state in kept.items():
            redis_of_shop.hset(key, field, state)
    assert report.mismatches
    assert set(report.by_view) == {"user_campaigns"}
    assert set(report.by_cause) == {"value"}
    assert any(name.startswith("user_campaigns:count") for name in report.by_feature)


def test_a_view_without_state_is_a_mismatch_and_not_a_pass(shop: Settings, redis_of_shop: Any) -> None:
    key = Positions(redis_of_shop, open_store().project).key
    kept = redis_of_shop.hget(key, "serve:user_campaigns")
    redis_of_shop.hdel(key, "serve:user_campaigns")
    try:
        report = parity(shop, SystemClock(), users=5, views=["user_campaigns"])
    finally:
        redis_of_shop.hset(key, "serve:user_campaigns", kept)
    assert report.by_cause == {"not materialized": 1}
