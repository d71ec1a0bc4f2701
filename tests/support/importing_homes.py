"""Imports a text into a home of its own, and looks at what came of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from feature_repo.core.clock import FixedClock, to_us
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.events.importing.job import ImportReport, import_events
from feature_repo.events.importing.mapping_file import read_mapping
from feature_repo.events.log import read_snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def import_text(settings: Settings, path: Path, content: bytes, mapping: str, **options: Any) -> ImportReport:
    """Write a file and import it; what a mapping leaves to be said is UTF-8 and a comma."""
    path.write_bytes(content)
    text = mapping.replace("ENCODING", "utf-8").replace("DELIMITER", ",")
    return import_events(settings, FixedClock(to_us(NOW)), [str(path)], read_mapping(text, "mapping.yaml"), **options)


def rows_of(settings: Settings, table: str) -> list[dict[str, Any]]:
    """Rows of a table of the log, in order of time and id."""
    with connect_duckdb(settings) as connection:
        found = connection.sql(
            f"FROM {read_snapshot(settings.log_root / table).sql()} ORDER BY event_timestamp, event_id"
        )
        rows: list[dict[str, Any]] = found.to_arrow_table().to_pylist()
    return rows


def files_with(home: Path, raw: bytes) -> list[Path]:
    """Files below a home that hold some bytes, packed in a Parquet page or not."""
    return [path for path in home.rglob("*") if path.is_file() and raw in _content(path)]


def _content(path: Path) -> bytes:
    import pyarrow.parquet as pq  # noqa: PLC0415

    if path.suffix != ".parquet":
        return path.read_bytes()
    return path.read_bytes() + repr(pq.read_table(path).to_pydict()).encode()
