"""A small shop with known habits: two kinds of shoppers, each with favourites they buy again and again."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from feature_repo.core.settings import Settings
from feature_repo.events.schema import TABLES, arrow_schema, log_table

END = datetime(2026, 11, 20, 18, tzinfo=UTC)
DAYS = 220
USERS = 120
KINDS = ("bakery", "garden")
OF_A_KIND = 30  # items; each shopper has six favourites among them
NEWCOMER = "u_" + "f" * 32


def user(number: int) -> str:
    return f"u_{number:032x}"


def item(kind: int, number: int) -> str:
    return f"{KINDS[kind]}-{number:02d}"


def line(at: datetime, who: str, what: str, order: str, *, store: str = "") -> dict[str, Any]:
    kind, _, number = what.partition("-")
    return {
        "event_id": f"{order}:{what}",
        "event_timestamp": at,
        "user_id": who,
        "order_id": order,
        "item_id": what,
        "category": f"{kind} {int(number or 0) % 5}",
        "manufacturer_id": f"{kind} {int(number or 0) % 3}",
        "store_id": store or f"store {kind}",
        "quantity": 1,
        "amount": 2.5,
    }


def purchases(seed: int = 7) -> Iterator[dict[str, Any]]:
    """Orders every week or so of three favourites, and now and then something else of the kind."""
    chance = random.Random(seed)
    for number in range(USERS):
        kind = number % 2
        favourites = chance.sample(range(OF_A_KIND), 6)
        at = END - timedelta(days=DAYS - chance.random() * 7)
        while at < END - timedelta(hours=1):
            bought = {*chance.sample(favourites, 3)}
            if chance.random() < 0.3:
                bought.add(chance.randrange(OF_A_KIND))
            for each in bought:
                yield line(at, user(number), item(kind, each), f"{number}/{at:%m%d}")
            at += timedelta(days=4 + chance.random() * 6)
    yield line(END, user(0), item(0, 0), "last")


def commit(settings: Settings, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    stamped = [{"ingested_at": row["event_timestamp"], **row} for row in rows]
    schema = pa.schema([field.with_nullable(True) for field in arrow_schema(table)])
    log_table(settings.log_root, table).commit(pa.Table.from_pylist(stamped, schema=schema))


def fill(settings: Settings) -> None:
    """Write the shop into an empty log."""
    for name in TABLES:
        log_table(settings.log_root, name).ensure()
    rows = list(purchases())
    commit(settings, "purchase", rows)
    orders = {row["order_id"]: row for row in rows}
    paid = [
        {"event_id": f"p{n}", "event_timestamp": row["event_timestamp"], "user_id": row["user_id"], "amount": 7.5}
        | {"order_id": order, "lines": 3, "items": 3}
        for n, (order, row) in enumerate(orders.items())
    ]
    commit(settings, "payment", paid)
