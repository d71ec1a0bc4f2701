"""Synthetic shoppers with a history of order lines, and the twenty windowed features the benches read of them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from feast import Aggregation, FileSource, PushSource, StreamFeatureView
from feast.data_format import DeltaFormat

from feature_repo.bench.synthetic import Span, pseudonym_sql, queried, unit
from feature_repo.core.settings import Settings
from feature_repo.definitions.entities import user
from feature_repo.definitions.texts import Noun
from feature_repo.definitions.windows import (
    count,
    count_distinct,
    hour,
    largest,
    mean,
    smallest,
    total,
    windowed_view,
)
from feature_repo.events.log import EVENT_ID, EVENT_TIMESTAMP, INGESTED_AT, LogTable
from feature_repo.events.schema import arrow_schema

EVENT = "purchase"
WINDOW_DAYS = (7, 28, 84)
CATEGORIES = 40


def twenty_features() -> list[Aggregation]:
    """Counts, sums, means, extremes and distinct categories over 7, 28 and 84 days."""
    return [
        *count(days=WINDOW_DAYS),
        *total("amount", days=WINDOW_DAYS),
        *mean("amount", days=WINDOW_DAYS),
        *smallest("amount", days=WINDOW_DAYS),
        *largest("amount", days=WINDOW_DAYS),
        *total("quantity", days=WINDOW_DAYS),
        *count_distinct("category", days=WINDOW_DAYS[1:]),
    ]


def shopper_view(name: str, table: Path) -> StreamFeatureView:
    """Declare the twenty features over a table of order lines."""
    source = PushSource(
        name=EVENT,
        batch_source=FileSource(
            name=f"{name}_log",
            path=str(table),
            file_format=DeltaFormat(),
            timestamp_field=EVENT_TIMESTAMP,
            created_timestamp_column=INGESTED_AT,
        ),
    )
    return windowed_view(
        name=name,
        entities=[user],
        source=source,
        hop=hour,
        events=Noun("order line", "order lines", "购买"),
        features=twenty_features(),
        description="What a synthetic shopper buys.",
        zh="模拟顾客的购买",
        owner="bench",
    )


def write_purchases(settings: Settings, table: Path, *, users: int, events: int, span: Span) -> None:
    """Commit ``events`` order lines per shopper, spread over a span, to a new Delta table."""
    query = (
        f"SELECT CAST(i AS VARCHAR) AS {EVENT_ID}, {span.sql('i', EVENT)} AS {EVENT_TIMESTAMP}, "
        f"{EVENT_TIMESTAMP} AS {INGESTED_AT}, {pseudonym_sql(f'i // {events}')} AS user_id, "
        f"'category ' || CAST(floor({unit('i', 'category')} * {CATEGORIES}) AS INTEGER) AS category, "
        f"1 + CAST(floor({unit('i', 'quantity')} * 5) AS BIGINT) AS quantity, "
        f"round({unit('i', 'amount')} * 50, 2) AS amount FROM range({users * events}) t(i)"
    )
    known = queried(settings, query)
    schema = arrow_schema(EVENT)
    columns = [known[f.name] if f.name in known.column_names else pa.nulls(len(known), f.type) for f in schema]
    log = LogTable(table, schema)
    log.ensure()
    log.commit(pa.table(columns, schema=schema))
