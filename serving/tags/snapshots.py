"""Snapshots of everybody: what audiences are made of. Files below the home, each whole or not there at all.

``<home>/snapshots/<as_of>/people.parquet`` has a row per shopper, ordered by ``user_id``: ``tag__<name>`` of live tags,
the numbers of ``profile_v1`` by full name, segment and stage, and ``score__<task>`` of every champion that is asked
about shoppers alone. ``manifest.json`` beside it says what it was made of.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.core.console import to_json
from feature_repo.core.errors import LogError
from feature_repo.core.locks import locked
from feature_repo.core.settings import Settings, ensure_home
from feature_repo.engine.retrieval import replacing
from feature_repo.events.removal import naming
from feature_repo.privacy.tombstones import Tombstones

PEOPLE, MANIFEST = "people.parquet", "manifest.json"

_ROWS_AT_ONCE = 100_000


@dataclass(frozen=True)
class Manifest:
    """What a snapshot was made of.

    Attributes
    ----------
    as_of
        Instant it tells of: windows end there.
    computed_at
        When it was made, by the log and the models of then.
    people
        How many shoppers it was made of; who was erased since has gone from the file.
    log_versions
        Table -> version of the log that was read.
    models
        Task -> ``task@version`` that was asked.
    tags
        Tag -> version.
    """

    as_of: datetime
    computed_at: datetime
    people: int
    log_versions: Mapping[str, int]
    models: Mapping[str, str]
    tags: Mapping[str, int]

    @property
    def name(self) -> str:
        """Of the directory; names are in the order of instants."""
        return f"{self.as_of:%Y%m%dT%H%M%S.%fZ}"

    def made_alike(self, other: Manifest) -> bool:
        """Whether the other one is of the same instant, log, models and tags."""
        mine, theirs = (
            (each.as_of, dict(each.log_versions), dict(each.models), dict(each.tags)) for each in (self, other)
        )
        return mine == theirs


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on the disk."""

    path: Path
    manifest: Manifest

    @property
    def people(self) -> Path:
        """File of the rows."""
        return self.path / PEOPLE


def snapshots_root(settings: Settings) -> Path:
    """Return the directory of all snapshots."""
    return settings.home / "snapshots"


def snapshots(settings: Settings) -> tuple[Snapshot, ...]:
    """Return the snapshots there are, the oldest first.

    Raises
    ------
    LogError
        A manifest is damaged.
    """
    paths = sorted(snapshots_root(settings).glob(f"*/{MANIFEST}"))
    found = (_read(path) for path in paths if not path.parent.name.startswith("."))
    return tuple(each for each in found if each is not None)


def write_snapshot(settings: Settings, people: pa.Table, manifest: Manifest) -> Snapshot:
    """Write a snapshot, without people who are erased, in place of one of the same instant; then remove the oldest.

    Raises
    ------
    OSError
        The disk is full, or the home cannot be written.
    SettingsError
        It cannot be told who is erased.
    """
    ensure_home(settings)
    root = snapshots_root(settings)
    with _turn(settings):
        partial = root / f".{manifest.name}.{secrets.token_hex(4)}.partial"
        partial.mkdir(mode=0o700, parents=True)
        try:
            table = Tombstones(settings.home).standing_rows(people)
            pq.write_table(table, partial / PEOPLE, compression="zstd", row_group_size=_ROWS_AT_ONCE)
            (partial / MANIFEST).write_text(to_json(asdict(manifest)), "utf-8")
            _replace(partial, root / manifest.name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        for left_over in sorted(snapshots(settings), key=lambda each: each.path)[: -settings.snapshots]:
            shutil.rmtree(left_over.path)
    return Snapshot(root / manifest.name, manifest)


def erase_snapshots(settings: Settings, needle: str, *, dry_run: bool) -> int:
    """Remove rows that contain ``needle`` from every snapshot; return how many there were. Left-overs go too.

    Raises
    ------
    LogError
        A file is damaged: whether it names the person cannot be told.
    """
    root = snapshots_root(settings)
    if not root.is_dir():
        return 0
    with _turn(settings):
        for path in [] if dry_run else root.glob(".*.partial"):  # of a process that was killed: nobody writes now
            shutil.rmtree(path)
        return sum(_scrub(path, needle, dry_run=dry_run) for path in sorted(root.glob(f"*/{PEOPLE}")))


def _replace(made: Path, place: Path) -> None:
    """Put a directory in its place; one that stood there steps aside first."""
    aside = place.with_name(f".{place.name}.{secrets.token_hex(4)}.partial")
    if place.exists():
        place.rename(aside)
    made.rename(place)
    shutil.rmtree(aside, ignore_errors=True)


def _scrub(path: Path, needle: str, *, dry_run: bool) -> int:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise LogError(
            f"The snapshot {path.parent.name} cannot be read: {type(error).__name__}.",
            hint=f"remove {path.parent}, and make it again with `portrait tags compute --at`.",
        ) from None
    named = naming(table, needle)
    count = int(pc.sum(named).as_py() or 0)
    if count and not dry_run:
        with replacing(path) as partial:
            kept = table.filter(pc.invert(named))
            pq.write_table(kept, partial, compression="zstd", row_group_size=_ROWS_AT_ONCE)
    return count


def _read(path: Path) -> Snapshot | None:
    try:
        said: dict[str, Any] = json.loads(path.read_text("utf-8"))
        times = {name: datetime.fromisoformat(said[name]) for name in ("as_of", "computed_at")}
        return Snapshot(path.parent, Manifest(**{**said, **times}))
    except FileNotFoundError:  # removed meanwhile
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LogError(
            f"The manifest of snapshot {path.parent.name} cannot be read: {type(error).__name__}.",
            hint=f"remove {path.parent}, and make it again with `portrait tags compute --at`.",
        ) from None


def _turn(settings: Settings) -> AbstractContextManager[None]:
    return locked(settings.home / "run" / "snapshots.lock")
