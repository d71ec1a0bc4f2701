"""What came of an audience that was handed out: who was addressed beside who was held out, from the log.

Only what was held out by chance tells what addressing did. Without a holdout the rates of the addressed say how good
the audience was, and nothing of what would have happened anyway; then no difference is told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

from deltalake import DeltaTable

from feature_repo.core.clock import DAY, Clock, from_us, to_us
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.events.log import Snapshot, read_snapshot, reading
from feature_repo.events.schema import table_path
from serving.audiences.exported import HELD_OUT, Export, read_members
from serving.experiments.inference import Comparison, Sample, compare_means, compare_rates


@dataclass(frozen=True)
class Outcome:
    """Something that may have come of it: whether there was an event of a type, or the sum of ``value`` over them."""

    meaning: str
    table: str
    kind: Literal["rate", "mean"]
    value: str = "1"


OUTCOMES: Mapping[str, Outcome] = MappingProxyType(
    {
        "redeemed": Outcome("redeemed a coupon", "coupon_redeem", "rate"),
        "bought": Outcome("bought", "purchase", "rate"),
        "spent": Outcome("spent, per shopper", "purchase", "mean", "amount"),
    }
)


@dataclass(frozen=True)
class Result:
    """One outcome.

    Attributes
    ----------
    addressed, held_out
        Rate, or mean, of those; NaN of nobody.
    difference, low, high, p_value
        Addressed minus held out with a 95 % interval (Newcombe's of rates, Welch's of means); NaN without a holdout.
    """

    meaning: str
    kind: str
    addressed: float
    held_out: float
    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Results:
    """What came of an export.

    Attributes
    ----------
    begin, end
        Events in ``(begin, end]`` count.
    over
        Whether the log knows all of them.
    addressed, held_out
        How many shoppers, without those erased since.
    verdict
        In a sentence.
    """

    export: str
    campaign: str
    begin: datetime
    end: datetime
    over: bool
    addressed: int
    held_out: int
    results: Mapping[str, Result]
    verdict: str


def results_of(settings: Settings, export: Export, clock: Clock, *, days: int, coupons_of: str = "") -> Results:
    """Compare who was addressed with who was held out, over some days behind the export.

    Parameters
    ----------
    coupons_of
        A campaign of the log: only its coupons count.

    Raises
    ------
    DataError
        Who was handed out cannot be read.
    LogError
        A table of the log is damaged; one that does not exist yet is an empty one.
    """
    members = read_members(settings, export)
    begin, end = export.made_at, export.made_at + timedelta(days=days)
    names = {each.table for each in OUTCOMES.values()}
    paths = {name: table_path(settings.log_root, name) for name in names}
    tables = {name: read_snapshot(path) for name, path in paths.items() if DeltaTable.is_deltatable(str(path))}
    with ExitStack() as stack:
        connection = stack.enter_context(closing(connect_duckdb(settings)))
        stack.enter_context(reading(*tables.values()))
        connection.register("members", members)
        last = _last_event(connection, tables)
        found = {
            name: _result(connection, tables, outcome, (to_us(begin), to_us(end)), coupons_of)
            for name, outcome in OUTCOMES.items()
        }
    held = int(members[HELD_OUT].to_numpy().sum())
    over = last is not None and min(last, clock.now_us()) >= to_us(end) - DAY
    addressed = members.num_rows - held
    return Results(
        export.id,
        export.campaign,
        begin,
        end,
        over,
        addressed,
        held,
        found,
        _verdict(found, held, addressed, end, over=over),
    )


def _result(
    connection: Any, tables: Mapping[str, Snapshot], outcome: Outcome, span: tuple[int, int], coupons_of: str
) -> Result:
    samples = _samples(connection, tables, outcome, span, coupons_of)
    out, addressed = samples.get(True, _NOBODY), samples.get(False, _NOBODY)
    compare = compare_rates if outcome.kind == "rate" else compare_means
    found: Comparison = compare(out, addressed)
    return Result(
        outcome.meaning,
        outcome.kind,
        addressed.mean,
        out.mean,
        found.difference,
        found.low,
        found.high,
        found.p_value,
    )


_NOBODY = Sample(0, math.nan)


def _samples(
    connection: Any, tables: Mapping[str, Snapshot], outcome: Outcome, span: tuple[int, int], coupons_of: str
) -> dict[bool, Sample]:
    begin, end = span
    events = "SELECT NULL::VARCHAR AS user_id, 0::DOUBLE AS value WHERE false"
    if outcome.table in tables:
        only = " AND campaign_id = $campaign" if coupons_of and outcome.table == "coupon_redeem" else ""
        events = (
            f"SELECT user_id, {outcome.value} AS value FROM {tables[outcome.table].sql()}"
            f" WHERE epoch_us(event_timestamp) > {begin} AND epoch_us(event_timestamp) <= {end}{only}"
        )
    aggregate = "sum(value)" if outcome.kind == "mean" else "1"
    rows = connection.execute(
        f"""
        SELECT held_out, count(*), avg(value), coalesce(var_samp(value), 'nan'::DOUBLE) FROM (
            SELECT held_out, coalesce(found.value, 0)::DOUBLE AS value
            FROM members LEFT JOIN (SELECT user_id, {aggregate} AS value FROM ({events}) GROUP BY user_id) AS found
            USING (user_id)
        ) GROUP BY held_out
        """,
        {"campaign": coupons_of} if "$campaign" in events else None,
    ).fetchall()
    return {bool(out): Sample(int(n), float(mean), float(variance)) for out, n, mean, variance in rows}


def _last_event(connection: Any, tables: Mapping[str, Snapshot]) -> int | None:
    lasts = [f"SELECT max(epoch_us(event_timestamp)) AS ts FROM {table.sql()}" for table in tables.values()]
    if not lasts:
        return None
    [(found,)] = connection.execute(f"SELECT max(ts) FROM ({' UNION ALL '.join(lasts)})").fetchall()
    return None if found is None else int(found)


def _verdict(found: Mapping[str, Result], held: int, addressed: int, end: datetime, *, over: bool) -> str:
    if not held:
        return "The holdout is empty: what addressing them did is not known. Hold a part out next time (--holdout 0.1)."
    if not addressed:
        return "Nobody was addressed."
    told = [each for each in found.values() if each.p_value < _BOUND / len(found)]
    wait = "" if over else f"It is not over: the log does not reach {from_us(to_us(end)):%Y-%m-%d} yet. "
    if not told:
        return f"{wait}No difference beyond chance is shown between who was addressed and who was held out."
    said = "; ".join(f"they {each.meaning} {'more' if each.difference > 0 else 'less'}" for each in told)
    return f"{wait}Who was addressed differs from who was held out: {said}."


_BOUND = 0.05
