"""What is sold, and how it sells at an instant: the same for all shoppers."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from feature_repo.core.clock import DAY

LEAST_OF_A_STORE = 20  # shoppers, before a store has favourites of its own
FAVOURITES = 30

_ITEMS = f"""
WITH line AS (
    SELECT *, epoch_us(event_timestamp) AS ts FROM {{table}}
    WHERE item_id IS NOT NULL AND epoch_us(event_timestamp) < $at
), buyer AS (
    SELECT item_id, user_id, count(DISTINCT coalesce(order_id, event_id)) AS orders, max(ts) AS last_at
    FROM line GROUP BY ALL
), sold AS (
    SELECT item_id, count(*) AS buyers,
        count(*) FILTER (last_at >= $at - {28 * DAY}) AS buyers_28d,
        count(*) FILTER (last_at >= $at - {7 * DAY}) AS buyers_7d,
        avg((orders > 1)::BIGINT) AS repeat_rate
    FROM buyer GROUP BY item_id
), known AS (
    SELECT item_id, max_by(category, ts) AS category, max_by(manufacturer_id, ts) AS maker,
        avg(amount) AS price, min(ts) AS first_at
    FROM line GROUP BY item_id
)
SELECT item_id, coalesce(category, '') AS category, coalesce(maker, '') AS maker, coalesce(price, 0.0) AS price,
    first_at, buyers, buyers_28d, buyers_7d, repeat_rate
FROM sold JOIN known USING (item_id) ORDER BY item_id
"""
_STORES = f"""
WITH bought AS (
    SELECT DISTINCT store_id, user_id, item_id FROM {{table}}
    WHERE store_id IS NOT NULL AND item_id IS NOT NULL
        AND epoch_us(event_timestamp) < $at AND epoch_us(event_timestamp) >= $at - {84 * DAY}
), crowd AS (
    SELECT store_id, count(DISTINCT user_id) AS shoppers FROM bought GROUP BY store_id
)
SELECT store_id, item_id, count(*) / any_value(shoppers) AS share
FROM bought JOIN crowd USING (store_id) WHERE shoppers >= {LEAST_OF_A_STORE}
GROUP BY store_id, item_id
QUALIFY row_number() OVER (PARTITION BY store_id ORDER BY share DESC, item_id) <= {FAVOURITES}
ORDER BY store_id, share DESC, item_id
"""


@dataclass(frozen=True, eq=False)
class Shelf:
    """Items in the order of their ids, and how they sell.

    Attributes
    ----------
    at
        Events before this instant are in it (us).
    shoppers
        How many bought anything in the 28 days before.
    items, category, maker
        Ids; an unknown category or maker is empty.
    price, repeat_rate
        Mean of a line's amount; share of its buyers who bought it again.
    first_at
        When it was first sold (us).
    buyers, buyers_28d, buyers_7d
        Shoppers who ever bought it, and who did in the last days.
    stores
        Store -> its favourites with the share of its shoppers that bought them in 84 days, most first.
    """

    at: int
    shoppers: int
    items: npt.NDArray[np.object_]
    category: npt.NDArray[np.object_]
    maker: npt.NDArray[np.object_]
    price: npt.NDArray[np.float64]
    repeat_rate: npt.NDArray[np.float64]
    first_at: npt.NDArray[np.int64]
    buyers: npt.NDArray[np.int64]
    buyers_28d: npt.NDArray[np.int64]
    buyers_7d: npt.NDArray[np.int64]
    stores: dict[str, dict[str, float]]

    def to_json(self) -> str:
        """Return what :meth:`from_json` reads."""
        return json.dumps({each.name: _plain(getattr(self, each.name)) for each in fields(self)})

    @classmethod
    def from_json(cls, text: str | bytes) -> Shelf:
        """Read a shelf that was written before."""
        found: dict[str, Any] = json.loads(text)
        return cls(**(found | {name: np.array(found[name], kind) for name, kind in _KINDS.items()}))


_KINDS: dict[str, Any] = {
    **dict.fromkeys(("items", "category", "maker"), np.object_),
    **dict.fromkeys(("price", "repeat_rate"), np.float64),
    **dict.fromkeys(("first_at", "buyers", "buyers_28d", "buyers_7d"), np.int64),
}


def shelf_at(connection: duckdb.DuckDBPyConnection, table: str, at: int) -> Shelf:
    """Return what was sold before an instant (us); parameters as of :func:`feature_repo.candidates.history_rows`."""
    found = connection.sql(_ITEMS.format(table=table), params={"at": at}).to_arrow_table().to_pandas()
    columns = {name: found[name if name != "items" else "item_id"].to_numpy(kind) for name, kind in _KINDS.items()}
    recent = f"epoch_us(event_timestamp) < $at AND epoch_us(event_timestamp) >= $at - {28 * DAY}"
    query = f"SELECT count(DISTINCT user_id) FROM {table} WHERE {recent}"
    [(shoppers,)] = connection.execute(query, {"at": at}).fetchall()
    stores: dict[str, dict[str, float]] = {}
    for store, item, share in connection.execute(_STORES.format(table=table), {"at": at}).fetchall():
        stores.setdefault(store, {})[item] = share
    return Shelf(at=at, shoppers=int(shoppers), stores=stores, **columns)


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray) else value
