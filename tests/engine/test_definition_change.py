"""A changed definition: what the old state can answer rightly is served from it, what it cannot is missing."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from feature_repo.core.clock import DAY, HOUR, MINUTE
from feature_repo.core.errors import NotMaterializedError
from feature_repo.engine.entity_keys import entity_keys
from feature_repo.engine.oracle import oracle_value
from feature_repo.engine.spec import WindowedView, windowed_view_of
from feature_repo.engine.window_reader import ViewRead, WindowReader
from histories import BASE, Event, agrees, every_kernel_view, log_of, oracle_rows
from test_online_equals_oracle import NOW, builder, connection, online

__all__ = ["connection"]
BUILT = NOW + 30 * MINUTE
HISTORY = [
    Event("u0", "d", BUILT - DAY - 20 * MINUTE, 0, 7, 9.0),
    Event("u0", "a", BASE - 5 * DAY, 0, 2, 0.5),
    Event("u0", "b", BASE + 5 * HOUR + 20 * MINUTE, 0, 3, 1.5),
    Event("u0", "c", BASE + 6 * HOUR, 0, 4, -1.0),
]


@pytest.fixture
def old(tmp_path: Path, redis: Any, connection: Any) -> WindowedView:
    """A view with state: hop of 30 minutes, windows to 24 hours."""
    log_of(tmp_path / "h", HISTORY)
    spec = windowed_view_of(every_kernel_view(tmp_path / "h", hop=timedelta(minutes=30)))
    builder(connection, redis, BUILT).bring_to_head(spec)
    return spec


def wrong(client: Any, spec: WindowedView, at: int = BUILT) -> tuple[list[str], list[str]]:
    """Features whose value is not the oracle's, and those that are missing though the oracle has a value."""
    found, rows = online(client, spec, at, ["u0"])["u0"], oracle_rows(HISTORY)
    expected = {each.name: oracle_value(spec, each, rows, at) for each in spec.features}
    missing = [name for name, value in found.items() if value is None and expected[name] is not None]
    other = [
        each.name
        for each in spec.features
        if found[each.name] is not None and not agrees(found[each.name], expected[each.name], rows, each, at, spec.hop)
    ]
    return other, missing


@pytest.mark.parametrize("minutes", [30, 60, 120])
def test_a_longer_hop_is_answered_from_shorter_tiles(redis: Any, old: WindowedView, minutes: int) -> None:
    features = tuple(each for each in old.features if each.window % (minutes * MINUTE) == 0)
    other, missing = wrong(redis, replace(old, hop=minutes * MINUTE, features=features))
    assert other == []
    # The longest window begins before what is kept of the log, but for the hop it was kept by.
    assert {name.rsplit("_", 1)[1] for name in missing} == (set() if minutes == 30 else {"24h"})


def test_a_shorter_hop_is_missing_until_it_is_built(
    redis: Any, connection: Any, old: WindowedView, caplog: pytest.LogCaptureFixture
) -> None:
    shorter = replace(old, hop=5 * MINUTE)
    with caplog.at_level(logging.WARNING, "portrait"):
        other, missing = wrong(redis, shorter)
    assert other == []
    assert "count_all_2h" in missing
    assert "portrait jobs materialize --views history" in caplog.text
    builder(connection, redis).bring_to_head(shorter)
    assert wrong(redis, shorter) == ([], [])


def test_a_new_window_function_or_column_is_missing_and_the_others_are_served(redis: Any, old: WindowedView) -> None:
    by_name = {each.name: each for each in old.features}
    longer = replace(by_name["sum_units_24h"], name="sum_units_900d", window=900 * DAY)
    week = replace(by_name["sum_units_24h"], name="sum_units_7d", window=7 * DAY)
    another = replace(by_name["sum_units_24h"], name="sum_due_24h", column="due")
    kept = by_name["count_all_24h"]
    found = online(redis, replace(old, features=(kept, longer, week, another)), NOW, ["u0"])["u0"]
    assert found == {"count_all_24h": 2, "sum_units_900d": None, "sum_units_7d": None, "sum_due_24h": None}


def test_the_view_of_a_new_name_is_missing_beside_one_that_is_served(redis: Any, old: WindowedView) -> None:
    keys = entity_keys("online", old.join_keys, [pa.array(["u0"])])
    count = (old.feature("count_all_24h"),)
    fresh = ViewRead(replace(old, name="fresh"), count, keys)
    [[served], [missing]] = WindowReader("online").read(redis, [ViewRead(old, count, keys), fresh], NOW)
    assert served.data.tolist() == [2]
    assert missing.valid.tolist() == [False]
    with pytest.raises(NotMaterializedError, match="'fresh'"):
        WindowReader("online").read(redis, [fresh], NOW)
