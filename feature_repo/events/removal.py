"""Rows that name a person leave a table and the disk, and the transaction log does not say whose rows they were.

A DELETE of Delta Lake writes its predicate into the transaction log, where no later DELETE reaches it. So files that
hold such rows are replaced by files without them, in one commit that says which files, and nothing else. What is left
keeps its ``log_version``.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from feature_repo.core.errors import CommitConflictError
from feature_repo.events.log import EVENT_TIMESTAMP, INGESTED_AT, LOG_VERSION, MAX_ATTEMPTS, read_snapshot

# As `log.LogTable` declares: of all other columns, the transaction log is to hold no values.
_WITH_STATISTICS = (EVENT_TIMESTAMP, INGESTED_AT, LOG_VERSION)

Touched = Callable[[pa.Table], None]


@dataclass(frozen=True)
class _Rewritten:
    """A file of the table, and what takes its place (nothing, if it held no other rows)."""

    removed: str
    added: AddAction | None


def naming(rows: pa.Table | pa.RecordBatch, needle: str) -> pa.Array | pa.ChunkedArray:
    """Tell which rows have a text, in any column, that contains ``needle``: ``bool[n]`` without NULLs."""
    found: Any = pa.array([False] * rows.num_rows, pa.bool_())
    for column in rows.columns:
        if is_text(column.type):
            found = pc.or_(found, pc.fill_null(pc.match_substring(column, needle), False))
    return found


def is_text(kind: pa.DataType) -> bool:
    """Whether values of a type may name somebody."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return _is_view(kind) or any(check(kind) for check in checks)


def comparable(rows: pa.Table) -> pa.Table:
    """Return rows whose texts can be compared: not views of them, as `deltalake` declares in files it rewrites."""
    for n, field in enumerate(rows.schema):
        if _is_view(field.type):
            plain = pa.large_string() if pa.types.is_string_view(field.type) else pa.large_binary()
            rows = rows.set_column(n, field.name, rows[n].cast(plain))
    return rows


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind))


def rows_naming(path: Path, needle: str) -> pa.Table:
    """Return the rows at the head of a table that contain ``needle``; whole row groups are in memory, one at a time."""
    snapshot = read_snapshot(path)
    parts = [part for file in snapshot.files for part in _named_parts(Path(file), needle)]
    return pa.concat_tables(parts, promote_options="default") if parts else snapshot.schema.empty_table()


def remove_rows(path: Path, needle: str, *, before: Touched = lambda _rows: None) -> int:
    """Remove the rows that contain ``needle``; return how many there were.

    At least one version is committed, even if there are none: a writer who checked its rows before the tombstone was
    there, and has not committed by then, must check them again (see ``LogTable.commit``). So none can come afterwards.

    Parameters
    ----------
    before
        Is told the rows before they are removed; what it writes down survives a kill.

    Raises
    ------
    CommitConflictError
        Other writers came first again and again; the rows are there still.
    LogError
        The table is missing or damaged.
    """
    removed = 0
    for _ in range(MAX_ATTEMPTS):
        version, rows = _attempt(path, needle, before)
        if version is None:
            continue
        removed += rows
        if not rows_naming(path, needle).num_rows:
            return removed
    raise CommitConflictError(
        f"Table '{path.name}' of the event log was committed to by others {MAX_ATTEMPTS} times in a row.",
        hint="run the command again: it goes on where it stopped.",
    )


def sweep(path: Path, needle: str) -> int:
    """Delete files of a table that contain ``needle`` and are not of its head; return how many.

    They were replaced, or their writer lost a conflict or died. A reader of an older version that has not opened them
    yet fails, and has to read again.
    """
    current = set(read_snapshot(path).files)
    swept = 0
    for file in path.rglob("*.parquet"):
        if str(file) in current or file.parent.name == "_delta_log":
            continue
        with suppress(FileNotFoundError, pa.ArrowInvalid):  # gone, or not whole yet: then its commit will be refused
            if next(_named_parts(file, needle), None) is not None:
                file.unlink()
                swept += 1
    return swept + _purge_history(path, needle)


def _purge_history(path: Path, needle: str) -> int:
    """Delete transaction logs that contain ``needle``: those of tables that were not made by us may have statistics."""
    files = [file for file in (path / "_delta_log").iterdir() if file.is_file()]
    named = [file for file in files if _history_names(file, needle)]
    if named:
        table = DeltaTable(str(path))
        table.create_checkpoint()
        named = [file for file in named if file.name.split(".")[0].isdecimal()]
        named = [file for file in named if int(file.name.split(".")[0]) < table.version()]
        for file in named:
            file.unlink()
    return len(named)


def _history_names(file: Path, needle: str) -> bool:
    if file.suffix != ".parquet":
        return needle.encode() in file.read_bytes()
    return needle in str(pq.read_table(file).to_pylist())


def _attempt(path: Path, needle: str, before: Touched) -> tuple[int | None, int]:
    table = DeltaTable(str(path))
    names: list[str] = pa.table(table.get_add_actions(flatten=True))["path"].to_pylist()
    rewritten, rows = list[_Rewritten](), 0
    for name in names:
        file = path / unquote(name)
        parts = [*_named_parts(file, needle)]
        if parts:
            named = pa.concat_tables(parts)
            before(named)
            rows += named.num_rows
            rewritten.append(_Rewritten(name, _rewrite(file, path, needle)))
    try:
        _commit(table, rewritten)
    except CommitFailedError:
        for each in rewritten:
            if each.added is not None:
                (path / each.added.path).unlink()
        return None, 0
    return table.version(), rows


def _commit(table: DeltaTable, rewritten: list[_Rewritten]) -> None:
    now = time.time_ns() // 1_000_000
    removes = [RemoveAction(each.removed, True, now, None, {}) for each in rewritten]
    adds = [each.added for each in rewritten if each.added is not None]
    table.create_write_transaction(
        [*removes, *adds], "append", table.schema(), commit_properties=CommitProperties(max_commit_retries=0)
    )


def _named_parts(file: Path, needle: str) -> Iterator[pa.Table]:
    with pq.ParquetFile(file) as opened:
        for group in range(opened.num_row_groups):
            rows = comparable(opened.read_row_group(group))
            named = rows.filter(naming(rows, needle))
            if named.num_rows:
                yield named


def _rewrite(file: Path, path: Path, needle: str) -> AddAction | None:
    """Write the rows of a file that do not contain ``needle`` to another one, row group by row group."""
    name = f"part-00000-{secrets.token_hex(16)}-c000.zstd.parquet"
    bounds = _Bounds()
    with ExitStack() as stack, pq.ParquetFile(file) as opened:
        writer: pq.ParquetWriter | None = None
        for group in range(opened.num_row_groups):
            rows = comparable(opened.read_row_group(group))
            kept = rows.filter(pc.invert(naming(rows, needle)))
            if not kept.num_rows:
                continue
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(path / name, kept.schema, compression="zstd"))
            writer.write_table(kept, row_group_size=kept.num_rows)
            bounds.add(kept)
    if not bounds.rows:
        return None
    facts = (path / name).stat()
    return AddAction(name, facts.st_size, {}, facts.st_mtime_ns // 1_000_000, True, bounds.dump())


class _Bounds:
    """Statistics of a file as Delta's transaction log holds them."""

    def __init__(self) -> None:
        self.rows = 0
        self._least: dict[str, Any] = {}
        self._most: dict[str, Any] = {}
        self._nulls: dict[str, int] = {}

    def add(self, rows: pa.Table) -> None:
        self.rows += rows.num_rows
        for name in _WITH_STATISTICS:
            if name not in rows.column_names:
                continue
            column = rows[name].cast(pa.int64())
            ends = pc.min_max(column).as_py()
            self._nulls[name] = self._nulls.get(name, 0) + column.null_count
            if ends["min"] is not None:
                self._least[name] = min(self._least.get(name, ends["min"]), ends["min"])
                self._most[name] = max(self._most.get(name, ends["max"]), ends["max"])

    def dump(self) -> str:
        least = {name: _told(name, value, 0) for name, value in self._least.items()}
        # An instant is told in milliseconds: the largest is rounded up, or readers would leave out what it bounds.
        most = {name: _told(name, value, 999) for name, value in self._most.items()}
        facts = {"numRecords": self.rows, "minValues": least, "maxValues": most, "nullCount": self._nulls}
        return json.dumps(facts)


def _told(name: str, value: int, up: int) -> int | str:
    if name == LOG_VERSION:
        return value
    whole = pa.scalar((value + up) // 1_000, pa.int64()).cast(pa.timestamp("ms"))
    return str(whole.cast(pa.string()).as_py()).replace(" ", "T") + "Z"
