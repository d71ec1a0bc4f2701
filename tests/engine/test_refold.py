"""A state that is folded anew is that of the log, even if a writer merges into the one of before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import redis as redis_py

from feature_repo.core.clock import SystemClock
from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine import refold
from feature_repo.engine.entity_keys import entity_keys
from feature_repo.engine.feature_store import open_store, stored_views
from feature_repo.engine.positions import Layout, Positions
from feature_repo.engine.redis_writer import RedisWriter
from feature_repo.engine.refold import Refolder
from feature_repo.engine.spec import WindowedView, windowed_view_of
from feature_repo.engine.tile_codec import TileCodec
from feature_repo.events.door import admit
from feature_repo.events.removal import remove_rows
from feature_repo.events.schema import table_path
from feature_repo.jobs.features import apply
from feature_repo.jobs.materialize import materialize

pytestmark = pytest.mark.slow(15)

ADA, BOB = ("u_" + digit * 32 for digit in "ab")
AT = datetime.now(UTC) - timedelta(days=1)


def buy(settings: Settings, *events: tuple[str, str, str]) -> None:
    times = pa.array([AT] * len(events), pa.timestamp("us", "UTC"))
    ids, users, items = zip(*events, strict=True)
    columns = {"event_id": ids, "user_id": users, "item_id": items, "amount": [1.0] * len(ids)}
    admit(
        settings.log_root, "purchase", pa.table({**columns, "event_timestamp": times, "ingested_at": times}), source="t"
    )


@pytest.fixture
def view(settings: Settings) -> WindowedView:
    """Item view of a log of two commits, applied; what ADA bought is not in the log any more."""
    apply()
    buy(settings, ("a", ADA, "tea"), ("b", BOB, "tea"), ("c", ADA, "jam"))
    materialize(settings, SystemClock())
    buy(settings, ("d", BOB, "tea"), ("e", BOB, "cod"))
    materialize(settings, SystemClock())
    buy(settings, ("f", BOB, "tea"))  # committed, and not applied
    remove_rows(table_path(settings.log_root, "purchase"), ADA[2:])
    [found] = stored_views(open_store(), ["item_purchases"])
    return windowed_view_of(found)


def keys(*items: str) -> list[bytes]:
    return entity_keys(open_store().project, ["item_id"], [pa.array(items)])


def tiles(redis: redis_py.Redis, view: WindowedView, item: str) -> tuple[int, int]:
    """Version that an item's state holds, and how many purchases it counts."""
    codec = TileCodec(view.monoids)
    state, [version] = codec.decode([redis.hget(keys(item)[0], layout_of(redis, view).field)])
    [counts] = [
        column for each, column in zip(codec.tiled, state.tiles.states, strict=True) if each.key.startswith("rows.")
    ]
    return int(version), int(np.sum(counts))


def layout_of(redis: redis_py.Redis, view: WindowedView) -> Layout:
    layout = Positions(redis, open_store().project).serving(view.name)
    assert layout is not None
    return layout


def refolder(settings: Settings, redis: redis_py.Redis) -> Refolder:
    return Refolder(connect_duckdb(settings), redis, open_store().project, SystemClock())


def test_each_state_is_folded_up_to_the_version_it_holds(
    settings: Settings, redis: redis_py.Redis, view: WindowedView
) -> None:
    assert [tiles(redis, view, item) for item in ("tea", "jam", "cod")] == [(2, 3), (1, 1), (2, 1)]
    assert refolder(settings, redis).refold(view, keys("tea", "jam", "none")) == 2
    assert [tiles(redis, view, item) for item in ("tea", "jam", "cod")] == [(2, 2), (1, 0), (2, 1)]
    assert not redis.exists(*keys("none"))
    materialize(settings, SystemClock())
    assert tiles(redis, view, "tea")[1] == 3


def test_a_writer_who_read_the_state_before_does_not_bring_it_back(
    settings: Settings, redis: redis_py.Redis, view: WindowedView, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, merge = layout_of(redis, view), RedisWriter.merge
    codec, key = TileCodec(view.monoids), keys("tea")
    old, versions = codec.decode([redis.hget(key[0], layout.field)])
    late = codec.encode(old, 3)  # as if the applier had merged a commit of its own into it
    times: list[int] = []

    def outrun(self: RedisWriter, *args: Any) -> Any:
        taken = merge(self, *args)
        times.append(1)
        if len(times) == 1:
            assert merge(self, key, layout.field, versions, late, []).tolist() == [True]
        return taken

    monkeypatch.setattr(RedisWriter, "merge", outrun)
    assert refolder(settings, redis).refold(view, key) == 1
    assert tiles(redis, view, "tea") == (3, 3)  # b, d and f of BOB; the one brought back was a, b and d
    assert len(times) == 2


def test_writers_who_always_come_first_are_said(
    settings: Settings, redis: redis_py.Redis, view: WindowedView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refold, "MAX_PASSES", 3)
    monkeypatch.setattr(RedisWriter, "merge", lambda _, keys, *rest: np.zeros(len(keys), bool))
    with pytest.raises(StoreUnavailableError, match="View 'item_purchases': other writers"):
        refolder(settings, redis).refold(view, keys("tea"))


def test_a_state_of_an_earlier_definition_is_folded_by_that_one(
    settings: Settings, redis: redis_py.Redis, view: WindowedView
) -> None:
    [wider] = [each for each in view.features if each.name == "count_7d"] or view.features[:1]
    changed = replace(view, features=(*view.features, replace(wider, name="more", window=3 * wider.window)))
    assert refolder(settings, redis).refold(changed, keys("tea", "jam")) == 2
    assert [tiles(redis, view, item) for item in ("tea", "jam")] == [(2, 2), (1, 0)]


def test_a_state_that_cannot_be_folded_any_more_has_to_be_built(
    settings: Settings, redis: redis_py.Redis, view: WindowedView
) -> None:
    other = replace(view, source_name="till_log")
    assert refolder(settings, redis).refold(other, keys("tea")) is None
