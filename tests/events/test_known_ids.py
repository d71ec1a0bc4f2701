"""The set holds what was put in and nothing else, in whatever pieces it came, for as many days as it is asked to."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.core.clock import DAY, HOUR
from feature_repo.events import known_ids
from feature_repo.events.known_ids import KnownIds, first_of_each, hash_ids

HASHES = st.lists(st.integers(0, 40) | st.integers(2**64 - 3, 2**64 - 1), max_size=30)
# Half days collide with both ends of what is kept.
TIMED = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20)), max_size=30)
DAYS = 3


def added(known: KnownIds, numbers: list[int], times: list[int]) -> None:
    known.add(np.array(numbers, np.uint64), np.array(times, np.int64))


@pytest.fixture
def small_generations():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known_ids, "GENERATION", 7)
        yield patch


@given(st.lists(HASHES, max_size=8), HASHES)
def test_what_was_added_is_held_and_nothing_else(pieces: list[list[int]], asked: list[int]) -> None:
    known = KnownIds(0, days=DAYS)
    for piece in pieces:
        added(known, piece, [0] * len(piece))
    held = {number for piece in pieces for number in piece}
    assert known.holds(np.array(asked, np.uint64)).tolist() == [number in held for number in asked]


@pytest.mark.usefixtures("small_generations")
@given(st.lists(TIMED, max_size=12))
def test_all_that_came_since_are_held_and_nothing_that_did_not_come(pieces: list[list[tuple[int, int]]]) -> None:
    known, came, newest = KnownIds(0, days=DAYS), dict[int, int](), 0
    for piece in pieces:
        at = [half * 12 * HOUR for _, half in piece]
        added(known, [number for number, _ in piece], at)
        newest = max([newest, *at])
        for (number, _), time in zip(piece, at, strict=True):
            came[number] = max(came.get(number, 0), time)
        found = known.holds(np.arange(50, dtype=np.uint64)).tolist()
        assert known.since == newest - DAYS * DAY
        assert all(found[number] for number, time in came.items() if time >= known.since)
        assert {number for number in range(50) if found[number]} <= came.keys()


@pytest.mark.usefixtures("small_generations")
def test_what_is_too_old_goes_a_generation_at_a_time_and_no_more_is_held_than_that() -> None:
    known, sizes = KnownIds(0, days=DAYS), []
    for day in range(30):
        added(known, list(range(5 * day, 5 * day + 5)), [day * DAY] * 5)
        sizes.append(len(known))
    assert known.since == 26 * DAY
    assert max(sizes) <= 5 * (DAYS + 1) + 2 * (known_ids.GENERATION - 1)
    held = known.holds(np.arange(150, dtype=np.uint64))
    assert held[5 * 26 :].all()
    assert not held[: 5 * 26 - 2 * known_ids.GENERATION].any()


@pytest.mark.usefixtures("small_generations")
def test_ids_that_come_at_once_are_forgotten_by_their_own_times() -> None:
    known = KnownIds(0, days=DAYS)
    times = [(n * 17 % 60) * HOUR for n in range(60)]
    added(known, list(range(60)), times)
    added(known, [1_000], [DAYS * DAY + 50 * HOUR])
    held = known.holds(np.arange(60, dtype=np.uint64)).tolist()
    assert [held[n] for n in range(60) if times[n] >= known.since] == [True] * 10
    assert sum(held) <= 10 + known_ids.GENERATION


def test_more_than_fit_are_forgotten_from_the_oldest_on_and_that_is_said(
    small_generations: pytest.MonkeyPatch,
) -> None:
    small_generations.setattr(known_ids, "MOST_GENERATIONS", 2)
    known = KnownIds(0, days=DAYS)
    for hour in range(10):
        added(known, list(range(7 * hour, 7 * hour + 7)), [hour * HOUR] * 7)
    assert (len(known), known.since) == (14, 7 * HOUR + 1)
    assert known.holds(np.arange(70, dtype=np.uint64)).tolist() == [False] * 56 + [True] * 14


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
