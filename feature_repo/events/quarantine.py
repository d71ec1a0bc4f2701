"""Rows the door refused, with the reason, so that nothing is dropped without a trace."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pyarrow as pa

from feature_repo.events.log import LogTable
from feature_repo.privacy.tombstones import Tombstones

QUARANTINE = "quarantine"

_PSEUDONYM = re.compile(r"u_[0-9a-f]{32}")
_INSTANT = pa.timestamp("us", "UTC")

QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field(
            "event_id", pa.string(), nullable=False
        ),  # of the refused row; derived from its content if it had none
        pa.field("event_timestamp", _INSTANT),  # NULL if the row named none
        pa.field("ingested_at", _INSTANT),  # NULL if the row named none
        pa.field("user_id", pa.string()),  # pseudonym, so that erasure finds the row; NULL if the row named nobody
        pa.field("source", pa.string(), nullable=False),  # file or stream
        pa.field("line", pa.int64()),  # line of a text file from 1, row of a Parquet file from 0; NULL for streams
        pa.field("event_type", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # short and countable, such as no_money
        pa.field("payload", pa.string()),  # the row as JSON, never with a raw user id
    ]
)


def quarantine_table(log_root: Path) -> LogTable:
    """Open the table of refused rows; ``ensure()`` creates it. A row refused twice is kept once."""
    return LogTable(log_root / QUARANTINE, QUARANTINE_SCHEMA)


def quarantine_rows(log_root: Path, rows: pa.Table) -> int:
    """Put refused rows into quarantine, but those there already, or of erased people; return how many were refused."""
    table = quarantine_table(log_root)
    table.ensure()
    table.commit(rows, standing=partial(_standing, Tombstones(log_root.parent)))
    return int(rows.num_rows)


def _standing(tombstones: Tombstones, rows: pa.Table) -> pa.Table:
    """Rows without those that are of erased people, or whose payload names one."""
    if not tombstones.count:
        return rows
    rows = tombstones.standing_rows(rows)
    named = [_PSEUDONYM.findall(payload or "") for payload in rows["payload"].to_pylist()]
    return rows.filter(pa.array([not any(map(tombstones.holds, each)) for each in named], pa.bool_()))
