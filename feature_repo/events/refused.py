"""Rows of a table that were refused, as quarantine keeps them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.events.cleaning import USER_ID, named
from feature_repo.events.log import EVENT_ID, EVENT_TIMESTAMP, INGESTED_AT
from feature_repo.events.quarantine import QUARANTINE_SCHEMA


def refused_rows(event_type: str, rows: pa.Table, reasons: pa.ChunkedArray, source: str) -> pa.Table:
    """Return rows of the quarantine table.

    Parameters
    ----------
    rows
        In the shape of their event type. A ``user_id`` that is no pseudonym may be a raw id: it is left out.
    reasons
        Why each was refused.
    source
        File or stream they come from.
    """
    rows = _unnamed(rows)
    payloads = [_payload(row) for row in _texts(rows).to_pylist()]
    derived = [_derived_id(event_type, payload) for payload in payloads]
    columns = {
        "event_id": pc.coalesce(rows[EVENT_ID], pa.chunked_array([pa.array(derived, pa.string())])),
        "event_timestamp": rows[EVENT_TIMESTAMP],
        "ingested_at": rows[INGESTED_AT],
        "user_id": rows[USER_ID] if USER_ID in rows.column_names else pa.nulls(len(rows), pa.string()),
        "source": pa.array([source] * len(rows), pa.string()),
        "line": pa.nulls(len(rows), pa.int64()),
        "event_type": pa.array([event_type] * len(rows), pa.string()),
        "reason": reasons,
        "payload": pa.array(payloads, pa.string()),
    }
    return pa.table(columns, schema=QUARANTINE_SCHEMA)


def _unnamed(rows: pa.Table) -> pa.Table:
    """Rows without what stands for a user and is no pseudonym: it may be a raw id, which must not reach the disk."""
    if USER_ID not in rows.column_names:
        return rows
    users = rows[USER_ID]
    kept = pc.if_else(named(users), users, pa.scalar(None, pa.string()))
    return rows.set_column(rows.column_names.index(USER_ID), USER_ID, kept)


def _texts(rows: pa.Table) -> pa.Table:
    # Python has no instants before year 1 or after 9999; a row may be refused that has one.
    columns = [column.cast(pa.string()) if pa.types.is_timestamp(column.type) else column for column in rows.columns]
    return pa.table(columns, names=rows.column_names)


def _payload(row: dict[str, Any]) -> str:
    said = {name: value for name, value in row.items() if value is not None}
    return json.dumps(said, ensure_ascii=False)


def _derived_id(event_type: str, payload: str) -> str:
    return "refused-" + hashlib.sha256(f"{event_type}|{payload}".encode()).hexdigest()[:32]
