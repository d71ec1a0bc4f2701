"""Why a value in Redis and the log's may differ, told from what either holds of the entity, and what to do then."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

_MATERIALIZE = "run `portrait jobs materialize`"
_REBUILD = "rebuild it with `portrait jobs materialize --full`"


class Cause(Enum):
    """Causes, by the words a report counts them under, each with what to do."""

    NOT_MATERIALIZED = ("not materialized", _MATERIALIZE)
    RECREATED = ("recreated table", f"{_MATERIALIZE}: it builds from the table that is there now")
    LOST_COMMITS = ("lost commits", "restore the table from a backup: Redis holds more of it than it does")
    DEFINITION = ("other definition", f"{_MATERIALIZE}: the state that is served cannot answer the feature")
    MOVED = ("changed meanwhile", "compare again when no other job is writing")
    UNREADABLE = ("unreadable state", f"{_REBUILD}; find out what else writes to this Redis")
    EXPIRED = ("expired", "nothing: its row outlived its ttl while it was compared")
    MISSING = ("entity missing", f"{_REBUILD}; see that nothing else deletes keys of this Redis")
    BEHIND = ("behind the log", f"{_REBUILD}: a write was lost, or Redis came back with older data")
    AHEAD = ("ahead of the log", f"{_MATERIALIZE}; what is ahead still was pushed, or its row left the log")
    DUPLICATE = ("duplicate event", "find what wrote an event_id twice past the log's door, and restore the table")
    ROUNDING = ("rounding", f"{_REBUILD}, and report it: sums have drifted past their tolerance")
    VALUE = ("value", f"{_REBUILD}; if it differs again, report it: a damaged state, or a fault of Portrait's")

    @property
    def words(self) -> str:
        """How reports name it."""
        return self.value[0]

    @property
    def remedy(self) -> str:
        """What to do."""
        return self.value[1]

    @classmethod
    def of(cls, words: str) -> Cause:
        """Return the cause that reports call by these words.

        Raises
        ------
        StopIteration
            None is.
        """
        return next(cause for cause in cls if cause.words == words)


@dataclass(frozen=True)
class Held:
    """What Redis holds of an entity of one view.

    Attributes
    ----------
    present, readable
        Whether there is something, and whether it can be decoded.
    upto
        Of a windowed view the log version in the state's header, of an ordinary one its row's event time (us); None if
        there is none, or it cannot be read.
    """

    present: bool = False
    readable: bool = True
    upto: int | None = None


@dataclass(frozen=True)
class Logged:
    """What the log holds of an entity, of what the view reads.

    Attributes
    ----------
    rows, duplicates
        Rows, and how many of them repeat an ``event_id``.
    upto
        As of :class:`Held`: the latest log version, or the latest event time (us); None without rows.
    exact
        Whether Redis should hold just as much: it holds the latest row, but a state's header may name a later version.
    expires
        When the latest row of an ordinary view outlives its ttl (us); None for never.
    """

    rows: int = 0
    duplicates: int = 0
    upto: int | None = None
    exact: bool = False
    expires: int | None = None


def cause_of(held: Held, logged: Logged, *, now: int, rounding: bool) -> Cause:
    """Tell why the values of an entity differ.

    Parameters
    ----------
    now
        The Redis server's time (us).
    rounding
        Whether the difference is small enough to be one.

    >>> cause_of(Held(), Logged(rows=3, upto=2), now=0, rounding=False).words
    'entity missing'
    >>> cause_of(Held(present=True, upto=1), Logged(rows=3, upto=2), now=0, rounding=False).words
    'behind the log'
    """
    if not held.readable:
        return Cause.UNREADABLE
    if not held.present and logged.rows:
        return Cause.EXPIRED if logged.expires is not None and logged.expires <= now else Cause.MISSING
    if held.upto is not None:
        if logged.upto is not None and held.upto < logged.upto:
            return Cause.BEHIND
        if logged.exact and held.upto != logged.upto:
            return Cause.AHEAD
    if logged.duplicates:
        return Cause.DUPLICATE
    return Cause.ROUNDING if rounding else Cause.VALUE
