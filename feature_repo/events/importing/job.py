"""Imports somebody else's log: reads and checks all of it first, then lets the good rows in by the one door."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa

from feature_repo.core.clock import Clock
from feature_repo.core.errors import CheckFailedError, CommitConflictError, DataError
from feature_repo.core.settings import Settings, ensure_home
from feature_repo.core.stores import connect_duckdb
from feature_repo.events.door import Admitted, admit
from feature_repo.events.importing.convert import LINE, Converter
from feature_repo.events.importing.delimited import read_delimited
from feature_repo.events.importing.files import Opened, encoding_of, find_files, open_file
from feature_repo.events.importing.json_lines import read_json_lines
from feature_repo.events.importing.mapping import Mapping
from feature_repo.events.importing.parquet_rows import read_parquet
from feature_repo.events.importing.payments import PAYMENT, payments
from feature_repo.events.importing.rows import Piece
from feature_repo.events.importing.staging import FILE, Staged, renamed, staging
from feature_repo.events.quarantine import QUARANTINE, quarantine_rows
from feature_repo.events.retention import kept_since, within
from feature_repo.privacy.pseudonyms import load_pseudonymiser

Progress = Callable[[str, float], None]

SMALL_COMMIT_ROWS = 5_000

_READING = 0.7


@dataclass(frozen=True)
class ImportReport:
    """What an import found and did; ``read`` is the sum of the next four, of ``erased`` and of ``expired``.

    Attributes
    ----------
    read
        Rows of the files, without headers and blank lines.
    published
        Rows written to the log.
    duplicates
        Rows the log held already, or that came twice.
    ignored
        Rows the mapping leaves out by their event type.
    quarantined
        Rows refused, by reason, whether this import or an earlier one put them into quarantine.
    places
        Where each reason was met first.
    tables
        Rows written, by table; those that were derived too.
    rules
        Rows, or lines, each rule of reading touched.
    files
        Files read.
    dry_run
        Whether it was a rehearsal: then ``published`` and ``duplicates`` are 0, and nothing was written.
    seconds
        Time it took.
    erased
        Rows of people who were erased, which went nowhere.
    expired
        Rows older than the retention of their type, which would be removed again.
    derived
        Events written that follow from the rows (``derive`` of the mapping) and are none of them.
    """

    read: int
    published: int
    duplicates: int
    ignored: int
    quarantined: dict[str, int]
    places: dict[str, str]
    tables: dict[str, int]
    rules: dict[str, int]
    files: int
    dry_run: bool
    seconds: float = field(compare=False)
    erased: int = 0
    expired: int = 0
    derived: int = 0


def import_events(
    settings: Settings,
    clock: Clock,
    patterns: Sequence[str],
    mapping: Mapping,
    *,
    max_bad: float = 1.0,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Import files. Twice is once: ids are given, or follow from a row's content and its number among rows alike.

    Everything is read and checked before anything is written; then each commit takes up to 100,000 rows, and an import
    that was interrupted between two of them is finished by running it again.

    Parameters
    ----------
    patterns
        Paths and globs.
    max_bad
        Largest share of bad rows, from 0 to 1, with which anything is published.
    dry_run
        Read and check only.
    progress
        Called with a step's name and the share done, from 0 to 1.

    Raises
    ------
    DataError
        A file cannot be read as the mapping says; nothing was written.
    CheckFailedError
        More rows are bad than ``max_bad``; nothing was written.
    SettingsError
        The home or its key cannot be used.
    CommitConflictError
        Other writers came first again and again; run it again.
    """
    started = time.monotonic()
    tell = progress or (lambda _step, _done: None)
    files = find_files(patterns)
    ensure_home(settings)
    with closing(connect_duckdb(settings)) as connection, staging(settings) as staged:
        converter = Converter(mapping, load_pseudonymiser(settings.home), connection, clock.now_us())
        _stage(files, mapping, converter, staged, tell)
        _check_share(staged, max_bad)
        tables: Counter[str] = Counter()
        left: Counter[str] = Counter()
        if not dry_run:
            days = settings.retention_days
            oldest = {name: kept_since(days, name, clock.now_us()) for name in (*mapping.types, PAYMENT)}
            tables, left = _publish(settings, mapping, staged, connection, oldest, tell)
    tell("done", 1.0)
    return _report(mapping, staged, tables, left, files=len(files), dry_run=dry_run, started=started)


def read_pieces(opened: Opened, mapping: Mapping) -> Iterator[Piece]:
    """Read a file in pieces as a mapping says.

    Raises
    ------
    DataError
        It is not what the mapping says.
    """
    source, wanted = mapping.source, mapping.wanted
    if source.format == "parquet":
        return read_parquet(opened.path, opened.stream, wanted)
    encoding = encoding_of(opened, source.encoding)
    if source.format == "jsonl":
        return read_json_lines(opened.path, opened.stream, encoding, wanted)
    return read_delimited(opened.path, opened.stream, source.model_copy(update={"encoding": encoding}), wanted)


def _stage(files: list[Path], mapping: Mapping, converter: Converter, staged: Staged, tell: Progress) -> None:
    sizes = [path.stat().st_size for path in files]
    if not any(sizes):
        what = f"'{files[0]}' is empty." if len(files) == 1 else f"All {len(files)} files are empty."
        raise DataError(what, hint="name a file with some rows in it.")
    before, whole = 0, sum(sizes)
    for number, (path, size) in enumerate(zip(files, sizes, strict=True)):
        tell(f"reading {path.name}", _READING * before / whole)
        if not size:
            staged.rules["empty_files"] += 1
            continue
        with open_file(path) as opened:
            for piece in read_pieces(opened, mapping):
                staged.add(converter.convert(piece, str(path)), number)
                tell(f"reading {path.name}", _READING * (before + opened.position()) / whole)
        before += size


def _check_share(staged: Staged, max_bad: float) -> None:
    bad = staged.refused.total()
    if not staged.read or bad / staged.read <= max_bad:
        return
    worst = ", ".join(
        f"{reason} {rows:,} (first: {staged.places[reason]})" for reason, rows in staged.refused.most_common(5)
    )
    raise CheckFailedError(
        f"{bad:,} of {staged.read:,} rows are bad, more than --max-bad {max_bad:g}; nothing was imported: {worst}.",
        hint="correct the file or the mapping, or allow more with --max-bad.",
    )


def _admit(log_root: Path, name: str, rows: pa.Table) -> Iterator[Admitted]:
    """Let rows in, in halves where a stream that writes to the table is always quicker than so many."""
    try:
        yield admit(log_root, name, rows, source="import")
    except CommitConflictError:
        if len(rows) <= SMALL_COMMIT_ROWS:
            raise
        half = len(rows) // 2
        yield from _admit(log_root, name, rows.slice(0, half))
        yield from _admit(log_root, name, rows.slice(half))


def _publish(
    settings: Settings,
    mapping: Mapping,
    staged: Staged,
    connection: duckdb.DuckDBPyConnection,
    oldest: dict[str, int | None],
    tell: Progress,
) -> tuple[Counter[str], Counter[str]]:
    """Return the rows written by table; those that were not, by why; and how many were derived."""
    tables: Counter[str] = Counter()
    left: Counter[str] = Counter()
    done, whole = 0, max(staged.rows.total(), 1)
    for name in mapping.types:
        if mapping.duplicates == "keep" and staged.rows[name]:
            staged.number_repeats(name, connection)
        for batch in staged.batches(name):
            tell(f"publishing {name}", _READING + (1 - _READING) * done / whole)
            rows = renamed(batch, connection) if mapping.duplicates == "keep" else batch
            kept = _kept(rows.drop_columns([FILE, LINE]), oldest[name])
            left["expired"] += len(rows) - len(kept)
            for admitted in _admit(settings.log_root, name, kept):
                tables[name] += admitted.published
                left.update(duplicates=admitted.duplicates, erased=admitted.erased)
            done += len(batch)
    left["derived"] = _derive(settings, mapping, staged, connection, oldest[PAYMENT], tables)
    for refused in staged.batches(QUARANTINE):
        quarantine_rows(settings.log_root, pa.table(refused))
    return tables, left


def _derive(
    settings: Settings,
    mapping: Mapping,
    staged: Staged,
    connection: duckdb.DuckDBPyConnection,
    oldest: int | None,
    tables: Counter[str],
) -> int:
    if mapping.derive is None:
        return 0
    for rows in payments(staged, mapping, connection):
        tables[PAYMENT] += sum(each.published for each in _admit(settings.log_root, PAYMENT, _kept(rows, oldest)))
    return tables[PAYMENT]


def _kept(rows: pa.Table, since_us: int | None) -> pa.Table:
    mask = within(rows, since_us)
    return rows if mask is None else rows.filter(mask)


def _report(
    mapping: Mapping,
    staged: Staged,
    tables: Counter[str],
    left: Counter[str],
    *,
    files: int,
    dry_run: bool,
    started: float,
) -> ImportReport:
    derived = () if mapping.derive is None else (mapping.derive,)
    return ImportReport(
        read=staged.read,
        published=tables.total() - left["derived"],
        duplicates=left["duplicates"],
        erased=left["erased"],
        ignored=staged.ignored,
        quarantined=dict(sorted(staged.refused.items())),
        places=staged.places,
        tables={name: tables[name] for name in (*mapping.types, *derived) if not dry_run},
        rules=dict(sorted(staged.rules.items())),
        files=files,
        dry_run=dry_run,
        seconds=time.monotonic() - started,
        expired=left["expired"],
        derived=left["derived"],
    )
