"""Snapshots of made-up shoppers, as `portrait tags compute` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def pseudonym(n: int) -> str:
    """Return a shopper's pseudonym."""
    return f"u_{n:032x}"


def write_snapshot(home: Path, columns: dict[str, Any], *, as_of: str = "2026-11-24T00:00:00Z") -> Path:
    """Write a snapshot of as many shoppers as the columns have values; return its folder."""
    rows = pa.table(columns)
    ids = pa.array([pseudonym(n) for n in range(rows.num_rows)], pa.string())
    folder = home / "snapshots" / as_of.replace(":", "")
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows.add_column(0, "user_id", ids), folder / "people.parquet")
    (folder / "manifest.json").write_text(json.dumps({"as_of": as_of}), "utf-8")
    return folder
