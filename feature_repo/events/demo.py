"""The demo's data into the event log: a year of real shopping, moved to end now."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from feature_repo.core.clock import Clock
from feature_repo.core.errors import DataError, SettingsError
from feature_repo.core.settings import Settings, ensure_home
from feature_repo.events.cleaning import complete, normalise
from feature_repo.events.complete_journey import NO_MONEY, PACKAGE, TABLE_NAMES, Journey, package_folder
from feature_repo.events.log import Commit
from feature_repo.events.quarantine import quarantine_table
from feature_repo.events.schema import log_table
from feature_repo.events.wall_clock import WEEK
from feature_repo.privacy.pseudonyms import load_pseudonymiser

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class LoadReport:
    """What an import found and did.

    Attributes
    ----------
    read
        Rows of the source that are events or dimension rows, refused ones included; payments are derived, not read.
    published
        Rows written to each table.
    duplicates
        Rows the log held already.
    quarantined
        Rows refused, by reason, whether this import or an earlier one put them into quarantine.
    rules
        Rows each cleaning rule touched.
    shift_weeks
        Whole weeks of local time the history was moved by.
    seconds
        Time it took.
    """

    read: int
    published: dict[str, int]
    duplicates: int
    quarantined: dict[str, int]
    rules: dict[str, int] = field(repr=False)
    shift_weeks: int
    seconds: float


def load_demo(
    settings: Settings,
    clock: Clock,
    *,
    progress: Progress | None = None,
    shift_weeks: int | None = None,
    folder: Path | None = None,
) -> LoadReport:
    """Import Complete Journey. Twice is once: a second import finds only duplicates.

    Local wall time is moved by the largest number of whole weeks that leaves no event after now; the shift is kept in
    ``<home>/demo.json`` and used by every later import. Each table is one atomic commit.

    Parameters
    ----------
    settings
        Home of the log and the key; bounds of DuckDB.
    clock
        Says when now is.
    progress
        Called with a step's name and the share done, from 0 to 1.
    shift_weeks
        Instead of the computed shift; 0 leaves the history where it was.
    folder
        Directory of the Parquet files instead of the installed package's.

    Raises
    ------
    DataError
        A file is missing or damaged (nothing is written then), or ``shift_weeks`` is not what the home was made with.
    SettingsError
        The home or its key cannot be used, or ``settings.memory`` is too small.
    """
    started = time.monotonic()
    tell = progress or _silent
    tell("read", 0.0)
    with _enough_memory(settings), closing(Journey(folder or package_folder(), settings)) as journey:
        ensure_home(settings)
        weeks = _shift(settings.home, journey, clock, shift_weeks)
        journey.place(load_pseudonymiser(settings.home), weeks)
        commits = dict(_publish(settings.log_root, journey, tell))
        rejected = quarantine_rows(settings.log_root, journey.rejected())
        rules = journey.rules()
    tell("done", 1.0)
    return _report(commits, {NO_MONEY: rejected}, rules, weeks, time.monotonic() - started)


def quarantine_rows(log_root: Path, rows: pa.Table) -> int:
    """Put refused rows into quarantine, those there already excepted; return how many were refused."""
    table = quarantine_table(log_root)
    table.ensure()
    table.commit(rows)
    return int(rows.num_rows)


def _publish(log_root: Path, journey: Journey, tell: Progress) -> Iterator[tuple[str, Commit]]:
    for n, name in enumerate(TABLE_NAMES, start=1):
        tell(name, n / (len(TABLE_NAMES) + 2))
        table = log_table(log_root, name)
        table.ensure()
        yield name, table.commit(complete(normalise(journey.table(name)), name))


def _report(
    commits: dict[str, Commit], quarantined: dict[str, int], rules: dict[str, int], weeks: int, seconds: float
) -> LoadReport:
    found = sum(commit.rows + commit.duplicates for name, commit in commits.items() if name != "payment")
    return LoadReport(
        read=found + sum(quarantined.values()),
        published={name: commit.rows for name, commit in commits.items()},
        duplicates=sum(commit.duplicates for commit in commits.values()),
        quarantined=quarantined,
        rules=rules,
        shift_weeks=weeks,
        seconds=seconds,
    )


@contextmanager
def _enough_memory(settings: Settings) -> Iterator[None]:
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise SettingsError(
            f"The demo's data does not fit into PORTRAIT_MEMORY = {settings.memory}.",
            hint="set PORTRAIT_MEMORY to 1GB or more and run the command again; it goes on where it stopped.",
        ) from None


def _silent(step: str, done: float) -> None:
    del step, done


def _shift(home: Path, journey: Journey, clock: Clock, wanted: int | None) -> int:
    path = home / "demo.json"
    kept = _kept_shift(path)
    if kept is None:
        weeks = _weeks_until(journey, clock.now_us()) if wanted is None else wanted
        _keep_shift(path, weeks)
        return weeks
    if wanted is not None and wanted != kept:
        raise DataError(
            f"The demo in this home was moved by {kept} weeks, not by {wanted} (demo.json).",
            hint="leave the shift out, or import into another home (PORTRAIT_HOME).",
        )
    return kept


def _weeks_until(journey: Journey, now_us: int) -> int:
    now = int(journey.clock(now_us).to_wall(np.array([now_us]))[0])
    return (now - journey.span().last) // WEEK


def _kept_shift(path: Path) -> int | None:
    if not path.exists():
        return None
    try:
        return int(json.loads(path.read_text())["shift_weeks"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            "The demo's shift in demo.json cannot be read.",
            hint="restore it, or remove the home and import again: a log holds the demo with one shift only.",
        ) from None


def _keep_shift(path: Path, weeks: int) -> None:
    draft = path.with_name(f".demo.{os.getpid()}.json")
    draft.write_text(json.dumps({"source": PACKAGE, "shift_weeks": weeks}) + "\n")
    draft.replace(path)
