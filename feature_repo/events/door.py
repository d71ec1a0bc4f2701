"""The one door of the event log: what is good goes to its table, what is not goes to quarantine with the reason."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.events.cleaning import USER_ID, complete, faults, named, normalise
from feature_repo.events.log import EVENT_ID, EVENT_TIMESTAMP, INGESTED_AT
from feature_repo.events.quarantine import QUARANTINE_SCHEMA, quarantine_rows
from feature_repo.events.schema import log_table
from feature_repo.privacy.tombstones import Tombstones


@dataclass(frozen=True)
class Admitted:
    """What became of the rows at the door; each is counted once.

    Attributes
    ----------
    published
        Rows written to the table.
    duplicates
        Rows the table held already, or that came twice in the batch.
    quarantined
        Rows refused, by reason, whether they are in quarantine since now or since earlier.
    erased
        Rows of people who were erased: they are dropped, and not even refused, which would keep them.
    """

    published: int
    duplicates: int
    quarantined: dict[str, int]
    erased: int = 0


def admit(log_root: Path, event_type: str, rows: pa.Table, *, source: str) -> Admitted:
    """Clean rows, commit the good ones to their table and the others to quarantine. Twice is once.

    Rows of people who were erased from the home, which holds the log's root, go nowhere.

    Parameters
    ----------
    log_root
        Directory of the log's tables; a missing table is created.
    event_type
        Event type or dimension.
    rows
        Any columns: missing ones are NULL, undeclared ones are dropped; instants as ``timestamp[us, UTC]``.
    source
        File or stream the rows come from, as quarantine names it.

    Raises
    ------
    DeclarationError
        There is no such event type.
    DataError
        A column has a value its declared type cannot hold; nothing is written.
    CommitConflictError
        Other writers came first again and again. Refused rows may be in quarantine by then.
    LogError
        A table on disk is damaged or declares other types.
    SettingsError
        Who was erased cannot be read; nothing is written.
    """
    tombstones = Tombstones(log_root.parent)
    known = complete(normalise(rows), event_type)
    cleaned = tombstones.standing_rows(known)
    erased = known.num_rows - cleaned.num_rows
    reasons = faults(cleaned, event_type)
    refused: dict[str, int] = {}
    if reasons.null_count < len(reasons):
        bad = pc.is_valid(reasons)
        refused = _refuse(log_root, event_type, cleaned.filter(bad), reasons.filter(bad), source)
        cleaned = cleaned.filter(pc.invert(bad))
    table = log_table(log_root, event_type)
    table.ensure()
    commit = table.commit(cleaned, standing=tombstones.standing_rows)
    return Admitted(commit.rows, commit.duplicates, refused, erased + commit.erased)


def _refuse(log_root: Path, event_type: str, rows: pa.Table, reasons: pa.ChunkedArray, source: str) -> dict[str, int]:
    rows = _unnamed(rows)
    payloads = [_payload(row) for row in _texts(rows).to_pylist()]
    derived = [_derived_id(event_type, payload) for payload in payloads]
    columns = {
        "event_id": pc.coalesce(rows[EVENT_ID], pa.chunked_array([pa.array(derived, pa.string())])),
        "event_timestamp": rows[EVENT_TIMESTAMP],
        "ingested_at": rows[INGESTED_AT],
        "user_id": rows[USER_ID] if USER_ID in rows.column_names else pa.nulls(len(rows), pa.string()),
        "source": [source] * len(rows),
        "line": pa.nulls(len(rows), pa.int64()),
        "event_type": [event_type] * len(rows),
        "reason": reasons,
        "payload": payloads,
    }
    quarantine_rows(log_root, pa.table([columns[name] for name in QUARANTINE_SCHEMA.names], QUARANTINE_SCHEMA.names))
    return dict(sorted(Counter(reasons.to_pylist()).items()))


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
