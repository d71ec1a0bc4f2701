"""Why what was served and what the log says of the same instant may differ, and what to do then."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from feature_repo.core.clock import SECOND


class SkewCause(Enum):
    """Causes, by the words a report counts them under, each with what to do."""

    LATE = ("late event", "nothing: it happened before the features were served, and arrived after")
    BEHIND = ("behind the log", "look at `portrait jobs status`: events had arrived that the state did not hold yet")
    AHEAD = ("after the instant", "nothing: an event of the moment between the question's instant and Redis' answer")
    NOT_MATERIALIZED = ("not materialized", "run `portrait jobs materialize`: the view had no state")
    UNANSWERED = ("other definition", "run `portrait jobs materialize`: the state could not answer the feature")
    CHANGED = ("definition changed", "nothing: the feature was defined otherwise when it was served")
    RECREATED = ("recreated table", "nothing: the table that was served from is gone")
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
    """

    late: int = 0
    behind: int = 0
    lost: int = 0
    ahead: int = 0


def skew_cause(beside: Beside, *, as_held: bool, age: int | None = None, ttl: int = 0) -> SkewCause:
    """Tell why a value differs.

    Parameters
    ----------
    as_held
        Whether the value is the offline store's over what the state held: only what is beside that explains it then.
    age
        Of the row of an ordinary view when it was served (us).
    ttl
        How long such a row is alive (us); 0 for ever.

    >>> skew_cause(Beside(late=1), as_held=True).words
    'late event'
    >>> skew_cause(Beside(late=1), as_held=False).words
    'unexplained'
    >>> skew_cause(Beside(behind=1, lost=1), as_held=True).words
    'unexplained'
    """
    if beside.lost:
        return SkewCause.UNEXPLAINED
    if as_held and beside.behind:
        return SkewCause.BEHIND
    if as_held and beside.late:
        return SkewCause.LATE
    if beside.ahead:
        return SkewCause.AHEAD
    return SkewCause.TTL if ttl and age is not None and abs(age - ttl) <= SECOND else SkewCause.UNEXPLAINED
