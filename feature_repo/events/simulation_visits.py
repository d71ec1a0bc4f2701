"""Shoppers, missions and visits of a simulated shop as DuckDB tables: a value is a hash of seed, name and number."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa

from feature_repo.core.clock import HOUR, SECOND
from feature_repo.events import simulation_model as model
from feature_repo.events.simulation_plan import Plan
from feature_repo.privacy.pseudonyms import Pseudonymiser


def prepare(connection: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """Create what all shoppers share: the macros, ``calendar`` and ``item``."""
    _macros(connection, plan.seed)
    weights = model.calendar(plan)
    hours = plan.begin_us + HOUR * np.arange(len(weights))
    connection.register("calendar_rows", pa.table({"hour": hours, "weight": weights}))
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE calendar_hour AS SELECT * FROM calendar_rows;
        CREATE OR REPLACE TEMP TABLE calendar AS
        SELECT row_number() OVER (ORDER BY hour) - 1 AS unit, hour
        FROM (SELECT hour, unnest(range(weight)) AS nth FROM calendar_rows)
    """)
    connection.unregister("calendar_rows")
    connection.execute(_ITEMS)


def simulate_visits(
    connection: duckdb.DuckDBPyConnection, plan: Plan, pseudonymiser: Pseudonymiser, low: int, high: int
) -> None:
    """Create ``shopper``, ``mission`` and ``visit`` of the shoppers numbered ``[low, high)``.

    Visits reach beyond ``plan.end_us``, as the calendar does. Instants are integers, microseconds.
    """
    numbers = np.arange(low, high)
    names = pseudonymiser.pseudonyms(pa.array([plan.raw_id(int(number)) for number in numbers], pa.string()))
    connection.register("names", pa.table({"n": numbers, "user_id": names}))
    weights = model.calendar(plan)
    values = {
        "seed": plan.seed,
        "begin": plan.begin_us,
        "hours": plan.days * 24,
        "span": plan.days * 24 * HOUR,
        "horizon": plan.begin_us + len(weights) * HOUR,
        "missions": repr(model.missions_per_user(plan, weights)),
        "units": int(weights.sum()),
    }
    for query in (_SHOPPERS, _MISSIONS, _VISITS):
        connection.execute(query.format(**values))
    connection.unregister("names")


def _macros(connection: duckdb.DuckDBPyConnection, seed: int) -> None:
    # DuckDB combines hashes of several values weakly: with one round, unit('x', n) and unit('y', n) correlate by -0.6.
    keys = ("a", "a, b", "a, b, c", "a, b, c, d")
    units = ", ".join(
        f"(name, {key}) AS ((hash(hash({seed}, name, {key})) >> 11) / 9007199254740992.0)" for key in keys
    )
    codes = ", ".join(f"(name, {key}) AS lower(to_hex(hash(hash({seed}, name, {key}))))" for key in keys)
    connection.execute(f"CREATE OR REPLACE MACRO unit {units}")  # in [0, 1)
    connection.execute(f"CREATE OR REPLACE MACRO code {codes}")
    connection.execute("CREATE OR REPLACE MACRO fixed(name, a) AS (hash(hash(name, a)) >> 11) / 9007199254740992.0")
    connection.execute("CREATE OR REPLACE MACRO whole(x) AS CAST(floor(x) AS BIGINT)")


def _texts(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(f"'{value}'" for value in values) + "]"


_ITEMS = f"""
    CREATE OR REPLACE TEMP TABLE item AS
    SELECT n AS item, printf('p%05d', n) AS item_id,
        {_texts(model.CATEGORIES)}[n // {model.ITEMS_PER_CATEGORY} + 1] AS category,
        {_texts(model.DEPARTMENTS)}[n // {model.ITEMS_PER_CATEGORY} + 1] AS department,
        printf('m%02d', whole(fixed('maker', n) * 40)) AS manufacturer_id,
        printf('brand-%02d', whole(fixed('brand', n) * 60)) AS brand,
        whole(199 + 300 * exp(4.5 * fixed('price', n))) AS cents
    FROM range({len(model.CATEGORIES) * model.ITEMS_PER_CATEGORY}) t(n)
"""

_SHOPPERS = f"""
    CREATE OR REPLACE TEMP TABLE shopper AS
    SELECT *, joined + CASE WHEN unit('leaves', n) < {model.LEAVES}
        THEN whole(unit('stays', n) * ({{horizon}} - joined) / {HOUR}) * {HOUR} ELSE {{horizon}} END AS gone,
        whole(rate + 8e3 * sqrt(rate) + 12e6) // 1000000 AS tries
    FROM (
        SELECT n, user_id, printf('s{{seed}}-%05x-', n // 1000) AS block, unit('bot', n) < {model.BOTS} AS bot,
            -- in millionths of a mission, as sums of integers do not depend on their order
            whole({{missions}} * 1e6 * least({model.ACTIVITY_MOST}, exp({model.ACTIVITY_SIGMA}
                * sqrt(-2 * ln(1 - unit('activity', n))) * cos(2 * pi() * unit('phase', n))
                - {model.ACTIVITY_SIGMA**2 / 2}))) AS rate,
            {{begin}} + CASE WHEN unit('late', n) < {model.JOINS_LATER}
                THEN whole(unit('joins', n) * {model.JOINS_WITHIN} * {{hours}}) * {HOUR} ELSE 0 END AS joined,
            whole({model.PACE_S[0]} + unit('pace', n) * {model.PACE_S[1] - model.PACE_S[0]}) * {SECOND} AS pace,
            {model.CART[0]} + {model.CART[1]} * unit('cart', n) AS carts,
            {model.BUYS_FIRST[0]} + {model.BUYS_FIRST[1]} * unit('first', n) AS buys_first,
            {model.BUYS_SECOND[0]} + {model.BUYS_SECOND[1]} * unit('second', n) AS buys_second,
            whole(unit('taste', n) * {len(model.CATEGORIES)}) AS early,
            whole(unit('other taste', n) * {len(model.CATEGORIES)}) AS later,
            0.2 + 0.6 * unit('turn', n) AS turn,
            ['mobile', 'mobile', 'mobile', 'desktop', 'desktop', 'tablet'][1 + whole(unit('device', n) * 6)] AS device,
            ['north', 'east', 'south', 'west', 'centre'][1 + whole(unit('region', n) * 5)] AS region
        FROM names
    )
"""

# Gaps of an exponential law, summed, are the arrivals of a Poisson process; the calendar bends their times.
_MISSIONS = f"""
    CREATE OR REPLACE TEMP TABLE mission AS
    SELECT *, carts AND unit('buys first', n, k) < buys_first AS bought,
        least(pages, 1 + (unit('lines', n, k) < 0.3)::INT + (unit('lines', n, k) < 0.1)::INT) AS lines,
        CASE WHEN unit('why', n, k) < {model.TASTE} THEN
                CASE WHEN unit('turned', n, k) < (start - {{begin}}) / {{span}} * 3 - turn * 3 + 0.5
                THEN later ELSE early END
            WHEN unit('why', n, k) < {model.SEASON} THEN {list(model.SEASONAL)}[month(make_timestamp(start))]
            ELSE whole(unit('any', n, k) * {len(model.CATEGORIES)}) END AS category
    FROM (
        SELECT s.* EXCLUDE (carts), k, hour + whole(unit('start', n, k) * {HOUR}) AS start,
            NOT bot AND unit('carts', n, k) < s.carts AS carts,
            CASE WHEN bot THEN {model.BOT_PAGES[0]} + whole(unit('pages', n, k) * {model.BOT_PAGES[1]})
            ELSE least(20, 1 + whole(-3 * ln(1 - unit('pages', n, k)))) END AS pages
        FROM (
            SELECT *, CAST(sum(gap) OVER (PARTITION BY n ORDER BY k ROWS UNBOUNDED PRECEDING) AS BIGINT) AS place
            FROM (SELECT *, whole(-1e6 * ln(1 - unit('gap', n, k))) AS gap
                FROM (SELECT *, unnest(range(tries)) AS k FROM shopper WHERE rate > 0))
        ) AS s JOIN calendar ON unit = place * {{units}} // rate
        WHERE place < rate AND hour >= joined AND hour < gone
    )
"""

_VISITS = f"""
    CREATE OR REPLACE TEMP TABLE visit AS
    SELECT *, code('visit', n, k, v) AS session_id, CASE WHEN bot THEN pages * {model.BOT_STEP_S * SECOND} ELSE pace END
        AS length
    FROM (
        SELECT *, 0 AS v, carts AS fills, bought AS buys FROM mission
        UNION ALL
        SELECT * REPLACE (start + {model.LAG_LEAST_US}
            + whole(unit('lag', n, k) * {model.LAG_MOST_US - model.LAG_LEAST_US}) AS start),
            1 AS v, false AS fills, unit('buys second', n, k) < buys_second AS buys
        FROM mission WHERE carts AND NOT bought AND unit('returns', n, k) < {model.RETURNS}
    )
"""
