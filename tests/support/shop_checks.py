"""Whether a home holds what a sender meant: in the log, in quarantine, and in Redis."""

from __future__ import annotations

import math
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from feature_repo.core.clock import SECOND, FixedClock, SystemClock
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb, connect_redis
from feature_repo.engine.feature_store import kept_views, open_store, stored_views
from feature_repo.engine.oracle import oracle_value
from feature_repo.engine.positions import Positions
from feature_repo.engine.spec import is_windowed, windowed_view_of
from feature_repo.events.log import read_snapshot
from feature_repo.events.schema import arrow_schema
from feature_repo.jobs.materialize import materialize
from feature_repo.jobs.parity import parity
from feature_repo.jobs.redis_side import RedisSide
from shop_stream import ITEMS, USERS, Traffic, pseudonym, rows_about

_ORACLE = {  # by event type
    "view": ("user_views_live", "user_views", "item_views_live"),
    "purchase": ("user_purchases", "user_category_purchases", "item_purchases", "item_purchases_live"),
    "cart": ("user_carts_live", "user_carts", "item_carts_live"),
}

_EVERY = 5  # the oracle is slow

Values = dict[str, dict[str, list[Any]]]


def assert_holds(settings: Settings, traffic: Traffic, *, quarantined_again: bool = False) -> None:
    """Everything a sender meant is there, once, and nothing else; Redis says so, and says the same when built anew.

    Parameters
    ----------
    quarantined_again
        The sender sent some messages again that may have been taken: what nobody can read has no id, and is kept twice.
    """
    assert_logged(settings, traffic)
    assert_quarantined(settings, traffic, again=quarantined_again)
    at = SystemClock().now_us() + SECOND
    assert_equals_oracle(settings, traffic, at)
    report = parity(settings, FixedClock(at), users=USERS)
    assert report.mismatches == 0, report
    before = values_of(settings, at)
    # As of the same instant: five minutes later, a window of a day has lost its first tile.
    materialize(settings, FixedClock(at), full=True)
    assert_same(before, values_of(settings, at))


def assert_logged(settings: Settings, traffic: Traffic) -> None:
    """Every good event is in the log once, as it was meant."""
    for kind, meant in traffic.good.items():
        rows = rows_of(settings, kind)
        ids = [row["event_id"] for row in rows]
        assert len(ids) == len(set(ids)), f"{kind}: {len(ids) - len(set(ids))} doubled"
        lost, foreign = set(meant) - set(ids), set(ids) - set(meant)
        assert not lost, f"{kind}: {len(lost)} of {len(meant)} lost, such as {sorted(lost)[:5]}"
        assert not foreign, f"{kind}: {sorted(foreign)[:5]}"
        for row in rows:
            assert {key: _plain(row[key]) for key in meant[row["event_id"]]} == meant[row["event_id"]]


def assert_quarantined(settings: Settings, traffic: Traffic, *, again: bool = False) -> None:
    """Every broken message is in quarantine, once unless it was sent again."""
    found = rows_of(settings, "quarantine")
    ids = [row["event_id"] for row in found]
    assert len(ids) == len(set(ids))
    named = {each for each in ids if each.startswith("broken-")}
    meant = {f"broken-{traffic.seed}-{n}" for n in range(traffic.broken) if n % 5 in {0, 1}}
    assert named == meant, f"{len(meant - named)} of {len(meant)} lost"
    unreadable = len(ids) - len(named)
    expected = traffic.broken - len(meant)
    assert unreadable >= expected if again else unreadable == expected, f"{unreadable} unreadable, not {expected}"


def assert_equals_oracle(settings: Settings, traffic: Traffic, at: int) -> None:
    """Redis says of shoppers, items and categories what the oracle says of what the sender meant."""
    with closing(connect_redis(settings)) as client:
        store = open_store()
        for kind, names in _ORACLE.items():
            unsaid = dict.fromkeys(arrow_schema(kind).names)
            meant = [unsaid | row for row in traffic.good[kind].values()]
            for view in stored_views(store, list(names)):
                entities = _entities(sorted(view.join_keys))[::_EVERY]
                side = RedisSide(store, client, view, pa.Table.from_pylist(entities), at)
                online = side.values(side.held())
                spec = windowed_view_of(view)
                for i, entity in enumerate(entities):
                    mine = rows_about(meant, entity)
                    for each in spec.features:
                        expected = oracle_value(spec, each, mine, at)
                        assert close(online[each.name][i], expected), (view.name, each.name, entity, expected)


def values_of(settings: Settings, at: int) -> Values:
    """Return what Redis says in every windowed view of everybody that it holds."""
    with closing(connect_redis(settings)) as client:
        store = open_store()
        found = {}
        kept = kept_views(stored_views(store), Positions(client, store.project).recorded())
        for view in filter(is_windowed, kept):
            side = RedisSide(store, client, view, pa.Table.from_pylist(_entities(sorted(view.join_keys))), at)
            found[view.name] = side.values(side.held())
    return found


def assert_same(before: Values, after: Values) -> None:
    """All values are the same; floats up to noise."""
    for view, columns in before.items():
        for name, column in columns.items():
            for old, new in zip(column, after[view][name], strict=True):
                assert close(old, new), (view, name, old, new)


def close(found: Any, expected: Any) -> bool:
    """Whether two values are the same; amounts of quarters add up without noise, what is divided or fades does not."""
    if isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)
    return bool(found == expected)


def rows_of(settings: Settings, table: str) -> list[dict[str, Any]]:
    """Return the rows of a table of the log."""
    with connect_duckdb(settings) as connection:
        found: list[dict[str, Any]] = (
            connection.sql(f"FROM {read_snapshot(settings.log_root / table).sql()}").to_arrow_table().to_pylist()
        )
    return found


def _entities(keys: list[str]) -> list[dict[str, Any]]:
    known = {
        "user_id": [pseudonym(n) for n in range(USERS)],
        "item_id": [f"i{n}" for n in range(ITEMS)],
        "category": [f"c{n}" for n in range(5)],
    }
    found: list[dict[str, Any]] = [{}]
    for key in keys:
        found = [each | {key: value} for each in found for value in known[key]]
    return found


def _plain(value: Any) -> Any:
    return round(value.astimezone(UTC).timestamp() * SECOND) if isinstance(value, datetime) else value
