"""Keeps the tables of the log quick to read and to write: few files, short logs, nothing that no version needs.

Safe beside a running stream and running queries: a compaction adds no rows, a reader keeps the files of its snapshot
for the table's retention (an hour), and whoever commits meanwhile wins or repeats.

Retention removes rows from the log, not from Redis: what was folded stays there until its tiles are older than the
longest window, or until ``portrait jobs materialize --full`` builds the state anew.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from feature_repo.core.clock import Clock
from feature_repo.core.errors import LogError, SettingsError, did_you_mean
from feature_repo.core.settings import Settings
from feature_repo.events.log import EVENT_TIMESTAMP, MAX_ATTEMPTS, outrun
from feature_repo.events.quarantine import QUARANTINE
from feature_repo.events.retention import SERVED, kept_since
from feature_repo.events.schema import TABLES
from feature_repo.events.table_files import merge, tidy
from feature_repo.events.table_head import first_line, load_table

Progress = Callable[[str, float], None]

WHOLE_BYTES = 128 * 2**20

_LEFT_OVER_S = 86_400


@dataclass(frozen=True)
class TableUpkeep:
    """What was done to a table.

    Attributes
    ----------
    files_before, files_after
        Parquet files of the head.
    bytes_before, bytes_after
        Their size.
    version_before, version_after
        Head.
    removed_rows
        Rows older than the table's retention.
    vacuumed
        Files no version of the last hour needs.
    seconds
        Time it took.
    """

    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    version_before: int
    version_after: int
    removed_rows: int
    vacuumed: int
    seconds: float = field(compare=False)


@dataclass(frozen=True)
class CompactReport:
    """Tables by name, and how many left-overs of processes that ended were removed."""

    tables: dict[str, TableUpkeep]
    left_overs: int
    seconds: float = field(compare=False)


def compact(settings: Settings, clock: Clock, *, progress: Progress | None = None) -> CompactReport:
    """Compact every table, remove rows older than their type's retention, and files that nothing needs. Twice is once.

    Parameters
    ----------
    progress
        Called with a table's name and the share done, from 0 to 1.

    Raises
    ------
    SettingsError
        ``PORTRAIT_RETENTION`` names no event type.
    CommitConflictError
        Other writers came first again and again while old rows were removed.
    LogError
        A table is damaged, or cannot be written.
    """
    started, tell = time.monotonic(), progress or (lambda _what, _done: None)
    days = settings.retention_days
    for name in days.keys() - TABLES.keys() - {QUARANTINE, SERVED}:
        raise SettingsError(f"PORTRAIT_RETENTION names '{name}'.", hint=did_you_mean(name, TABLES))
    names = [name for name in (*TABLES, QUARANTINE) if DeltaTable.is_deltatable(str(settings.log_root / name))]
    tables = {}
    for done, name in enumerate(names):
        tell(name, done / len(names))
        tables[name] = tend(settings.log_root / name, before_us=kept_since(days, name, clock.now_us()))
    left_overs = _remove_left_overs(settings, clock)
    tell("done", 1.0)
    return CompactReport(tables, left_overs, time.monotonic() - started)


def tend(path: Path, *, before_us: int | None = None, target_bytes: int = WHOLE_BYTES) -> TableUpkeep:
    """Compact one table; remove its rows with ``event_timestamp`` before an instant, if one is given.

    Raises
    ------
    CommitConflictError
        Other writers came first again and again while old rows were removed.
    LogError
        The table is damaged, or cannot be written.
    """
    started, table = time.monotonic(), load_table(path)
    version, (files, size) = table.version(), _files(table)
    try:
        removed = 0 if before_us is None else _delete(path, before_us)
        merge(path, target_bytes)
        vacuumed = tidy(path)
    except (DeltaError, OSError) as error:
        raise LogError(f"Table '{path.name}' of the event log cannot be compacted: {first_line(error)}") from None
    table.update_incremental()
    files_after, size_after = _files(table)
    return TableUpkeep(
        files_before=files,
        files_after=files_after,
        bytes_before=size,
        bytes_after=size_after,
        version_before=version,
        version_after=table.version(),
        removed_rows=removed,
        vacuumed=vacuumed,
        seconds=time.monotonic() - started,
    )


def _delete(path: Path, before_us: int) -> int:
    before = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=before_us)
    for _ in range(MAX_ATTEMPTS):
        table = load_table(path)
        try:
            found = table.delete(f"{EVENT_TIMESTAMP} < '{before.isoformat()}'")
        except CommitFailedError:
            continue
        return int(found["num_deleted_rows"] or 0)
    raise outrun(path)


def _files(table: DeltaTable) -> tuple[int, int]:
    actions = pa.table(table.get_add_actions(flatten=True))
    return len(actions), int(pc.sum(actions["size_bytes"]).as_py() or 0)


def _remove_left_overs(settings: Settings, clock: Clock) -> int:
    """Remove what processes that were killed left behind, when nothing in it was touched for a day."""
    before_s = clock.now_us() / 1_000_000 - _LEFT_OVER_S
    removed = 0
    for path in _left_overs(settings):
        with suppress(OSError):
            if max(each.stat().st_mtime for each in (path, *path.rglob("*"))) < before_s:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                removed += 1
    return removed


def _left_overs(settings: Settings) -> Iterator[Path]:
    yield from (settings.home / "tmp").glob("import-*")
    yield from settings.log_root.glob("*/_draft-*")
    yield from settings.log_root.glob("*/_spill-*")
