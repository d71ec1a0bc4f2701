"""Ranges of a sorted history, and what is found in them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.engine.past import Line, below, portions, spread

Positions = st.integers(0, 40)


@given(values=st.lists(Positions, max_size=40), asked=st.lists(st.tuples(Positions, Positions, Positions), max_size=20))
def test_values_below_a_limit_are_counted_in_ranges(values: list[int], asked: list[tuple[int, int, int]]) -> None:
    ranges = [(*sorted(min(end, len(values)) for end in ends), limit) for *ends, limit in asked]
    start, stop, limits = (np.array([each[i] for each in ranges], np.int64) for i in range(3))
    found = below(np.array(values, np.int64), start, stop, limits)
    assert found.tolist() == [sum(value < limit for value in values[a:b]) for a, b, limit in ranges]


@given(st.lists(st.tuples(Positions, Positions), max_size=20))
def test_ranges_are_spread_into_their_positions(ranges: list[tuple[int, int]]) -> None:
    lo, hi = (np.array([sorted(pair)[i] for pair in ranges], np.int64) for i in range(2))
    positions, starts = spread(lo, hi)
    assert positions.tolist() == [i for a, b in ranges for i in range(min(a, b), max(a, b))]
    assert starts.tolist() == [sum((hi - lo).tolist()[:i]) for i in range(len(ranges))]
    for most in (None, 1, 3):
        slices = list(portions(hi - lo, most=most))
        assert [i for each in slices for i in range(len(ranges))[each]] == list(range(len(ranges)))
        assert all(each.stop - each.start <= (most or len(ranges)) for each in slices)


def test_entities_never_share_a_place_and_none_is_lost_at_the_ends_of_a_span() -> None:
    line = Line(first=-10, last=20)
    instants = np.array([-11, -10, 0, 20, 21, 10**15])
    places = [line.places(np.full(6, entity), instants) for entity in (0, 1, line.capacity - 1)]
    for one in places:
        assert (np.diff(one) >= 0).all()
        assert len(set(one.tolist())) == 5  # before, three within, behind
    assert places[0].max() < places[1].min()
    assert places[2].max() < 2**63 - 1
