"""The simulated shop's own probability that a shopper buys within 24 hours: what `purchase_intent` is measured against.

It is what is known of the shopper's character (rate, pace, habits) and of every visit that ended by the instant, and
nothing of what comes: no model can be better calibrated. With ``D`` the length of the shopper's visits, the purchase
stands at a visit's end, so that purchases in ``(t, t + 24 h]`` are made by visits begun in ``(t - D, t - D + 24 h]``.

- Missions not begun are a Poisson process. One that begins ``x`` before the end of that span buys within it with
  probability ``c f + c (1 - f) r s F(x)``: it fills a cart (``c``), buys it at once (``f``), or comes back for it
  (``r``) in time (``F``, the law of the lag) and buys then (``s``). Thinned so, they are Poisson again, and at least
  one comes with probability ``1 - exp(-integral)``.
- A cart left by a visit begun at ``b`` whose shopper has not come back is bought within the span with probability
  ``r s (F(t' + 24 h - b) - F(t' - b)) / (1 - r F(t' - b))``, ``t' = t - D``.

All are independent, so the probabilities that nothing is bought multiply.
"""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.core.clock import DAY, HOUR
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.events.simulation_model import LAG_LEAST_US, LAG_MOST_US, RETURNS, calendar
from feature_repo.events.simulation_plan import Plan
from feature_repo.events.simulation_sending import chunks
from feature_repo.events.simulation_visits import prepare, simulate_visits
from feature_repo.privacy.pseudonyms import load_pseudonymiser

HORIZON_US = DAY


def purchase_probability(settings: Settings, plan: Plan, user_ids: pa.Array, at: pa.Array) -> pa.Array:
    """Return the true probability of a purchase with ``t < event_timestamp <= t + 24 h``, for each row.

    Parameters
    ----------
    settings
        The home the plan was simulated in: its key names the shoppers.
    plan
        The shop, as `simulation_plan.kept_plan` reads it.
    user_ids, at
        Pseudonyms, and instants ``t`` (``timestamp[us, UTC]``) not before the plan's begin.

    Returns
    -------
    pa.Array
        float64 in [0, 1), in the rows' order. A robot's is 0.

    Raises
    ------
    DataError
        A shopper is not of this shop.
    """
    pseudonymiser = load_pseudonymiser(settings.home)
    names = pseudonymiser.pseudonyms(pa.array(map(plan.raw_id, range(plan.users)), pa.string()))
    numbers = pc.index_in(user_ids, names)
    if numbers.null_count:
        raise DataError(
            f"{numbers.null_count} rows are of shoppers the simulated shop of seed {plan.seed} does not have.",
            hint="take user ids from the log of the same home, and its plan from `kept_plan`.",
        )
    shoppers = numbers.to_numpy()
    result = np.zeros(len(shoppers))
    query = _PROBABILITY.format(units=calendar(plan).sum())
    with closing(connect_duckdb(settings)) as connection:
        prepare(connection, plan)
        for low, high in chunks(settings, plan):
            rows = np.flatnonzero((shoppers >= low) & (shoppers < high))
            if not len(rows):
                continue
            simulate_visits(connection, plan, pseudonymiser, low, high)
            instants = at.cast(pa.int64()).take(pa.array(rows))
            connection.register("spine", pa.table({"r": rows, "shopper": shoppers[rows], "t": instants}))
            found = connection.sql(query).to_arrow_table()
            result[found["r"].to_numpy()] = found["p"].to_numpy()
            connection.unregister("spine")
    return pa.array(result)


_LAG = f"greatest(0, least(1, ({{}} - {LAG_LEAST_US}) / {LAG_MOST_US - LAG_LEAST_US}))"
# The integral of the law of the lag from 0 to a time below its end.
_AREA = f"greatest(0, {{}} - {LAG_LEAST_US}) ** 2 / {2 * (LAG_MOST_US - LAG_LEAST_US)}"

_PROBABILITY = f"""
    WITH asked AS (
        SELECT r, t - pace AS known, shopper.* FROM spine JOIN shopper ON n = shopper WHERE NOT bot
    ), piece AS (
        SELECT *, greatest(known, hour) AS since, least(known + {HORIZON_US}, hour + {HOUR}) AS until
        FROM (SELECT *, (known // {HOUR} + unnest(range({HORIZON_US // HOUR + 1}))) * {HOUR} AS hour FROM asked)
        JOIN calendar_hour USING (hour) WHERE hour >= joined AND hour < gone
    ), fresh AS (
        SELECT r, sum(rate / 1e6 * weight / {{units}} / {HOUR} * (
            carts * buys_first * (until - since) + carts * (1 - buys_first) * {RETURNS} * buys_second
            * ({_AREA.format(f"(known + {HORIZON_US} - since)")} - {_AREA.format(f"(known + {HORIZON_US} - until)")})
        )) AS expected
        FROM piece GROUP BY r
    ), left_cart AS (
        SELECT r, sum(ln(1 - {RETURNS} * asked.buys_second
            * ({_LAG.format(f"known + {HORIZON_US} - v.start")} - {_LAG.format("known - v.start")})
            / (1 - {RETURNS} * {_LAG.format("known - v.start")}))) AS unsold
        FROM asked JOIN visit AS v ON v.n = asked.n AND v.v = 0 AND v.start <= known
            AND v.start > known - {LAG_MOST_US}
        ANTI JOIN visit AS again ON again.n = v.n AND again.k = v.k AND again.v = 1 AND again.start <= known
        WHERE v.carts AND NOT v.bought GROUP BY r
    )
    SELECT r, 1 - exp(coalesce(unsold, 0) - coalesce(expected, 0)) AS p
    FROM asked LEFT JOIN fresh USING (r) LEFT JOIN left_cart USING (r) ORDER BY r
"""
