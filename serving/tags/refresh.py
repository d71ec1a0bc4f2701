"""What a refresh does about tags: a snapshot of everybody, once a day."""

from __future__ import annotations

from feature_repo.core.clock import DAY, Clock, from_us, to_us
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from serving.tags.compute import compute
from serving.tags.snapshots import snapshots


def refresh_snapshot(settings: Settings, clock: Clock, *, dry_run: bool) -> str:
    """Compute a snapshot as of now, unless there is one of today (UTC); return what was done.

    Raises
    ------
    DeclarationError, LogError, ModelUnavailableError, StoreUnavailableError
        As ``compute``.
    """
    now, found = clock.now_us(), snapshots(settings)
    if found and to_us(found[-1].manifest.as_of) // DAY == now // DAY:
        return f"The snapshot is of today: as of {found[-1].manifest.as_of:%Y-%m-%d %H:%M} UTC."
    if dry_run:
        return f"A snapshot would be written as of {from_us(now):%Y-%m-%d %H:%M} UTC."
    try:
        done = compute(settings, clock, at=now)
    except DataError as error:  # nobody has come yet
        return error.what
    return f"{done.people:,} shoppers as of {done.as_of:%Y-%m-%d %H:%M} UTC."
