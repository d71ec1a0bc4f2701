"""How each shopper behaved up to an instant: pace, hours, coupons, returns, from order lines, returns and redemptions.

All figures are of the 84 days before the instant (an event at it is not known), of shoppers who bought something then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.core.clock import DAY
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.events.log import reading
from feature_repo.jobs.log_tables import present_tables
from training.data.log_views import Versions, head_versions, open_tables
from training.written.basis import content_fingerprint

WINDOW, LATE = 84 * DAY, 28 * DAY
TABLES = ("purchase", "return", "coupon_redeem")

# What the rest reads; every table of it is filled once, so that copies of shoppers can be put beside them.
_LINES = """
CREATE TEMP TABLE lines AS SELECT
    user_id, event_timestamp AS ts, coalesce(order_id, epoch_us(event_timestamp)::VARCHAR) AS order_id,
    greatest(coalesce(amount, 0), 0) AS amount,
    greatest(coalesce(coupon_discount, 0) + coalesce(coupon_match_discount, 0), 0) AS coupon
FROM purchase WHERE epoch_us(event_timestamp) >= $since AND epoch_us(event_timestamp) < $at
"""
_BACK = """
CREATE TEMP TABLE back AS SELECT user_id, count(*) AS returns, sum(greatest(coalesce(amount, 0), 0)) AS returned
FROM "return" WHERE epoch_us(event_timestamp) >= $since AND epoch_us(event_timestamp) < $at GROUP BY user_id
"""
_REDEEMED = """
CREATE TEMP TABLE redeemed AS SELECT user_id, count(*) AS redemptions
FROM coupon_redeem WHERE epoch_us(event_timestamp) >= $since AND epoch_us(event_timestamp) < $at GROUP BY user_id
"""
QUERY = """
WITH orders AS (
    SELECT
        user_id, order_id, min(ts) AS ts, timezone($zone, min(ts)) AS wall, sum(amount) AS amount,
        sum(coupon) AS coupon, count(*) AS items, count(*) FILTER (coupon > 0) AS couponed,
        epoch_us(min(ts)) >= $late AS late
    FROM {lines} GROUP BY user_id, order_id
), paced AS (
    SELECT *, count(*) OVER (
        PARTITION BY user_id ORDER BY ts RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW
    ) AS within_hour FROM orders
), days AS (
    SELECT user_id, max(n) AS orders_of_a_day, max(couponed) AS coupon_lines_of_a_day FROM (
        SELECT user_id, count(*) AS n, sum(couponed) AS couponed FROM orders GROUP BY user_id, wall::DATE
    ) GROUP BY user_id
), totals AS (
    SELECT
        user_id, count(*) AS orders, max(within_hour) AS orders_of_an_hour,
        count(*) FILTER (hour(wall) < 5) AS odd_hour_orders,
        sum(amount) AS spend, max(amount) AS largest_order, sum(items) AS order_lines,
        sum(coupon) AS couponed, sum(couponed) AS coupon_lines, max(couponed) AS coupon_lines_of_an_order,
        count(*) FILTER (couponed > 0) AS coupon_orders,
        coalesce(sum(items) FILTER (late), 0) AS late_lines,
        coalesce(sum(couponed) FILTER (late), 0) AS late_coupon_lines
    FROM paced GROUP BY user_id
)
SELECT
    user_id, orders::DOUBLE AS orders, orders_of_an_hour::DOUBLE AS orders_of_an_hour,
    orders_of_a_day::DOUBLE AS orders_of_a_day, odd_hour_orders::DOUBLE AS odd_hour_orders,
    odd_hour_orders / orders AS odd_hour_share,
    round(spend / orders, 2) AS spend_per_order, round(largest_order, 2) AS largest_order,
    coupon_lines::DOUBLE AS coupon_lines, coupon_lines / order_lines AS coupon_line_share,
    coupon_orders / orders AS coupon_order_share,
    late_coupon_lines::DOUBLE AS coupon_lines_28d,
    late_coupon_lines / greatest(late_lines, 1) AS coupon_line_share_28d,
    coupon_lines_of_an_order::DOUBLE AS coupon_lines_of_an_order,
    coupon_lines_of_a_day::DOUBLE AS coupon_lines_of_a_day,
    round(couponed / greatest(couponed + spend, 0.01), 4) AS coupon_money_share,
    coalesce(redemptions, 0)::DOUBLE AS redemptions, coalesce(returns, 0)::DOUBLE AS returns,
    round(least(coalesce(returned, 0) / greatest(spend, 0.01), 1), 4) AS return_rate
FROM totals JOIN days USING (user_id) LEFT JOIN back USING (user_id) LEFT JOIN redeemed USING (user_id)
"""

BEHAVIOURS = (
    "orders",
    "orders_of_an_hour",
    "orders_of_a_day",
    "odd_hour_orders",
    "odd_hour_share",
    "spend_per_order",
    "largest_order",
    "coupon_lines",
    "coupon_line_share",
    "coupon_order_share",
    "coupon_lines_28d",
    "coupon_line_share_28d",
    "coupon_lines_of_an_order",
    "coupon_lines_of_a_day",
    "coupon_money_share",
    "redemptions",
    "returns",
    "return_rate",
)


@dataclass(frozen=True, eq=False)
class Behaviour:
    """How shoppers behaved up to an instant.

    Attributes
    ----------
    frame
        One row per shopper: ``user_id`` and ``BEHAVIOURS`` (float64, no NULLs), ordered by content, never by pseudonym.
    at
        The instant (us).
    log_versions
        Table -> version everything was read at.
    """

    frame: pd.DataFrame = field(repr=False)
    at: int
    log_versions: Versions

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """``float64[n, len(BEHAVIOURS)]``."""
        return self.frame[list(BEHAVIOURS)].to_numpy(np.float64)

    @property
    def shoppers(self) -> int:
        """How many there are."""
        return len(self.frame)

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits of the content, whoever's it is."""
        return content_fingerprint(self.matrix)


@contextmanager
def opened(settings: Settings, at: int, versions: Versions | None = None) -> Iterator[Opened]:
    """Read what shoppers did before an instant (us) into a connection of its own.

    Raises
    ------
    LogError
        A table is damaged.
    """
    pinned = versions or head_versions(settings, [name for name in TABLES if name in present_tables(settings)])
    with closing(connect_duckdb(settings)) as connection:
        snapshots = open_tables(connection, settings, pinned)
        with reading(*snapshots):
            for name, query in _FILLED.items():
                missing = name not in pinned
                connection.execute(
                    _EMPTY[name] if missing else query, {} if missing else {"since": at - WINDOW, "at": at}
                )
        yield Opened(connection, settings, at, pinned)


@dataclass(frozen=True, eq=False)
class Opened:
    """What shoppers did in a window, held by a connection: the tables ``lines``, ``back`` and ``redeemed``."""

    connection: duckdb.DuckDBPyConnection
    settings: Settings
    at: int
    versions: Versions

    def behaviour(self, lines: str = "lines") -> Behaviour:
        """Return how shoppers behaved, by a table of order lines."""
        asked = self.connection.sql(
            QUERY.format(lines=lines), params={"zone": self.settings.zone, "late": self.at - LATE}
        )
        frame: pd.DataFrame = asked.to_arrow_table().to_pandas()
        ordered = frame.sort_values([*BEHAVIOURS, "user_id"], kind="stable").reset_index(drop=True)
        return Behaviour(ordered, self.at, self.versions)


_FILLED: Mapping[str, str] = {"purchase": _LINES, "return": _BACK, "coupon_redeem": _REDEEMED}
_EMPTY: Mapping[str, str] = {
    "purchase": "CREATE TEMP TABLE lines "
    "(user_id VARCHAR, ts TIMESTAMPTZ, order_id VARCHAR, amount DOUBLE, coupon DOUBLE)",
    "return": "CREATE TEMP TABLE back (user_id VARCHAR, returns BIGINT, returned DOUBLE)",
    "coupon_redeem": "CREATE TEMP TABLE redeemed (user_id VARCHAR, redemptions BIGINT)",
}


def behaviour_at(settings: Settings, at: int) -> Behaviour:
    """Return how shoppers behaved before an instant (us), by the log's heads.

    Raises
    ------
    LogError
        A table is damaged.
    """
    with opened(settings, at) as log:
        return log.behaviour()
