"""The set holds what was put in and nothing else, in whatever pieces it came."""

import duckdb
import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.events.known_ids import KnownIds, first_of_each, hash_ids

HASHES = st.lists(st.integers(0, 40) | st.integers(2**64 - 3, 2**64 - 1), max_size=30)


@given(st.lists(HASHES, max_size=8), HASHES)
def test_what_was_added_is_held_and_nothing_else(pieces: list[list[int]], asked: list[int]) -> None:
    known = KnownIds()
    for piece in pieces:
        known.add(np.array(piece, np.uint64))
    held = {number for piece in pieces for number in piece}
    assert known.holds(np.array(asked, np.uint64)).tolist() == [number in held for number in asked]


@given(HASHES)
def test_the_first_of_each_is_kept(numbers: list[int]) -> None:
    kept = first_of_each(np.array(numbers, np.uint64))
    assert [n for n, keep in zip(numbers, kept, strict=True) if keep] == list(dict.fromkeys(numbers))


def test_ids_are_hashed_in_order_and_alike_whatever_stands_beside_them() -> None:
    ids = [f"id-{n}" for n in range(200_000)] + ["", "é" * 300]
    with duckdb.connect(config={"threads": 1}) as connection:
        hashes = hash_ids(connection, pa.chunked_array([ids[:7], ids[7:]]))
        assert len(np.unique(hashes)) == len(ids)
        assert hash_ids(connection, pa.chunked_array([[ids[-1], ids[3]]])).tolist() == [hashes[-1], hashes[3]]
        [(read,)] = connection.sql("SELECT hash('id-3')").fetchall()
    assert read == hashes[3]
