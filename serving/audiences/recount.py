"""Saved audiences counted anew on the latest snapshot: what `portrait audience refresh` does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from feature_repo.core.clock import Clock, from_us
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from serving.audiences.audiences import Audiences
from serving.audiences.index_files import drop_indices
from serving.audiences.saved import Saved, Size, all_saved, note_size
from serving.audiences.snapshots import all_snapshots


@dataclass(frozen=True)
class Recount:
    """What became of an audience.

    Attributes
    ----------
    size, before
        How many belong to its version now, and as of the snapshot that was counted before; None: not counted.
    why
        What keeps it from being counted; empty if nothing does.
    """

    name: str
    version: int
    size: int | None
    before: int | None
    why: str = ""


@dataclass(frozen=True)
class Recounts:
    """What became of all audiences, as of the latest snapshot; None: there is no audience."""

    as_of: datetime | None
    audiences: tuple[Recount, ...]


def recount(settings: Settings, clock: Clock) -> Recounts:
    """Count every saved audience on the latest snapshot. Twice is once; one that cannot be counted keeps no other back.

    Raises
    ------
    DataError
        There are audiences and no snapshot, or a file is damaged.
    """
    every = all_saved(settings)
    if not every:
        return Recounts(None, ())
    audiences = Audiences(settings)
    drop_indices(settings, [each.name for each in all_snapshots(settings)])
    return Recounts(audiences.as_of, tuple(_recount(audiences, clock, saved) for saved in every))


def count(audiences: Audiences, clock: Clock, saved: Saved) -> Size:
    """Count an audience's current version, and remember it."""
    found = audiences.estimate(saved.current.selection)
    size = Size(saved.current.version, found.as_of, found.size, found.everyone, from_us(clock.now_us()))
    note_size(audiences.settings, saved.name, size)
    return size


def _recount(audiences: Audiences, clock: Clock, saved: Saved) -> Recount:
    version = saved.current.version
    earlier = [each for each in saved.sizes if each.version == version and each.as_of < audiences.as_of]
    before = max(earlier, key=lambda each: each.as_of).size if earlier else None
    try:
        return Recount(saved.name, version, count(audiences, clock, saved).size, before)
    except DataError as error:
        return Recount(saved.name, version, None, before, f"{error.what} {error.hint}".strip())
