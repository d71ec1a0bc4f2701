"""The plan follows from what a spine's entities look like, and never changes an answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.core.clock import DAY, HOUR, MINUTE
from feature_repo.engine.tile_plan import Density, chosen_plan, widths_for

ROWS = 1_000_000


def density(events: float, *, entities: int, days: int = 180, rows: int = ROWS) -> Density:
    """Events spread evenly over the span, and rows over its second half."""

    def occupied(width: int) -> float:
        tiles = days * DAY / width
        return tiles * (1 - (1 - 1 / max(tiles, 2)) ** events)

    widths = widths_for(5 * MINUTE)
    return Density(
        rows=rows,
        entities=entities,
        events=events,
        entity_events=events,
        occupied={width: occupied(width) for width in widths},
        reads={width: min(rows, int(entities * days * DAY / width / 2)) for width in widths},
        longest=0.5,
        ends=4,
    )


@pytest.mark.parametrize("events", [20, 200])
@pytest.mark.parametrize("hop", [HOUR, DAY])
def test_shoppers_are_joined_event_by_event(events: int, hop: int) -> None:
    plan = chosen_plan(density(events, entities=100_000), hop)
    assert plan.widths == ()
    assert plan.clustered


@pytest.mark.parametrize("hop", [5 * MINUTE, HOUR, DAY])
def test_rows_of_hot_items_read_no_more_than_minutes_of_single_events(hop: int) -> None:
    plan = chosen_plan(density(500_000, entities=20), hop)
    assert plan.widths[0] >= DAY
    assert plan.widths[-1] <= HOUR


@given(
    hop=st.sampled_from([5 * MINUTE, 30 * MINUTE, HOUR, 6 * HOUR, DAY, 2 * DAY, 3 * DAY]),
    events=st.floats(1, 1e6),
    rows=st.integers(1, ROWS),
)
def test_every_plan_is_a_ladder_that_fits_the_hop(hop: int, events: float, rows: int) -> None:
    known = density(events, entities=1_000, rows=rows)
    known = replace(known, occupied=known.occupied | {hop: events}, reads=known.reads | {hop: rows})
    plan = chosen_plan(known, hop)
    assert all(coarser % finer == 0 for coarser, finer in zip(plan.widths, plan.widths[1:], strict=False))
    assert all(width % hop == 0 or hop % width == 0 for width in plan.widths)
