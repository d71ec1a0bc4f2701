"""Erase a person: from the log, from Redis, from what training wrote down; then prove that nothing names them.

The tombstone comes first, so that nothing brings the person back whatever happens next. Each step finds by itself what
is left to do, and does it once; a run that was killed is finished by running it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from feast import FeatureView

from feature_repo.core.clock import Clock
from feature_repo.core.contributions import contributions
from feature_repo.core.errors import DeclarationError
from feature_repo.core.fences import raise_fence
from feature_repo.core.locks import locked
from feature_repo.core.settings import Settings, ensure_home
from feature_repo.core.stores import connect_duckdb, connect_redis, redis_answers
from feature_repo.engine.batch_engine import materialize_view
from feature_repo.engine.builder import StateBuilder
from feature_repo.engine.entity_keys import entity_keys
from feature_repo.engine.feature_store import open_store, stored_views
from feature_repo.engine.refold import Refolder
from feature_repo.engine.sources import is_delta, located
from feature_repo.engine.spec import is_windowed, windowed_view_of
from feature_repo.events.cleaning import USER_ID
from feature_repo.events.quarantine import QUARANTINE
from feature_repo.events.removal import remove_rows, rows_naming, sweep
from feature_repo.events.schema import TABLES
from feature_repo.jobs.absence import Needles, scan
from feature_repo.jobs.erase_redis import (
    Pause,
    delete_keys,
    delete_queued,
    forget_writes,
    keys_naming,
    queued_naming,
    wait_for_consumers,
)
from feature_repo.jobs.erasure_notes import Notes
from feature_repo.privacy.pseudonyms import is_pseudonym, load_pseudonymiser
from feature_repo.privacy.tombstones import Tombstones

# Entry points of functions (settings, needle, dry_run=...) -> how many rows were removed, or would be: only the package
# that wrote them knows where they are.
GROUP = "portrait.erasure"
# Entry points of functions (settings, needle) -> names of files that were handed out to others and named the person.
HANDED_OUT = "portrait.handed_out"

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class EraseReport:
    """What an erasure did, or of a dry run would do. It does not say of whom.

    Attributes
    ----------
    erased_before
        Whether there was a tombstone already.
    rows
        Rows removed, by table of the log; tables without any are left out.
    keys, queued
        Keys of Redis, and events on their way, that were deleted.
    refolded
        States of others (items, categories) that were made anew, as the person's events were in them; of a dry run,
        how many there are at most.
    rebuilt
        Views that had to be built anew as a whole for that.
    elsewhere
        Rows removed from what other packages keep.
    handed_out
        Files that were handed out to others and named the person: who has them has to be told.
    files_scanned, keys_scanned
        What was looked through in the end; none of a dry run.
    found
        How many files and kinds of keys still name the person; 0 is the proof.
    places
        Which: files relative to the home.
    raw_id
        How the raw id was looked for: ``"everywhere"``; ``"beside a name"`` such as ``user_id``, for one of a few
        digits; ``"not given"``.
    seconds
        Time it took.
    """

    dry_run: bool
    erased_before: bool
    rows: Mapping[str, int]
    keys: int
    queued: int
    refolded: int
    rebuilt: tuple[str, ...]
    elsewhere: Mapping[str, int]
    handed_out: tuple[str, ...]
    files_scanned: int
    keys_scanned: int
    found: int
    places: tuple[str, ...]
    raw_id: str
    seconds: float = field(compare=False)


def erase(
    settings: Settings,
    clock: Clock,
    user: str,
    *,
    dry_run: bool = False,
    wait_s: float = 60.0,
    pause: Pause = time.sleep,
    progress: Progress = lambda _step, _done: None,
) -> EraseReport:
    """Erase a person, or say what that would remove. Twice is once.

    Readers of the log that began before, and have not opened all files yet, may fail and have to read again. Jobs that
    read a person's rows before are cut off from Redis, however long they sleep, and start over; a training run leaves
    the person out of the rows it lists. What an import under way could not commit may stay on the disk as a file of no
    version: running it again finds that. Kafka's topic is left to its retention: what is in it is dropped by those who
    read it. Copies that others keep (backups, a model's weights) are theirs.

    Parameters
    ----------
    user
        Raw id or pseudonym. Only with a raw id, that is looked for too.
    wait_s
        Bound of each wait: for consumers to take note, for Redis to rewrite its file.
    progress
        Told what is done next, and the share done.

    Raises
    ------
    StoreUnavailableError
        Redis does not answer, or a wait was in vain.
    CommitConflictError
        Others commit to a table all the time.
    LogError
        A table of the log is damaged.
    SettingsError
        The home or its keys cannot be used.
    """
    started = time.monotonic()
    ensure_home(settings)
    pseudonym = user if is_pseudonym(user) else load_pseudonymiser(settings.home).pseudonym(user)
    tombstones = Tombstones(settings.home)
    before = tombstones.holds(pseudonym)
    if not dry_run:
        progress("tombstone", 0.0)
        tombstones.add(pseudonym)
    needles = Needles(pseudonym.removeprefix("u_"), None if is_pseudonym(user) else user)
    with _redis_in_turn(settings, dry_run=dry_run) as client:
        run = _Erasure(settings, clock, client, needles, dry_run)
        if not dry_run:
            progress("consumers", 0.05)
            wait_for_consumers(client, clock, tombstones.count, wait_s=wait_s, pause=pause)
        found = run.remove(Notes(settings.home, b"" if dry_run else tombstones.hash(pseudonym)), progress)
        if not dry_run:
            progress("append-only file", 0.7)
            forget_writes(client, clock, folder=run.redis_folder, wait_s=wait_s, pause=pause)
        report = run.report(found, progress, erased_before=before, started=started)
    progress("done", 1.0)
    return report


@contextmanager
def _redis_in_turn(settings: Settings, *, dry_run: bool) -> Iterator[Any]:
    """Erasures take turns: one that sleeps before it writes a state would bring another's person back."""
    turn = nullcontext() if dry_run else locked(settings.home / "run" / "erase.lock")
    with turn, redis_answers(), closing(connect_redis(settings, timeout_s=60.0)) as client:
        yield client


@dataclass
class _Found:
    """What the steps removed."""

    rows: dict[str, int] = field(default_factory=dict)
    keys: int = 0
    queued: int = 0
    refolded: int = 0
    rebuilt: list[str] = field(default_factory=list)
    elsewhere: dict[str, int] = field(default_factory=dict)
    handed_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Erasure:
    settings: Settings
    clock: Clock
    client: Any
    needles: Needles
    dry_run: bool

    @property
    def redis_folder(self) -> Path | None:
        folder = self.settings.home / "redis" / "appendonlydir"
        return folder if not self.settings.redis_url and folder.is_dir() else None

    def remove(self, notes: Notes, progress: Progress) -> _Found:
        """Take the steps in order."""
        found, needle = _Found(), self.needles.pseudonym
        for n, path in enumerate(self._tables):
            progress(f"table {path.name}", 0.1 + 0.3 * n / len(self._tables))
            rows = self._rows(path, notes)
            found.rows |= {path.name: rows} if rows else {}
        if not self.dry_run:
            progress("jobs under way", 0.38)
            self._cut_off()
        progress("queued events", 0.4)
        streams = queued_naming(self.client, needle.encode())
        found.queued = sum(map(len, streams.values()))
        progress("keys", 0.45)
        found.keys = len(keys_naming(self.client, needle.encode()))
        if not self.dry_run:
            found.queued = delete_queued(self.client, needle.encode())
            found.keys = delete_keys(self.client, needle.encode())
        progress("states of others", 0.5)
        self._others(notes.touched, found)
        for contribution in contributions(HANDED_OUT):
            found.handed_out += contribution.load()(self.settings, needle)
        for contribution in contributions(GROUP):
            progress(contribution.name, 0.65)
            found.elsewhere[contribution.name] = contribution.load()(self.settings, needle, dry_run=self.dry_run)
        if not self.dry_run:
            progress("notes", 0.69)
            notes.finish()
        return found

    def report(self, found: _Found, progress: Progress, *, erased_before: bool, started: float) -> EraseReport:
        """Look for what is left, and say everything."""
        progress("proof", 0.75)
        left = None if self.dry_run else scan(self.settings.home, self.client, self.needles)
        raw = "everywhere" if self.needles.everywhere else "beside a name"
        return EraseReport(
            dry_run=self.dry_run,
            erased_before=erased_before,
            rows=found.rows,
            keys=found.keys,
            queued=found.queued,
            refolded=found.refolded,
            rebuilt=tuple(found.rebuilt),
            elsewhere=found.elsewhere,
            handed_out=tuple(found.handed_out),
            files_scanned=left.files if left else 0,
            keys_scanned=left.keys if left else 0,
            found=len(left.places) if left else 0,
            places=left.places if left else (),
            raw_id="not given" if self.needles.raw is None else raw,
            seconds=time.monotonic() - started,
        )

    @cached_property
    def _tables(self) -> list[Path]:
        """Tables of the log that can name somebody, refused rows included."""
        paths = [self.settings.log_root / name for name in (*TABLES, QUARANTINE)]
        return [path for path in paths if DeltaTable.is_deltatable(str(path))]

    @cached_property
    def _stored(self) -> list[FeatureView]:
        with suppress(DeclarationError):  # nothing was applied yet
            return stored_views(open_store())
        return []

    @property
    def _views(self) -> list[FeatureView]:
        """Stored views that are about others than shoppers, and read the log."""
        return [view for view in self._stored if USER_ID not in view.join_keys and is_delta(view.batch_source)]

    def _cut_off(self) -> None:
        """Keep jobs that read the log before from writing, and remove what they have left half done.

        Here is where it belongs: who reads the log from now on finds nothing, and who was cut off writes nothing any
        more of what is deleted next.
        """
        fence = raise_fence(self.client)
        with closing(connect_duckdb(self.settings)) as connection:
            for view in filter(is_windowed, self._stored):
                builder = StateBuilder(connection, self.client, self._project, self.clock)
                builder.abandon_before(windowed_view_of(view), fence)

    def _rows(self, path: Path, notes: Notes) -> int:
        def touched(rows: pa.Table) -> None:
            for view in self._views:
                if Path(located(view.batch_source.path)) == path:
                    notes.add(view.name, self._entities(view, rows), kept=not self.dry_run)

        if self.dry_run:
            rows = rows_naming(path, self.needles.pseudonym)
            touched(rows)
            return int(rows.num_rows)
        removed = remove_rows(path, self.needles.pseudonym, before=touched)
        sweep(path, self.needles.pseudonym)
        return removed

    def _entities(self, view: FeatureView, rows: pa.Table) -> Sequence[bytes]:
        names = {name: column for column, name in view.batch_source.field_mapping.items()}
        keys = sorted(view.join_keys)
        about = rows.select([names.get(key, key) for key in keys]).drop_null()
        return sorted(set(entity_keys(self._project, keys, about.columns)))

    @cached_property
    def _project(self) -> str:
        return str(open_store().project)

    def _others(self, touched: Mapping[str, list[bytes]], found: _Found) -> None:
        """Make states anew that the person's events were part of."""
        views = {view.name: view for view in self._views}
        with closing(connect_duckdb(self.settings)) as connection:
            for name, keys in touched.items():
                if name not in views:
                    continue  # its declaration has gone, and its state is not served
                done: int | None = len(keys)
                if not self.dry_run:
                    done = self._refold(connection, views[name], keys)
                found.refolded += done or 0
                if done is None:
                    materialize_view(
                        views[name], project=self._project, settings=self.settings, clock=self.clock, full=True
                    )
                    found.rebuilt.append(name)

    def _refold(self, connection: Any, view: FeatureView, keys: list[bytes]) -> int | None:
        if not is_windowed(view):
            return None
        refolder = Refolder(connection, self.client, self._project, self.clock)
        return refolder.refold(windowed_view_of(view), keys)
