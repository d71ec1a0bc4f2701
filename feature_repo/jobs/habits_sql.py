"""The SQL of habits: favourites, rhythm, and standing among all shoppers, of the events before an instant.

Everything is counted in whole events, so that the order in which DuckDB reads them changes nothing; means and sums of
money are rounded for the same reason. Who has too few events for a habit has none: NULL.
"""

from __future__ import annotations

from dataclasses import dataclass

from feature_repo.core.clock import DAY

HABIT = 182 * DAY
STANDING = 84 * DAY

# So many events make a habit. With fewer, the most frequent of them is chance.
LINES = 5
PRICED_LINES = 20
VISITS = 6
GAPS = 4
ITEMS = 5

_DAYPARTS = """CASE
    WHEN hour(wall) < 6 THEN 'night' WHEN hour(wall) < 12 THEN 'morning' WHEN hour(wall) < 17 THEN 'afternoon'
    WHEN hour(wall) < 21 THEN 'evening' ELSE 'night'
END"""


@dataclass(frozen=True)
class Favourite:
    """The most frequent values of a column.

    Attributes
    ----------
    column
        Of the lines or visits.
    rows
        Table expression that has it.
    names
        Columns for the first, second, ... most frequent value.
    share
        Column for the share of the first.
    least
        So many values are needed.
    """

    column: str
    rows: str
    names: tuple[str, ...]
    share: str
    least: int

    def sql(self) -> str:
        """Return one row per shopper; of values equally frequent the smallest comes first."""
        picked = ", ".join(f"any_value({self.column}) FILTER (place = {n + 1}) AS {name}" for n, name in self._placed)
        return f"""
SELECT user_id, {picked}, any_value(times / whole) FILTER (place = 1) AS {self.share}
FROM (
    SELECT
        user_id, {self.column}, count(*) AS times,
        sum(count(*)) OVER (PARTITION BY user_id) AS whole,
        row_number() OVER (PARTITION BY user_id ORDER BY count(*) DESC, {self.column}) AS place
    FROM {self.rows} WHERE {self.column} IS NOT NULL GROUP BY user_id, {self.column}
)
WHERE whole >= {self.least} GROUP BY user_id""".strip()

    @property
    def _placed(self) -> list[tuple[int, str]]:
        return list(enumerate(self.names))


FAVOURITES = (
    Favourite("category", "line", ("favourite_category", "second_category", "third_category"), "category_share", LINES),
    Favourite("brand", "line", ("favourite_brand",), "brand_share", LINES),
    Favourite("manufacturer_id", "line", ("favourite_maker",), "maker_share", LINES),
    Favourite("weekday", "visit", ("weekday",), "weekday_share", VISITS),
    Favourite("daypart", "visit", ("daypart",), "daypart_share", VISITS),
)

_GAPS = f"""
SELECT
    user_id,
    median(gap) AS cycle_days,
    (quantile_cont(gap, 0.75) - quantile_cont(gap, 0.25)) / median(gap) AS cycle_spread
FROM (
    SELECT user_id, day - lag(day) OVER (PARTITION BY user_id ORDER BY day) AS gap
    FROM (SELECT DISTINCT user_id, wall::DATE AS day FROM visit)
)
WHERE gap IS NOT NULL GROUP BY user_id HAVING count(*) >= {GAPS}"""

# A shopper's level is the mean rank of what they choose among the items of its category, line by line.
_PRICES = f"""
SELECT user_id, percent_rank() OVER (ORDER BY level) AS price_rank
FROM (
    SELECT user_id, round(avg(rank), 6) AS level
    FROM line JOIN (
        SELECT category, item_id, percent_rank() OVER (PARTITION BY category ORDER BY price) AS rank
        FROM (
            SELECT category, item_id, round(sum(amount) / sum(quantity), 4) AS price
            FROM line WHERE category IS NOT NULL AND item_id IS NOT NULL AND amount > 0 AND quantity > 0
            GROUP BY category, item_id
        )
        QUALIFY count(*) OVER (PARTITION BY category) >= {ITEMS}
    ) USING (category, item_id)
    GROUP BY user_id HAVING count(*) >= {PRICED_LINES}
)"""

_STANDING = """
SELECT
    user_id,
    percent_rank() OVER (ORDER BY spend) AS spend_rank,
    percent_rank() OVER (ORDER BY visits) AS visit_rank,
    CASE WHEN lines IS NOT NULL THEN percent_rank() OVER (PARTITION BY lines IS NULL ORDER BY lines) END AS basket_rank
FROM (
    SELECT user_id, round(coalesce(sum(amount), 0), 2) AS spend, count(*) AS visits, round(avg(lines), 6) AS lines
    FROM visit WHERE recent GROUP BY user_id
)"""


def habits_sql(purchases: str, payments: str, *, at: int, zone: str) -> str:
    """Return a query of everybody's habits: ``user_id`` and the columns of the table ``user_habits``.

    Parameters
    ----------
    purchases, payments
        Table expressions of order lines and of orders.
    at
        Instant (us): events at it are not known yet.
    zone
        IANA name of the shop's time zone, whose weekdays and hours these are.
    """
    parts = {
        f"part_{n}": sql for n, sql in enumerate([*(each.sql() for each in FAVOURITES), _GAPS, _PRICES, _STANDING])
    }
    ctes = ",\n".join(f"{name} AS ({sql})" for name, sql in parts.items())
    joins = "\n".join(f"LEFT JOIN {name} USING (user_id)" for name in parts)
    seconds = ", ".join(f"{name}.* EXCLUDE (user_id)" for name in parts)
    return f"""
WITH line AS (
    SELECT * FROM {purchases} WHERE user_id IS NOT NULL AND {_within(at, HABIT)}
), visit AS (
    SELECT *, isodow(wall)::BIGINT AS weekday, {_DAYPARTS} AS daypart, {_within(at, STANDING)} AS recent
    FROM (SELECT *, timezone('{zone}', event_timestamp) AS wall FROM {payments})
    WHERE user_id IS NOT NULL AND {_within(at, HABIT)}
), shopper AS (
    SELECT user_id FROM line UNION SELECT user_id FROM visit
),
{ctes}
SELECT user_id, {seconds}
FROM shopper
{joins}
ORDER BY user_id""".strip()


def _within(at: int, length: int) -> str:
    return f"event_timestamp < make_timestamptz({at}) AND event_timestamp >= make_timestamptz({at - length})"
