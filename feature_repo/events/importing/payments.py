"""Payments of a log that has none: one for each order, the sum over its lines.

An order is what a shopper and a store know by one order id; lines without an id that a shopper has at one instant are
one order too. It is paid when its last line is known. Its id follows from the order alone: the same order in another
export is the same payment, even if that export has more of its lines.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa

from feature_repo.events.importing.convert import LINE
from feature_repo.events.importing.mapping import Mapping
from feature_repo.events.importing.staging import COMMIT_ROWS, FILE, Staged
from feature_repo.events.log import CLIENT_TIMESTAMP, EVENT_ID, EVENT_TIMESTAMP, INGESTED_AT

PAYMENT = "payment"
PURCHASE = "purchase"

_COUPONS = ("coupon_discount", "coupon_match_discount")
_ID = "'i-' || left(sha256(to_json(struct_pack(payment := user_id, store_id, order_id, moment))::VARCHAR), 32)"

# Lines that several files hold are one line. The moment is what the file says: a line dated ahead of now is in the log
# at now, which is another instant when it comes again. Sums of DOUBLEs depend on the order they are added in: it is
# fixed here.
_PAYMENTS = f"""
SELECT {_ID} AS {EVENT_ID}, * EXCLUDE (moment) FROM (
    SELECT
        user_id, order_id, store_id,
        CASE WHEN order_id IS NULL THEN coalesce({CLIENT_TIMESTAMP}, {EVENT_TIMESTAMP}) END AS moment,
        max({EVENT_TIMESTAMP}) AS {EVENT_TIMESTAMP}, max({INGESTED_AT}) AS {INGESTED_AT},
        sum(amount ORDER BY id) AS amount,
        count(*) AS lines,
        try_cast(sum(quantity) AS BIGINT) AS items,
        nullif(count(DISTINCT category), 0) AS categories,
        nullif(sum(retail_discount ORDER BY id), 0) AS retail_discount,
        nullif(sum(coupon_discount ORDER BY id), 0) AS coupon_discount,
        nullif(sum(coupon_match_discount ORDER BY id), 0) AS coupon_match_discount,
        CASE WHEN $coupons THEN count(*) FILTER (coalesce(coupon_discount, 0) + coalesce(coupon_match_discount, 0) > 0)
            END AS coupon_lines
    FROM (
        SELECT *, {{id}} AS id FROM read_parquet($files) {{repeats}}
        QUALIFY row_number() OVER (PARTITION BY id ORDER BY {FILE}, {LINE}) = 1
    )
    GROUP BY ALL
)
ORDER BY {EVENT_TIMESTAMP}, {EVENT_ID}
"""


def payments(staged: Staged, mapping: Mapping, connection: duckdb.DuckDBPyConnection) -> Iterator[pa.Table]:
    """Payments of the staged purchases, in order of time, as many at once as one commit takes.

    ``amount`` and the discounts are NULL where no line has any, ``items`` where no quantity is known, ``categories``
    where no category is; ``coupon_lines`` where the log does not tell of coupons.
    """
    files = staged.paths(PURCHASE)
    if not files:
        return
    numbered = mapping.duplicates == "keep"
    if numbered:
        staged.number_repeats(PURCHASE, connection)
    query = _PAYMENTS.format(
        id=f"{EVENT_ID} || if(n IS NULL, '', '-' || n)" if numbered else EVENT_ID,
        repeats=f"LEFT JOIN repeats USING ({FILE}, {LINE})" if numbered else "",
    )
    told = mapping.columns.keys() | mapping.constants.keys()
    found = connection.sql(query, params={"files": files, "coupons": not told.isdisjoint(_COUPONS)})
    for batch in found.to_arrow_reader(COMMIT_ROWS):
        yield pa.Table.from_batches([batch])
