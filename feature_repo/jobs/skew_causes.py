"""Why what was served and what the log says of the same instant may differ, and what to do then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from feature_repo.jobs.skew_values import differ


class SkewCause(Enum):
    """Causes, by the words a report counts them under, each with what to do."""

    LATE = ("late event", "nothing: it happened before the features were served, and arrived after")
    BEHIND = ("behind the log", "look at `portrait jobs status`: events had arrived that the state did not hold yet")
    AHEAD = ("after the instant", "nothing: an event of the moment between the question's instant and Redis' answer")
    NOT_MATERIALIZED = ("not materialized", "run `portrait jobs materialize`: the view had no state")
    UNANSWERED = ("other definition", "run `portrait jobs materialize`: the state could not answer the feature")
    CHANGED = ("definition changed", "nothing: the feature was defined otherwise when it was served")
    RECREATED = ("recreated table", "nothing: the table that was served from is gone")
    REMOVED = ("removed since", "nothing: an erasure or the retention took events away that it was computed from")
    TTL = ("ttl", "nothing: its row outlived its ttl at that moment")
    UNEXPLAINED = ("unexplained", "run `portrait jobs parity`; if it finds nothing, report it")

    @property
    def words(self) -> str:
        """How reports name it."""
        return self.value[0]

    @property
    def remedy(self) -> str:
        """What to do."""
        return self.value[1]


@dataclass(frozen=True)
class Beside:
    """What the log holds of an entity beside what its state held when it was served.

    Attributes
    ----------
    late
        Rows that happened before the instant of serving, and arrived after it.
    behind
        Rows that had arrived, and that the state did not hold: they were not applied yet.
    lost
        Rows that the state did not hold, though the view was fed further than they are for certain.
    ahead
        Rows that the state held, and that happened at the instant of serving or after it.
    expired
        Whether the store had no row, and the log's last one was within a second of its ttl.
    """

    late: int = 0
    behind: int = 0
    lost: int = 0
    ahead: int = 0
    expired: bool = False


@dataclass(frozen=True)
class Told:
    """One value: as it was served, and computed again over parts of the log, each up to the instant of serving.

    Attributes
    ----------
    whole
        Over all of the log.
    held
        Over what the state held.
    known
        Over what had arrived by then.
    read
        Over what the state held, rows of the instant and after it included, as a reader of the state gets it.
    """

    served: Any
    whole: Any
    held: Any
    known: Any
    read: Any


def skew_cause(beside: Beside, told: Told, removed: Callable[[], bool] = lambda: False) -> SkewCause:
    """Tell why a value differs: by what it would be without each cause, not by what lies beside alone.

    Parameters
    ----------
    removed
        Says whether rows it was computed of may be gone: only what the rest of them do not explain is put down to that.

    >>> skew_cause(Beside(late=1), Told(served=1, whole=2, held=1, known=1, read=1)).words
    'late event'
    >>> skew_cause(Beside(late=1), Told(served=7, whole=2, held=1, known=1, read=1)).words
    'unexplained'
    >>> skew_cause(Beside(late=1, behind=1), Told(served=1, whole=3, held=1, known=2, read=1)).words
    'behind the log'
    >>> skew_cause(Beside(late=1, ahead=1), Told(served=2, whole=1, held=1, known=1, read=2)).words
    'after the instant'
    """
    if beside.expired and told.served is None:
        return SkewCause.TTL
    if beside.lost or differ(told.served, told.read):
        return SkewCause.REMOVED if not beside.lost and removed() else SkewCause.UNEXPLAINED
    if beside.ahead and not differ(told.held, told.whole):
        return SkewCause.AHEAD
    return _of_missing(beside, told)


def _of_missing(beside: Beside, told: Told) -> SkewCause:
    """Tell which of the rows that the state lacked matter; those that had arrived, where both do."""
    if not beside.late and not beside.behind:
        return SkewCause.UNEXPLAINED
    late_alone = differ(told.known, told.whole) and not differ(told.known, told.held)
    return SkewCause.LATE if not beside.behind or (beside.late and late_alone) else SkewCause.BEHIND
