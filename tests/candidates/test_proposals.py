"""What is proposed, and from what: histories, the shelf, a taste that is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from feature_repo.candidates.history import History, histories, history_rows
from feature_repo.candidates.proposals import COLUMNS, METHODS, Proposer
from feature_repo.candidates.shelf import LEAST_OF_A_STORE, Shelf, shelf_at
from feature_repo.candidates.taste import NO_ITEM, Taste
from feature_repo.core.clock import DAY, to_us

AT = datetime(2026, 6, 1, tzinfo=UTC)
NOW = to_us(AT)
FAVOURITES = [f"i{n}" for n in range(38, 50)]


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(duckdb.connect()) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def lines(connection: duckdb.DuckDBPyConnection, rows: Sequence[dict[str, Any]]) -> str:
    usual = {
        "user_id": "u", "order_id": "o", "store_id": None, "category": "c", "manufacturer_id": "m", "amount": 1.0
    }  # fmt: skip
    frame = pd.DataFrame([{**usual, "event_id": f"e{n}", **row} for n, row in enumerate(rows)])
    connection.register("lines", frame)
    return "lines"


def days(count: float) -> datetime:
    return AT - timedelta(days=count)


def only(connection: duckdb.DuckDBPyConnection, rows: Sequence[dict[str, Any]]) -> History:
    [(_, found)] = histories(history_rows(connection, lines(connection, rows), NOW), NOW)
    return found


def taste(items: Sequence[str], near: dict[str, str] | None = None) -> Taste:
    """Know nothing but which item is next to which."""
    neighbours = np.full((len(items), 1), NO_ITEM, np.int32)
    for one, other in (near or {}).items():
        neighbours[items.index(one), 0] = items.index(other)
    none = np.zeros((0, 0))
    return Taste(
        items=np.array(items, object),
        factors=np.zeros((len(items), 2), np.float32),
        regularization=1.0,
        confidence=1.0,
        neighbours=neighbours,
        nearness=np.ones((len(items), 1), np.float32),
        centres=np.zeros((0, 2), np.float32),
        favourites=none.astype(np.int32),
        shares=none.astype(np.float32),
    )


def test_what_is_bought_at_the_instant_is_not_in_the_history(connection: duckdb.DuckDBPyConnection) -> None:
    found = only(connection, [{"item_id": "a", "event_timestamp": AT}, {"item_id": "b", "event_timestamp": days(1e-6)}])
    assert found.items == ("b",)


def test_an_item_twice_in_an_order_is_bought_once(connection: duckdb.DuckDBPyConnection) -> None:
    twice = [{"item_id": "a", "event_timestamp": days(1)}] * 2
    again = {"item_id": "a", "event_timestamp": days(9), "order_id": "p"}
    found = only(connection, [*twice, again])
    assert found.orders.tolist() == [2]
    assert [found.last_at[0], found.first_at[0]] == [NOW - DAY, NOW - 9 * DAY]


def test_an_order_counts_half_after_sixty_days(connection: duckdb.DuckDBPyConnection) -> None:
    found = only(
        connection,
        [
            {"item_id": "a", "event_timestamp": days(60)},
            {"item_id": "a", "event_timestamp": days(120), "order_id": "p"},
        ],
    )
    assert found.weight.tolist() == pytest.approx([0.75])


def test_a_history_is_read_as_it_was_written(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [{"item_id": each, "event_timestamp": days(each == "a"), "store_id": "s"} for each in ("a", "b")]
    found = only(connection, [{**row, "event_timestamp": days(n + 1)} for n, row in enumerate(rows)])
    again = History.from_json(found.to_json())
    assert again.items == found.items
    assert again.store == "s"
    for name in ("orders", "first_at", "last_at", "weight"):
        assert getattr(again, name).tolist() == getattr(found, name).tolist()


def test_the_shelf_is_read_as_it_was_written(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [{"item_id": "a", "event_timestamp": days(3), "user_id": f"u{n}"} for n in range(3)]
    found = shelf_at(connection, lines(connection, rows), NOW)
    again = Shelf.from_json(found.to_json())
    assert again.buyers_7d.tolist() == [3]
    assert again.items.tolist() == ["a"]
    assert again.to_json() == found.to_json()


@pytest.mark.parametrize(("age", "expected"), [(28 - 1e-9, 1), (28 + 1e-6, 0)])
def test_popular_is_what_was_bought_within_twenty_eight_days(
    connection: duckdb.DuckDBPyConnection, age: float, expected: int
) -> None:
    found = shelf_at(connection, lines(connection, [{"item_id": "a", "event_timestamp": days(age)}]), NOW)
    assert found.buyers_28d.tolist() == [expected]


def test_only_a_store_of_enough_shoppers_has_favourites(connection: duckdb.DuckDBPyConnection) -> None:
    def sold(store: str, shoppers: int) -> list[dict[str, Any]]:
        each = {"item_id": store, "event_timestamp": days(1), "store_id": store}
        return [{**each, "user_id": f"{store}{n}", "order_id": f"{store}{n}"} for n in range(shoppers)]

    rows = sold("large", LEAST_OF_A_STORE) + sold("small", LEAST_OF_A_STORE - 1)
    assert shelf_at(connection, lines(connection, rows), NOW).stores == {"large": {"large": 1.0}}


@pytest.fixture
def shelf(connection: duckdb.DuckDBPyConnection) -> Shelf:
    """Fifty items, the first the most popular, of which ``new`` sells this week; a store loves the last twelve."""
    rows = [
        {"item_id": f"i{n:02d}", "event_timestamp": days(10), "user_id": f"u{who}", "order_id": f"{n}/{who}"}
        for n in range(50)
        for who in range(60 - n)
    ]
    rows += [{"item_id": "new", "event_timestamp": days(1), "user_id": f"u{n}", "order_id": f"n{n}"} for n in range(30)]
    rows += [
        {"item_id": each, "event_timestamp": days(60), "user_id": f"s{n}", "order_id": f"s{n}", "store_id": "far"}
        for n in range(LEAST_OF_A_STORE)
        for each in FAVOURITES
    ]
    return shelf_at(connection, lines(connection, rows), NOW)


def proposed(proposer: Proposer, history: History) -> list[str]:
    return proposer.shelf.items[proposer.propose(history, NOW).places].tolist()


def test_a_new_shopper_is_proposed_what_is_popular_and_what_sells_now(shelf: Shelf) -> None:
    found = proposed(Proposer(taste(["i00"]), shelf), History.nothing(NOW))
    assert found[:3] == ["i00", "i01", "i02"]
    assert "new" in found


def test_a_new_shopper_in_a_store_is_proposed_its_favourites(shelf: Shelf) -> None:
    proposer = Proposer(taste(["i00"]), shelf)
    assert not set(FAVOURITES) & set(proposed(proposer, History.nothing(NOW)))
    assert set(FAVOURITES) <= set(proposed(proposer, History.nothing(NOW, store="far")))


def test_an_item_sold_since_the_taste_was_learnt_is_proposed_and_one_sold_no_more_is_no_error(shelf: Shelf) -> None:
    proposer = Proposer(taste(["gone", "i00", "i40"], near={"i00": "i40"}), shelf)
    history = bought("i00", "gone")
    found = proposed(proposer, history)
    assert "new" in found
    assert "gone" not in found
    assert {"i00", "i40"} <= set(found)


def test_what_is_near_to_what_was_bought_is_proposed(shelf: Shelf) -> None:
    found = Proposer(taste(["i00", "i45"], near={"i00": "i45"}), shelf).propose(bought("i00"), NOW)
    place = shelf.items[found.places].tolist().index("i45")
    assert found.column("neighbours")[place] == pytest.approx(1.0)
    assert not found.bought[place]


def test_a_weight_fades_after_the_history_was_written(shelf: Shelf) -> None:
    proposer, history = Proposer(taste(["i00"]), shelf), bought("i00")
    now, later = (proposer.propose(history, at).column("personal").max() for at in (NOW, NOW + 60 * DAY))
    assert [now, later] == pytest.approx([1.0, 0.5])


def test_a_habit_is_the_mean_gap_and_how_long_ago_against_it(shelf: Shelf) -> None:
    history = History(
        NOW, ("i00", "i01"), np.array([3, 1]), np.array([NOW - 25 * DAY] * 2), np.array([NOW - 5 * DAY] * 2), np.ones(2)
    )
    found = Proposer(taste(["i00"]), shelf).propose(history, NOW)
    items = shelf.items[found.places].tolist()
    gap, due = found.column("own_gap_days"), found.column("own_due")
    assert gap[items.index("i00")] == pytest.approx(10.0)
    assert due[items.index("i00")] == pytest.approx(5 / 10.5)
    assert [gap[items.index("i01")], gap[items.index("i02")]] == [-1.0, -1.0]


def test_proposals_hold_the_best_ten_of_every_method(shelf: Shelf) -> None:
    proposer = Proposer(taste([f"i{n:02d}" for n in range(50)], near={"i00": "i45", "i01": "i46"}), shelf)
    history = bought(*[f"i{n:02d}" for n in range(30)])
    few, whole = (proposer.propose(history, NOW, most=most) for most in (200, 10_000))
    assert len(few.places) <= 200
    for name in METHODS:
        best = np.argsort(-whole.column(name), kind="stable")[:10]
        wanted = whole.places[best][whole.column(name)[best] > 0]
        assert set(wanted) <= set(few.places), name


def test_no_value_of_a_proposal_is_null(shelf: Shelf) -> None:
    for history in (History.nothing(NOW), bought("i00", "new")):
        found = Proposer(taste(["i00"]), shelf).propose(history, NOW)
        for name in COLUMNS:
            assert len(found.column(name)) == len(found.places)
            assert np.isfinite(found.column(name)).all(), name


def bought(*items: str) -> History:
    ones = np.ones(len(items), np.int64)
    return History(NOW, items, ones, ones * (NOW - DAY), ones * (NOW - DAY), np.ones(len(items)))
