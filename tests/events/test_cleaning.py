"""The door's rules hold for every table, and applying them again changes nothing."""

import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.core.errors import DataError
from feature_repo.events.cleaning import complete, faults, normalise
from feature_repo.events.schema import INT_MAX, INT_MIN, arrow_schema

INSTANT = pa.timestamp("us", "UTC")
instants = st.one_of(st.none(), st.integers(0, 5))
floats = st.one_of(st.none(), st.floats(), st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf]))
texts = st.one_of(
    st.none(), st.sampled_from(["", " ", "\t\u3000\n", " a ", "a  b"]), st.text(st.characters(codec="utf-8"))
)
rows = st.lists(st.tuples(instants, instants, instants, floats, texts), max_size=8)


def table_of(drawn: list[tuple]) -> pa.Table:
    types = [INSTANT, INSTANT, INSTANT, pa.float64(), pa.string()]
    names = ["event_timestamp", "client_timestamp", "ingested_at", "amount", "query"]
    columns = list(zip(*drawn, strict=True)) or [[]] * len(types)
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, types, strict=True)], names=names)


@given(rows)
def test_normalising_twice_is_normalising_once(drawn: list[tuple]) -> None:
    once = normalise(table_of(drawn))
    assert normalise(once).equals(once)


@given(rows)
def test_no_event_lies_after_its_arrival(drawn: list[tuple]) -> None:
    table = normalise(table_of(drawn)).to_pydict()
    for happened, arrived in zip(table["event_timestamp"], table["ingested_at"], strict=True):
        assert happened is None or arrived is None or happened <= arrived


@given(rows)
def test_floats_are_finite_and_zero_has_one_sign(drawn: list[tuple]) -> None:
    for before, after in zip(drawn, normalise(table_of(drawn))["amount"].to_pylist(), strict=True):
        given_amount = before[3]
        if given_amount is None or not math.isfinite(given_amount):
            assert after is None
        else:
            assert after == given_amount
            assert not (after == 0 and math.copysign(1, after) < 0)


@given(rows)
def test_strings_are_stripped_and_never_empty(drawn: list[tuple]) -> None:
    for text in normalise(table_of(drawn))["query"].to_pylist():
        assert text is None or (text and text == text.strip())


@pytest.mark.parametrize(
    ("said", "client", "arrived", "happened", "kept"),
    [
        (3, None, 5, 3, None),  # an honest clock: nothing to keep beside it
        (7, None, 5, 5, 7),  # a clock ahead: the arrival counts, the word is kept
        (5, None, 5, 5, None),
        (3, 7, 5, 5, 7),  # the client's own column is the client's word
        (9, 3, 5, 3, 3),
        (None, None, 5, 5, None),
    ],
)
def test_an_event_happened_when_it_was_said_but_not_after_it_arrived(
    said: int | None, client: int | None, arrived: int, happened: int, kept: int | None
) -> None:
    table = normalise(table_of([(said, client, arrived, None, None)]))
    found = [table[name].cast(pa.int64())[0].as_py() for name in ("event_timestamp", "client_timestamp")]
    assert found == [happened, kept]


def test_the_client_time_is_kept_even_if_the_source_has_no_such_column() -> None:
    table = normalise(table_of([(7, None, 5, None, None)]).drop_columns("client_timestamp"))
    assert table["client_timestamp"].cast(pa.int64()).to_pylist() == [7]


def test_completing_adds_orders_and_drops_columns() -> None:
    found = complete(pa.table({"amount": pa.array([1], pa.int32()), "unknown": [1]}), "purchase")
    assert found.column_names == arrow_schema("purchase").names
    assert found.schema.types == arrow_schema("purchase").types
    assert found["amount"].to_pylist() == [1.0]
    assert found["order_id"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"event_id": None}, "missing_event_id"),
        ({"user_id": None}, "missing_user_id"),
        ({"event_timestamp": None, "user_id": "2375"}, "missing_event_timestamp"),
        ({"user_id": "2375"}, "user_id_not_a_pseudonym"),
        ({"user_id": "u_" + "0" * 32 + "\n"}, "user_id_not_a_pseudonym"),
        ({"quantity": INT_MIN}, None),
        ({"quantity": INT_MAX}, None),
        ({"quantity": INT_MIN - 1}, "integer_out_of_range_quantity"),
        ({"quantity": INT_MAX + 1}, "integer_out_of_range_quantity"),
    ],
)
def test_a_row_that_cannot_be_committed_says_why(change: dict, reason: str | None) -> None:
    good = {"event_id": "a", "event_timestamp": 0, "ingested_at": 0, "user_id": "u_" + "0" * 32, "quantity": 1}
    row = {name: [value] for name, value in {**good, **change}.items()}
    assert faults(complete(pa.table(row), "purchase"), "purchase").to_pylist() == [reason]


@pytest.mark.parametrize("number", [INT_MIN, INT_MAX])
def test_an_integer_of_the_log_is_exact_as_a_double(number: int) -> None:
    assert int(float(number)) == number
    outside = number + (1 if number > 0 else -1)
    assert int(float(outside)) != outside


def test_a_value_its_type_cannot_hold_is_named_by_its_column_and_not_quoted() -> None:
    with pytest.raises(DataError, match="Column 'quantity' of 'purchase' has a string that is no int64") as caught:
        complete(pa.table({"quantity": ["2375 Ada"]}), "purchase")
    assert "Ada" not in str(caught.value)


def test_an_empty_table_has_no_faults() -> None:
    assert faults(arrow_schema("items").empty_table(), "items").to_pylist() == []
