"""Appends to a local Delta table without reading its log again.

`deltalake` replays the log behind the last checkpoint for each write: 10 to 60 ms at a hundred versions. Who knows the
version he appends to needs none of it. An append is a Parquet file and an entry of the log, which comes to be by a hard
link, as `deltalake` makes its own: whoever links first has the version.
Protocol: https://github.com/delta-io/delta/blob/master/PROTOCOL.md (writer version 2, no table features).
"""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

_WRITER_VERSION = 2
# Ids of events and visits are all different: a dictionary of them is built in vain.
_DISTINCT = frozenset({"event_id", "session_id", "order_id", "payload"})


def entry_path(table: Path, version: int) -> Path:
    """Where a version's entry of the log is.

    >>> entry_path(Path("view"), 7).as_posix()
    'view/_delta_log/00000000000000000007.json'
    """
    return table / "_delta_log" / f"{version:020}.json"


def is_plain(table: DeltaTable) -> bool:
    """Whether a table asks nothing of its writers that is not done here."""
    protocol = table.protocol()
    return bool(
        protocol.min_writer_version <= _WRITER_VERSION
        and not protocol.writer_features
        and not table.metadata().partition_columns
    )


def append_entry(
    table: Path, version: int, rows: pa.Table, positions: Mapping[str, int], *, writer: str, statistics: tuple[str, ...]
) -> Path:
    """Append rows and app ids' positions as a version, or not at all; return the file that holds the rows.

    Parameters
    ----------
    writer
        Written into the version's commit info under ``portrait.writer``.
    statistics
        Columns whose smallest and largest value are written into the entry.

    Raises
    ------
    FileExistsError
        There is such a version.
    OSError
        The table cannot be written.
    """
    file = table / f"part-00000-{uuid.uuid4()}-c000.zstd.parquet"
    draft = table / f"_draft-{secrets.token_hex(8)}"
    encoded = [name for name in rows.column_names if name not in _DISTINCT and pa.types.is_string(rows[name].type)]
    pq.write_table(rows, file, compression="zstd", compression_level=1, use_dictionary=encoded)
    try:
        draft.write_text(_entry(file, rows, positions, writer, statistics), "utf-8")
        entry_path(table, version).hardlink_to(draft)
    except FileExistsError:
        # After any other error the entry may be there: the file stays, and is vacuumed if it belongs to no version.
        file.unlink(missing_ok=True)  # an erasure sweeps files of no version too
        raise
    finally:
        draft.unlink(missing_ok=True)
    return file.absolute()


def _entry(file: Path, rows: pa.Table, positions: Mapping[str, int], writer: str, statistics: tuple[str, ...]) -> str:
    now_ms = time.time_ns() // 1_000_000
    info = {
        "timestamp": now_ms,
        "operation": "WRITE",
        "operationParameters": {"mode": "Append"},
        "isBlindAppend": True,
        "portrait.writer": writer,
    }
    add = {
        "path": file.name,
        "partitionValues": {},
        "size": file.stat().st_size,
        "modificationTime": now_ms,
        "dataChange": True,
        "stats": json.dumps(_statistics(rows, statistics)),
    }
    transactions = [
        {"txn": {"appId": app_id, "version": position, "lastUpdated": now_ms}} for app_id, position in positions.items()
    ]
    return "\n".join(json.dumps(action) for action in [{"commitInfo": info}, *transactions, {"add": add}]) + "\n"


def _statistics(rows: pa.Table, columns: tuple[str, ...]) -> dict[str, object]:
    ends = {name: pc.min_max(rows[name]) for name in columns if rows[name].null_count < len(rows)}
    return {
        "numRecords": rows.num_rows,
        "minValues": {name: _written(found["min"]) for name, found in ends.items()},
        "maxValues": {name: _written(found["max"]) for name, found in ends.items()},
        "nullCount": {name: rows[name].null_count for name in columns},
    }


def _written(value: pa.Scalar) -> object:
    if pa.types.is_timestamp(value.type):
        return pc.strftime(value, "%Y-%m-%dT%H:%M:%SZ").as_py()
    return value.as_py()
