"""What was removed from the log since: what was computed of it cannot be computed again."""

from __future__ import annotations

from dataclasses import dataclass

from feature_repo.core.clock import Clock
from feature_repo.core.settings import Settings
from feature_repo.engine.services import StoredView
from feature_repo.engine.spec import is_windowed, windowed_view_of
from feature_repo.engine.tiles import floor
from feature_repo.events.retention import kept_since
from feature_repo.privacy.tombstones import Tombstones

_USER = "user_id"


@dataclass(frozen=True)
class Removals:
    """What may have been removed by now.

    Attributes
    ----------
    days
        Event type -> days it is kept; what is not named is kept for ever.
    now
        Instant of the question (us).
    erased_at
        When somebody was erased last (us); None if nobody was.
    """

    days: dict[str, int]
    now: int
    erased_at: int | None

    @classmethod
    def of(cls, settings: Settings, clock: Clock) -> Removals:
        """Read them of a home."""
        return cls(settings.retention_days, clock.now_us(), Tombstones(settings.home).changed_at)

    def touch(self, stored: StoredView, feature: str, *, at: int, held: int | None) -> bool:
        """Whether a feature that was served may have been computed of rows that are gone.

        Parameters
        ----------
        at
            Instant of serving (us).
        held
            Event time of the row of an ordinary view (us).
        """
        # Of an erased person nothing is left to be compared; their events were counted in those of items.
        if self.erased_at is not None and at <= self.erased_at and _USER not in stored.view.join_keys:
            return True
        kept = kept_since(self.days, stored.log_table or "", self.now)
        since = _since(stored, feature, at) if is_windowed(stored.view) else held
        return kept is not None and since is not None and since < kept


def _since(stored: StoredView, feature: str, at: int) -> int:
    spec = windowed_view_of(stored.view)
    return floor(at - spec.feature(feature).reach, spec.hop)
