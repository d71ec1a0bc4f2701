"""The demo's data into the event log: a year of real shopping, moved to end now."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np

from feature_repo.core.clock import Clock, from_us
from feature_repo.core.errors import DataError, SettingsError
from feature_repo.core.settings import Settings, ensure_home
from feature_repo.core.stores import atomic_write
from feature_repo.events.complete_journey import NO_MONEY, PACKAGE, TABLE_NAMES, Journey, package_folder
from feature_repo.events.door import Admitted, admit
from feature_repo.events.quarantine import quarantine_rows
from feature_repo.events.stats import log_stats
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
        Rows of those read that the log held already.
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
        tables = dict(_publish(settings.log_root, journey, tell))
        rejected = quarantine_rows(settings.log_root, journey.rejected())
        rules = journey.rules()
    tell("done", 1.0)
    return _report(tables, rejected, rules, weeks, time.monotonic() - started)


def ensure_demo(settings: Settings, clock: Clock, *, folder: Path | None = None) -> LoadReport | None:
    """Load the demo into an empty home; leave a home with other events alone, and one that holds the demo as it is.

    Returns
    -------
    LoadReport or None
        None where the demo was there.

    Raises
    ------
    SettingsError
        The log holds events, and none of the demo's. Nothing was written.
    DataError
        As :func:`load_demo`.
    """
    found = [each for each in log_stats(settings) if each.rows or each.quarantined]
    if found and _kept_shift(settings.home / "demo.json") is None:
        raise SettingsError(
            f"The log of {settings.home} holds events of another source, which the demo's would be mixed with.",
            hint="set PORTRAIT_HOME to another directory, or run `portrait events demo` if that is what you want.",
        )
    whole = set(TABLE_NAMES) <= {each.name for each in found} and any(each.quarantined for each in found)
    return None if whole else load_demo(settings, clock, folder=folder)


def _publish(log_root: Path, journey: Journey, tell: Progress) -> Iterator[tuple[str, Admitted]]:
    for n, name in enumerate(TABLE_NAMES, start=1):
        tell(name, n / (len(TABLE_NAMES) + 2))
        yield name, admit(log_root, name, journey.table(name), source=PACKAGE)


def _report(
    tables: dict[str, Admitted], no_money: int, rules: dict[str, int], weeks: int, seconds: float
) -> LoadReport:
    refused = Counter({NO_MONEY: no_money})
    for admitted in tables.values():
        refused.update(admitted.quarantined)
    source = [admitted for name, admitted in tables.items() if name != "payment"]  # payments are derived from purchases
    return LoadReport(
        read=no_money + sum(map(_rows, source)),
        published={name: admitted.published for name, admitted in tables.items()},
        duplicates=sum(admitted.duplicates for admitted in source),
        quarantined=dict(refused),
        rules=rules,
        shift_weeks=weeks,
        seconds=seconds,
    )


def _rows(admitted: Admitted) -> int:
    return admitted.published + admitted.duplicates + sum(admitted.quarantined.values()) + admitted.erased


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
        weeks = int(json.loads(path.read_text())["shift_weeks"])
        from_us(weeks * WEEK)
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        raise DataError(
            "The demo's shift in demo.json cannot be read.",
            hint="restore it, or remove the home and import again: a log holds the demo with one shift only.",
        ) from None
    return weeks


def _keep_shift(path: Path, weeks: int) -> None:
    atomic_write(path, json.dumps({"source": PACKAGE, "shift_weeks": weeks}) + "\n")
