"""What each shopper bought so far, by item: the input of every method that proposes items."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.core.clock import DAY

HALF_LIFE_DAYS = 60
MOST_ITEMS = 400  # of one shopper, those of most weight; the median household of Complete Journey has 250

# An item bought twice in one order is bought once. Weights are those of the instant the history is read up to.
_QUERY = f"""
WITH bought AS (
    SELECT user_id, item_id, coalesce(order_id, event_id) AS order_id, max(epoch_us(event_timestamp)) AS ts,
        max_by(store_id, event_timestamp) AS store_id
    FROM {{table}}
    WHERE item_id IS NOT NULL AND epoch_us(event_timestamp) < $at
    GROUP BY ALL
), held AS (
    SELECT user_id, item_id, count(*) AS orders, min(ts) AS first_at, max(ts) AS last_at,
        sum(pow(2, (ts - $at) / {HALF_LIFE_DAYS * DAY}.0)) AS weight
    FROM bought GROUP BY ALL
), came AS (
    SELECT user_id, max_by(store_id, ts) AS store_id FROM bought GROUP BY user_id
)
SELECT user_id, item_id, orders, first_at, last_at, weight, came.store_id
FROM held JOIN came USING (user_id)
QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY weight DESC, item_id) <= $most
ORDER BY user_id, weight DESC, item_id
"""


@dataclass(frozen=True, eq=False)
class History:
    """One shopper's items, those of most weight first.

    Attributes
    ----------
    at
        Events before this instant are in it (us).
    items
        Ids.
    orders
        ``int64[n]``: orders each item was in.
    first_at, last_at
        ``int64[n]``: instants of the first and the last of them (us).
    weight
        ``float64[n]``: orders, each counting half as much after every 60 days, as of ``at``.
    store
        Store of the last order; empty if none is known.
    """

    at: int
    items: tuple[str, ...]
    orders: npt.NDArray[np.int64]
    first_at: npt.NDArray[np.int64]
    last_at: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]
    store: str = ""

    @classmethod
    def nothing(cls, at: int, store: str = "") -> History:
        """Return the history of a shopper nobody knows.

        >>> History.nothing(0).items
        ()
        """
        none = np.zeros(0, np.int64)
        return cls(at, (), none, none, none, np.zeros(0), store)

    def at_store(self, store: str) -> History:
        """Return the same items, bought by somebody who is in a store now."""
        return replace(self, store=store)

    def to_json(self) -> str:
        """Return what :meth:`from_json` reads."""
        columns = {name: getattr(self, name).tolist() for name in ("orders", "first_at", "last_at", "weight")}
        return json.dumps({"at": self.at, "items": self.items, "store": self.store, **columns}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> History:
        """Read a history that was written before.

        >>> History.from_json(History.nothing(7, "s").to_json()).store
        's'
        """
        found = json.loads(text)
        times = {name: np.array(found[name], np.int64) for name in ("orders", "first_at", "last_at")}
        return cls(
            found["at"], tuple(found["items"]), weight=np.array(found["weight"], float), store=found["store"], **times
        )


def history_rows(connection: duckdb.DuckDBPyConnection, table: str, at: int, most: int = MOST_ITEMS) -> pd.DataFrame:
    """Return what was bought before an instant: a row per shopper and item, ordered by shopper and weight.

    Parameters
    ----------
    table
        Relation of the connection with the columns of purchases.
    at
        Instant (us); an event at it is not in it.
    """
    found: pd.DataFrame = (
        connection.sql(_QUERY.format(table=table), params={"at": at, "most": most}).to_arrow_table().to_pandas()
    )
    return found


def histories(rows: pd.DataFrame, at: int) -> Iterator[tuple[str, History]]:
    """Return each shopper of :func:`history_rows` with the history."""
    if rows.empty:
        return
    columns: dict[str, Any] = {name: rows[name].to_numpy() for name in rows.columns}
    users = columns["user_id"]
    starts = np.flatnonzero(np.r_[True, users[1:] != users[:-1]])
    for start, end in zip(starts, np.r_[starts[1:], len(users)], strict=True):
        part = {name: values[start:end] for name, values in columns.items()}
        store = part["store_id"][0]
        yield (
            users[start],
            History(
                at=at,
                items=tuple(part["item_id"]),
                orders=part["orders"].astype(np.int64),
                first_at=part["first_at"].astype(np.int64),
                last_at=part["last_at"].astype(np.int64),
                weight=part["weight"].astype(np.float64),
                store=store if isinstance(store, str) else "",
            ),
        )
