"""A shopper comes by, and the profile follows."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_redis
from feature_repo.jobs.consume import CONSUMERS
from support_commands import portrait, run_portrait

pytestmark = pytest.mark.slow(40)


@contextmanager
def running_copy(shop: Path, home: Path) -> Iterator[Path]:
    shutil.copytree(shop, home)
    run_portrait("up", home)
    yield home
    run_portrait("down", home)


@pytest.fixture
def unvisited_home(built_shop: Path, tmp_path: Path) -> Iterator[Path]:
    """A home that no test before this one visited: what is seen there does not depend on their order."""
    with running_copy(built_shop, tmp_path / "shop") as home:
        yield home


@pytest.fixture(scope="module")
def live_home(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with running_copy(built_shop, tmp_path_factory.mktemp("live") / "shop") as home:
        yield home


def test_a_visit_is_seen_in_the_profile_while_it_happens(unvisited_home: Path) -> None:
    found = run_portrait("demo --live", unvisited_home)
    changed = {change["feature"]: (change["before"], change["after"]) for change in found["changes"]}
    assert found["events"] == 12
    assert set(found["steps"]) == {"up", "jobs status"}  # the demo was run before: it is not run again
    assert changed["user_views_live__count_1h"] == (3, 4)
    assert changed["user_views_live__session_id_count_distinct_1d"] == (0, 1)
    assert changed["user_carts_live__count_1h"] == (1, 2)
    assert changed["user_category_views__decayed_count_6h[coffee]"] == pytest.approx((1, 2), abs=0.1)
    assert changed["user_payments__amount_sum_28d"] == (0, 21)
    assert all(change["visible_ms"] > 0 for change in found["changes"])
    assert found["freshness_ms"]["p50"] <= found["freshness_ms"]["p99"]


def test_the_consumer_of_a_visit_ends_with_it_and_leaves_nothing_behind(live_home: Path) -> None:
    printed = portrait("visit --seconds 0", live_home)
    lines = re.findall(r"^\S.* -> .* ms$", printed, re.MULTILINE)
    assert len(lines) >= 12
    status = run_portrait("jobs status", live_home)
    assert (status["lag"], status["running"], status["consumers"]) == (0, 0, [])
    assert {view["behind"] for view in status["views"]} == {0}
    with connect_redis(Settings(home=live_home, redis_url="")) as client:
        assert not client.exists(CONSUMERS)
    assert run_portrait("jobs parity --users 20", live_home)["mismatches"] == 0


def test_what_a_visit_sent_is_in_the_log_once(live_home: Path) -> None:
    tables = {each["name"]: each["rows"] for each in run_portrait("events stats", live_home)["tables"]}
    again = run_portrait("visit --seconds 0", live_home)
    after = {each["name"]: each["rows"] for each in run_portrait("events stats", live_home)["tables"]}
    grown = {name: after[name] - tables.get(name, 0) for name in after if after[name] != tables.get(name, 0)}
    assert grown == {"view": 4, "search": 2, "click": 1, "cart": 2, "purchase": 2, "payment": 1}
    assert again["consumed"]["events"] == 12
