"""Whatever an entry of the stream holds, it is a row of the log or of quarantine afterwards, and its neighbours too."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.events.cleaning import faults
from feature_repo.events.quarantine import QUARANTINE_SCHEMA
from feature_repo.events.schema import INT_MAX, TABLES, arrow_schema
from feature_repo.events.stream.bodies import read_each, read_together
from feature_repo.events.stream.channel import Entries
from feature_repo.events.stream.decode import Decoded, decode

ADA = "u_" + "0" * 32
T = 1_764_000_000_000_000
ARRIVED = T + 5_000
GOOD = {"event_id": "a", "event_timestamp": T, "ingested_at": T + 1, "user_id": ADA, "item_id": "7", "quantity": 1}


def body(**change: object) -> bytes:
    said = {**GOOD, **change}
    return json.dumps({name: value for name, value in said.items() if value is not ...}).encode()


def entries(bodies: Sequence[bytes], kinds: Sequence[str] | str = "purchase", partition: int = 0) -> Entries:
    count = len(bodies)
    types = [kinds] * count if isinstance(kinds, str) else kinds
    arrived = np.full(count, ARRIVED, np.int64)
    return Entries(partition, f"x-{partition}", np.arange(count, dtype=np.int64) * 3 + 7, arrived, types, bodies)


def reasons(decoded: Decoded) -> list[str]:
    return decoded.refused["reason"].to_pylist()


def instants(rows: pa.Table, name: str) -> list[int | None]:
    found: list[int | None] = rows[name].cast(pa.int64()).to_pylist()
    return found


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not_json"),
    "blank": (b"  ", "not_json"),
    "cut": (body()[:-5], "not_json"),
    "no bytes of text": (b'{"item_id": "\xff"}', "not_json"),
    "utf-16": (body().decode().encode("utf-16"), "not_json"),
    "two objects": (body() + body(event_id="b"), "not_json"),
    "two objects, the second numbered": (body() + b'{"_n": 1}', "not_json"),
    "what follows": (body() + b"]", "not_json"),
    "deep": (b'{"a":' * 100_000, "not_json"),
    "deep lists": (b"[" * 100_000, "not_json"),
    "a list": (b"[" + body() + b"]", "not_an_object"),
    "a number": (b"7", "not_an_object"),
    "null": (b"null", "not_an_object"),
    "text for a number": (body(quantity="1"), "wrong_type_quantity"),
    "half a unit": (body(quantity=1.5), "wrong_type_quantity"),
    "truth for a number": (body(quantity=True), "wrong_type_quantity"),
    "number for a text": (body(item_id=7), "wrong_type_item_id"),
    "half a character": (b'{"item_id": "\\ud800"}', "wrong_type_item_id"),
    "object for a text": (body(item_id={}), "wrong_type_item_id"),
    "list for money": (body(amount=[1]), "wrong_type_amount"),
    "no instant": (body(event_timestamp="yesterday"), "wrong_type_event_timestamp"),
    "no zone": (body(event_timestamp="2026-01-01T00:00:00"), "wrong_type_event_timestamp"),
    "too large for 64 bits": (body(quantity=2**63), "out_of_range_quantity"),
    "too large for a double": (body(quantity=INT_MAX + 1), "integer_out_of_range_quantity"),
    "nanoseconds": (body(client_timestamp=T * 1000), "instant_out_of_range_client_timestamp"),
    "before the calendar": (body(event_timestamp=-(2**62)), "instant_out_of_range_event_timestamp"),
    "nobody": (body(user_id=...), "missing_user_id"),
    "a blank user": (body(user_id=" "), "missing_user_id"),
    "a raw id": (body(user_id="2375"), "user_id_not_a_pseudonym"),
    "a number as user": (body(user_id=2375), "wrong_type_user_id"),
}


@pytest.mark.parametrize(("broken", "reason"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_row_says_why_and_leaves_its_neighbours_alone(broken: bytes, reason: str) -> None:
    found = decode([entries([body(event_id="first"), broken, body(event_id="last")])], "redis")
    assert reasons(found) == [reason]
    assert found.arrivals["purchase"].rows["event_id"].to_pylist() == ["first", "last"]
    assert found.arrivals["purchase"].position.tolist() == [7, 13]
    assert found.upto == {"x-0": 13}


@pytest.mark.parametrize(
    "pieces",
    [
        (body(event_id="x") + b'{"event_id": "y"}', b'{"z": [', b'{"q": 1}]}'),
        (body(event_id="x") + b'{"_n": 2, "z": [', b'{"q": 1}]}'),
        (b'{"event_id": "x"', b'{"event_id": "y"}}'),
    ],
)
def test_bodies_that_are_objects_only_together_are_none_and_move_nobody(pieces: tuple[bytes, ...]) -> None:
    found = decode([entries([body(event_id="first"), *pieces, body(event_id="last")])], "redis")
    assert reasons(found) == ["not_json"] * len(pieces)
    assert found.arrivals["purchase"].rows["event_id"].to_pylist() == ["first", "last"]
    assert found.arrivals["purchase"].position.tolist() == [7, 7 + 3 * (len(pieces) + 1)]


def test_an_unknown_type_and_none_are_refused() -> None:
    found = decode([entries([body()] * 3, ["purchase", "purchase_" + ADA, ""])], "redis")
    assert reasons(found) == ["unknown_event_type", "missing_event_type"]
    assert found.refused["event_type"].to_pylist() == ["unknown", "unknown"]


def test_no_entries_are_no_rows() -> None:
    found = decode([entries([])], "redis")
    assert (found.arrivals, found.refused.num_rows, found.upto) == ({}, 0, {})
    assert decode([], "redis").refused.schema.names == QUARANTINE_SCHEMA.names


def test_an_event_without_an_id_gets_the_one_of_its_entry() -> None:
    found = decode([entries([body(), body(event_id=...), body(event_id=" ")], partition=3)], "redis")
    assert found.arrivals["purchase"].rows["event_id"].to_pylist() == ["a", "s-x-3-10", "s-x-3-13"]
    assert found.arrivals["purchase"].app_ids == {3: "x-3"}


def test_an_event_without_its_arrival_arrived_when_the_broker_took_it() -> None:
    rows = decode([entries([body(ingested_at=...), body()])], "redis").arrivals["purchase"].rows
    assert instants(rows, "ingested_at") == [ARRIVED, T + 1]
    bare = decode([entries([body(ingested_at=..., event_timestamp=...)])], "redis").arrivals["purchase"].rows
    assert instants(bare, "event_timestamp") == instants(bare, "ingested_at") == [ARRIVED]


def test_a_clock_ahead_is_kept_beside_the_arrival() -> None:
    rows = decode([entries([body(event_timestamp=T + 10**9)])], "redis").arrivals["purchase"].rows
    assert instants(rows, "event_timestamp") == [T + 1]
    assert instants(rows, "client_timestamp") == [T + 10**9]


def test_other_forms_of_the_same_are_understood() -> None:
    said = body(quantity=2.0, event_timestamp="2025-11-24T16:00:00+00:00", amount=math.nan, more={"x": [1]})
    rows = decode([entries([said])], "redis").arrivals["purchase"].rows
    assert rows.select(["quantity", "amount"]).to_pylist() == [{"quantity": 2, "amount": None}]
    assert instants(rows, "event_timestamp") == [T]


def test_types_and_partitions_are_sorted_out_in_the_order_of_their_entries() -> None:
    first = entries([body(event_id=name) for name in "abc"], ["purchase", "view", "purchase"])
    second = entries([body(event_id=name) for name in "de"], ["view", "purchase"], partition=2)
    found = decode([first, second], "redis")
    held = {kind: arrived.rows["event_id"].to_pylist() for kind, arrived in found.arrivals.items()}
    assert held == {"purchase": ["a", "c", "e"], "view": ["b", "d"]}
    assert found.arrivals["purchase"].partition.tolist() == [0, 0, 2]
    assert found.arrivals["view"].position.tolist() == [10, 7]
    assert found.upto == {"x-0": 13, "x-2": 10}


def test_the_same_entries_are_refused_as_the_same_rows() -> None:
    given_bodies = [broken for broken, _ in BROKEN.values()]
    first, again = (decode([entries(given_bodies)], "redis").refused for _ in range(2))
    assert first.equals(again)
    assert (
        len(set(first["event_id"].to_pylist()))
        == len([row for row in first["payload"].to_pylist() if "bytes" in row]) + 1
    )


def test_a_raw_id_is_nowhere_in_what_is_refused_and_a_pseudonym_is() -> None:
    raw = "ada@example.com"
    bodies = [body(user_id=raw), body(user_id=raw, quantity="x"), b'{"user_id": "' + raw.encode(), body(quantity="x")]
    refused = decode([entries(bodies)], "redis").refused
    assert raw not in str(refused.to_pylist())
    assert refused["user_id"].to_pylist().count(ADA) == 1


values = {
    pa.string(): st.one_of(st.text(st.characters(codec="utf-8"), max_size=5), st.just(ADA)),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**6), 10**6)),
    pa.bool_(): st.booleans(),
    pa.timestamp("us", "UTC"): st.integers(-(2**63), 2**63 - 1),
}


@st.composite
def objects(draw: st.DrawFn, event_type: str) -> bytes:
    row = {}
    for field in arrow_schema(event_type):
        if draw(st.booleans()):
            row[field.name] = draw(st.one_of(st.none(), values[field.type]))
    return json.dumps(row, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))).encode()


@given(st.data(), st.sampled_from(sorted(TABLES)))
def test_reading_at_once_is_reading_one_by_one(data: st.DataObject, event_type: str) -> None:
    bodies = data.draw(st.lists(objects(event_type), min_size=1, max_size=4))
    rows, unread = read_each(bodies, event_type)
    at_once = read_together(bodies, event_type)
    assert not unread
    if any(body == b"{}" for body in bodies):
        return  # refused at once, read one by one
    assert at_once is not None
    assert at_once.equals(rows)


anything = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([broken for broken, _ in BROKEN.values()]),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.sampled_from([*GOOD, "_n", "x"]), inner, max_size=4)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)


@given(st.lists(st.tuples(anything, st.sampled_from(["purchase", "view", "items", "", "x\ud800"])), max_size=6))
def test_no_bytes_raise_or_take_a_good_neighbour_with_them(drawn: list[tuple[bytes, str]]) -> None:
    bodies, kinds = [], []
    for n, (broken, kind) in enumerate(drawn):
        bodies += [body(event_id=f"good-{n}"), broken]
        kinds += ["purchase", kind]
    found = decode([entries([*bodies, body(event_id="last")], [*kinds, "purchase"])], "redis")
    kept = found.arrivals["purchase"].rows["event_id"].to_pylist()
    assert [name for name in kept if name.startswith("good-") or name == "last"] == [
        *(f"good-{n}" for n in range(len(drawn))),
        "last",
    ]
    rows = sum(arrived.rows.num_rows for arrived in found.arrivals.values())
    assert rows + found.refused.num_rows == len(bodies) + 1
    for event_type, arrived in found.arrivals.items():
        assert arrived.rows.schema.types == arrow_schema(event_type).types
        assert faults(arrived.rows, event_type).null_count == arrived.rows.num_rows
        assert len(arrived.partition) == len(arrived.position) == arrived.rows.num_rows
