"""Experiments and their logs, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from feature_repo.core.clock import from_us
from feature_repo.core.settings import Settings
from feature_repo.events.door import admit
from serving.experiments.experiment import Experiment, Variant

START = datetime(2026, 3, 1, tzinfo=UTC)
PAGE = Experiment(
    name="home_page",
    question="Is the other page better?",
    subject="home_page",
    variants=(Variant("control", "as ever"), Variant("other", "something else")),
    start=START,
    end=START + timedelta(days=28),
)


def said(settings: Settings, event_type: str, rows: Sequence[dict[str, Any]]) -> None:
    """Let events in; ``at`` is when they happened, in microseconds or as a datetime."""
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0] if name != "at"}
    at = [row["at"] if isinstance(row["at"], datetime) else from_us(row["at"]) for row in rows]
    times = pa.array(at, pa.timestamp("us", "UTC"))
    begun = len(pa.array(at))
    ids = [f"{event_type}-{hash_of(row)}-{n}" for n, row in enumerate(rows)]
    table = pa.table({**columns, "event_id": ids, "event_timestamp": times, "ingested_at": times})
    found = admit(settings.log_root, event_type, table, source="test")
    assert (found.published, found.quarantined) == (begun, {})


def hash_of(row: dict[str, Any]) -> str:
    return "/".join(map(str, row.values()))
