"""Choose how a query folds events into tiles, from a sample of its spine.

Shoppers with a few hundred events are cheapest joined event by event. An item with thousands of events a day is not: a
row that stands in its day would read thousands of them. Which of the two a spine is made of is counted, not declared:
a sample of its rows says how many events their entities have and how many tiles of each width these occupy, and a
rough model of the time a plan takes, in pieces made and joined, picks among all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

import duckdb

from feature_repo.core.clock import DAY, HOUR, MINUTE
from feature_repo.engine.duckdb_sql import AT, ROW, Source, aliased, events_sql
from feature_repo.engine.spec import WindowedFeature, WindowedView
from feature_repo.engine.windows_sql import TilePlan

WIDTHS = (28 * DAY, 7 * DAY, DAY, HOUR, 5 * MINUTE)

# Below so many rows any plan is quick, and a sample is not worth reading the keys of the log for.
_FEWEST_ROWS = 2_000
_SAMPLED_ROWS = 64

# Microseconds of one core, measured; only their ratios matter.
_MAKE = 0.10  # fold one event or tile into a tile
_JOIN = 0.06  # join one piece to a row and merge it, with the pieces of an entity side by side
_SCATTERED = 0.15  # the same, with the pieces in any order
_SORT = 0.12  # bring one event beside the others of its entity
_LEVEL = 0.40  # look up one row in one more level


@dataclass(frozen=True)
class Density:
    """What a spine and the events behind it look like.

    Attributes
    ----------
    rows, entities
        Of the spine.
    events
        In the span the windows look at, of the entity of an average row.
    entity_events
        The same, of an average entity.
    occupied
        Width (us) -> tiles of that width with events, of the entity of an average row.
    reads
        Width (us) -> distinct (entity, tile) the rows stand in.
    longest
        Longest window as a share of that span.
    ends
        Ends of windows a row has: one more than it has windows.
    """

    rows: int
    entities: int
    events: float
    entity_events: float
    occupied: Mapping[int, float]
    reads: Mapping[int, int]
    longest: float
    ends: int


def widths_for(hop: int) -> tuple[int, ...]:
    """Tile widths that fit a hop, coarsest first: each divides the one before, and the hop or is a multiple of it.

    >>> [width // MINUTE for width in widths_for(2 * HOUR)]
    [40320, 10080, 1440, 120, 60, 5]
    """
    fitting = (width for width in WIDTHS if width % hop == 0 or hop % width == 0)
    return tuple(sorted({*fitting, hop}, reverse=True))


def plan_for(
    connection: duckdb.DuckDBPyConnection,
    view: WindowedView,
    features: Sequence[WindowedFeature],
    *,
    source: Source,
    spine: str,
    keys: dict[str, str],
    span: tuple[int, int],
    rows: int,
) -> TilePlan:
    """Return a plan for a query of ``rows`` spine rows; arguments as in ``windows_sql``."""
    plain = TilePlan((view.hop,), clustered=False)
    if rows < _FEWEST_ROWS:
        return plain
    reaches = [feature.reach for feature in features]
    density = measured(connection, view, source=source, spine=spine, keys=keys, span=span, reaches=reaches)
    return chosen_plan(density, view.hop) if density else plain


def chosen_plan(density: Density, hop: int) -> TilePlan:
    """Return the plan that the model thinks fastest."""
    known = widths_for(hop)
    ladders = chain.from_iterable(combinations(known, n) for n in range(len(known) + 1))
    plans = [
        TilePlan(widths, shared=shared, clustered=not widths)
        for widths in ladders
        for shared in ((False, True) if widths else (False,))
    ]
    return min(plans, key=lambda plan: cost(density, plan, hop))


def cost(density: Density, plan: TilePlan, hop: int) -> float:
    """Microseconds a plan is thought to take, beyond what every plan does."""
    # Pieces of each level, of the entity of an average row: tiles, coarsest first, and single events.
    levels = [*(density.occupied[width] for width in plan.widths), density.events]
    splits = [density.ends if width > hop else 1 for width in plan.widths]
    taken = [levels[0] * density.longest]
    taken += [n * finer / coarser for n, coarser, finer in zip(splits, levels, levels[1:], strict=False)]
    folded = sum(levels[1:]) / density.events * density.entity_events * density.entities
    if not plan.widths:
        return density.rows * taken[0] * _JOIN + density.entity_events * density.entities * _SORT
    rows = density.reads[min(hop, plan.widths[-1])] if plan.shared else density.rows
    looked_up = len(plan.widths) * rows + (density.rows if plan.shared else 0)
    return folded * _MAKE + looked_up * _LEVEL + (rows * sum(taken[:-1]) + density.rows * taken[-1]) * _SCATTERED


def measured(
    connection: duckdb.DuckDBPyConnection,
    view: WindowedView,
    *,
    source: Source,
    spine: str,
    keys: dict[str, str],
    span: tuple[int, int],
    reaches: Sequence[int],
) -> Density | None:
    """Count what a plan is chosen by; None if the sampled rows have no events. Arguments as in ``windows_sql``."""
    widths = widths_for(view.hop)
    names = ", ".join(f"k{i}" for i in range(len(keys)))
    reads = ", ".join(f"approx_count_distinct(hash({names}, instant // {width}))" for width in widths)
    rows, entities, *stood = _one(
        connection,
        f"SELECT count(*), approx_count_distinct(hash({names})), {reads} "
        f"FROM (SELECT {aliased(keys.values())}, {AT} AS instant FROM {spine})",
    )
    step = -(-rows // _SAMPLED_ROWS)
    occupied = ", ".join(f"approx_count_distinct(ts // {width}) AS n{i}" for i, width in enumerate(widths))
    found = ", ".join(["sum(events * weight)", "avg(events)", *(f"sum(n{i} * weight)" for i in range(len(widths)))])
    events, entity_events, *tiles = _one(
        connection,
        f"WITH sampled AS (SELECT {aliased(keys.values())}, count(*) AS weight FROM {spine} "
        f"WHERE {ROW} % {step} = 0 GROUP BY ALL) SELECT {found} FROM (SELECT weight, count(*) AS events, {occupied} "
        f"FROM ({events_sql(view, keys, (), source, span, max(reaches))}) JOIN sampled USING ({names}) "
        f"GROUP BY {names}, weight)",
    )
    if not events:
        return None
    sampled = -(-rows // step)
    return Density(
        rows=rows,
        entities=entities,
        events=events / sampled,
        entity_events=entity_events,
        occupied={width: n / sampled for width, n in zip(widths, tiles, strict=True)},
        reads=dict(zip(widths, stood, strict=True)),
        longest=max(reaches) / (span[1] - span[0] + max(reaches)),
        ends=len(set(reaches)) + 1,
    )


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    [row] = connection.execute(query).fetchall()
    return tuple(row)
