"""Generated histories whose times collide: tile edges, window ends, the same instant, one microsecond beside."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from feast import Aggregation, Entity, FileSource, PushSource, StreamFeatureView, ValueType
from feast import Field as FeastField
from feast.data_format import DeltaFormat
from feast.types import String
from hypothesis import strategies as st

from feature_repo.core.clock import HOUR, from_us, to_us
from feature_repo.engine.kernels import KERNELS
from feature_repo.engine.monoids import BOOL, FLOAT, INT, TEXT, TIME
from feature_repo.engine.spec import RESULT_TYPES, WindowedFeature
from feature_repo.events.log import LogTable

BASE = 19_700 * 24 * HOUR
US = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("event_timestamp", US),
        ("ingested_at", US),
        ("user_id", pa.string()),
        ("place", pa.string()),
        ("units", pa.int64()),
        ("amount", pa.float64()),
        ("gift", pa.bool_()),
        ("due", US),
    ]
)
KINDS = {"units": INT, "amount": FLOAT, "place": TEXT, "gift": BOOL, "due": TIME}
WINDOWS = (timedelta(hours=2), timedelta(hours=5), timedelta(hours=24))
HOP = timedelta(hours=1)


@dataclass(frozen=True)
class Event:
    user: str
    place: str
    ts: int
    late: int
    units: int | None
    amount: float | None
    gift: bool | None = None
    due: int | None = None


def instants() -> st.SearchStrategy[int]:
    """Half hours of a day and a half around a midnight, and one microsecond either side of them."""
    half_hours = st.integers(-60, 12).map(lambda k: BASE + k * HOUR // 2)
    return st.builds(lambda at, beside: at + beside, half_hours, st.sampled_from([0, 0, 0, -1, 1]))


def events(users: int = 8) -> st.SearchStrategy[list[Event]]:
    return st.lists(
        st.builds(
            Event,
            user=st.integers(0, users - 1).map(lambda i: f"u{i}"),
            place=st.sampled_from(["a", "b", "ab"]),
            ts=instants(),
            late=st.sampled_from([0, 0, 1, HOUR // 2, HOUR, 30 * HOUR]),
            units=st.none() | st.integers(-3, 3) | st.sampled_from([2**53, -(2**53)]),
            amount=st.none() | st.sampled_from([0.0, 0.1, -2.5, 1e9, 1e9 + 0.5, 1e-9, 7.0]),
            gift=st.none() | st.booleans(),
            due=st.none() | st.sampled_from([BASE, BASE + 1, -1]),
        ),
        min_size=0 if users > 4 else 8,
        max_size=60,
    )


def table_of(history: list[Event]) -> pa.Table:
    rows: list[dict[str, Any]] = [
        {
            "event_id": str(i),
            "event_timestamp": from_us(event.ts),
            "ingested_at": from_us(event.ts + event.late),
            "user_id": event.user,
            "place": event.place,
            "units": event.units,
            "amount": event.amount,
            "gift": event.gift,
            "due": None if event.due is None else from_us(event.due),
        }
        for i, event in enumerate(history)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def oracle_rows(history: list[Event]) -> list[dict[str, Any]]:
    return [
        {
            "event_id": str(i),
            "user_id": event.user,
            "place": event.place,
            "event_timestamp": event.ts,
            "ingested_at": event.ts + event.late,
            "units": event.units,
            "amount": event.amount,
            "gift": event.gift,
            "due": event.due,
        }
        for i, event in enumerate(history)
    ]


def agrees(found: Any, expected: Any, rows: list[dict[str, Any]], feature: WindowedFeature, at: int, hop: int) -> bool:
    """Whether a value is the oracle's: exactly, or within 1e-9 of the magnitude of what the window holds."""
    if isinstance(found, datetime):
        found = to_us(found)
    if feature.kind != FLOAT or expected is None or found is None:
        return bool(found == expected) and type(found) is type(expected)
    return bool(abs(found - expected) <= 1e-9 * _magnitude(rows, feature, at, hop) + 1e-300)


def _magnitude(rows: list[dict[str, Any]], feature: WindowedFeature, at: int, hop: int) -> float:
    """Sum of the absolute values, the largest for a deviation; of all events for a decayed sum, which forgets none."""
    if feature.function == "days_since":
        return 1.0
    since = -math.inf if feature.function == "decayed_sum" else (at - feature.reach) // hop * hop
    seen = [row[feature.column] if feature.column else 1.0 for row in rows if since <= row["event_timestamp"] < at]
    sizes = [abs(value) for value in seen if value is not None]
    return float(max(sizes, default=0) if feature.function == "std" else sum(sizes))


def log_of(path: Path, *batches: list[Event]) -> LogTable:
    """One commit per batch."""
    table = LogTable(path, SCHEMA)
    table.ensure()
    rows = table_of([event for batch in batches for event in batch])
    start = 0
    for batch in batches:
        table.commit(rows.slice(start, len(batch)))
        start += len(batch)
    return table


def every_kernel_view(path: Path, *, keys: tuple[str, ...] = ("user_id",), hop: timedelta = HOP) -> StreamFeatureView:
    """A view with every registered function over every column it takes, in every window."""
    fields, aggregations = [], []
    for kernel in KERNELS.values():
        columns = [column for column, kind in KINDS.items() if kind in kernel.takes]
        for column in columns if kernel.needs_column else ["", *columns]:
            for window in WINDOWS:
                name = f"{kernel.name}_{column or 'all'}_{window // timedelta(hours=1)}h"
                kind = kernel.result or KINDS[column]
                fields.append(FeastField(name=name, dtype=RESULT_TYPES[kind]))
                aggregations.append(Aggregation(column=column, function=kernel.name, time_window=window, name=name))
    entities = [Entity(name=key, join_keys=[key], value_type=ValueType.STRING) for key in keys]
    source = FileSource(
        name="history_log",
        path=str(path),
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="ingested_at",
    )
    return StreamFeatureView(
        name="history",
        entities=entities,
        source=PushSource(name="history", batch_source=source),
        schema=fields + [FeastField(name=key, dtype=String) for key in keys],
        timestamp_field="event_timestamp",
        aggregations=aggregations,
        enable_tiling=True,
        tiling_hop_size=hop,
    )
