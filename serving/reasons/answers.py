"""What the SDK answers beside explanations: the events behind a value, a score without some, segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from feature_repo.core.errors import DataError
from serving.reasons.explanation import Reason

MOST_EVENTS = 100
MOST_LEFT_OUT = 1_000
LAST_PURCHASE = "last_purchase"

Without = str | Sequence[str]


@dataclass(frozen=True)
class LoggedEvent:
    """An event of the log.

    Attributes
    ----------
    table
        Table of the log, which is the event's type.
    event_id, at
        Its id, and when it happened.
    facts
        What else it says; NULLs are left out.
    """

    table: str
    event_id: str
    at: datetime
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Evidence:
    """What the log holds of one windowed value.

    Attributes
    ----------
    name
        Full name of the feature.
    since, until
        Its window, ``[since, until)``.
    served, recomputed
        The value as it was served, and by the events of the window that its state held, one after the other.
    agrees
        Whether they are the same, floats within 1e-9.
    total
        Events in the window that count.
    events
        The newest of them first; none where the value is not the shopper's own but of all shoppers.
    """

    name: str
    since: datetime
    until: datetime
    served: Any
    recomputed: Any
    agrees: bool
    total: int
    events: tuple[LoggedEvent, ...]


@dataclass(frozen=True)
class Changed:
    """A feature of the model, with the events and without them."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True)
class WhatIf:
    """A score with and without some events.

    Attributes
    ----------
    user_id
        Pseudonym.
    task, model
        What was asked, and ``task@version`` of who answered.
    features_as_of
        Instant of all three scores.
    score
        As it is served.
    recomputed
        Of features computed again from the log, with nothing left out: the same as ``score``, unless the state in
        Redis is not what the log says (see `portrait jobs parity`).
    without
        Of features computed again from the log, without what was left out.
    left_out
        The events.
    changed
        Features of the model that differ without them.
    sentence
        The same in words.
    """

    user_id: str
    task: str
    model: str
    features_as_of: datetime
    score: float
    recomputed: float
    without: float
    left_out: tuple[LoggedEvent, ...]
    changed: tuple[Changed, ...]
    sentence: str


@dataclass(frozen=True)
class Word:
    """A segment or a stage: its name in the log, and what it says to a reader."""

    name: str
    english: str
    chinese: str
    meaning: str


@dataclass(frozen=True)
class Segment:
    """Where `portrait segments assign` last placed a shopper.

    Attributes
    ----------
    user_id
        Pseudonym.
    known
        Whether the shopper was placed at all; if not, all that follows is None.
    segment, stage
        By recency, frequency and money; stage of life as a shopper.
    distance, strength
        Standard deviations from the segment's middle; 0 on the border to the next segment, 1 in the middle.
    model_version
        Of the registered model ``segments``.
    placed_at
        Instant the shopper was placed at.
    read_at
        When this was read.
    """

    user_id: str
    known: bool
    segment: Word | None
    stage: Word | None
    distance: float | None
    strength: float | None
    model_version: str | None
    placed_at: datetime | None
    read_at: datetime


def check_reason(reason: Any) -> None:
    """Refuse what is no reason of an explanation.

    Raises
    ------
    DataError
        It is something else.
    """
    if not isinstance(reason, Reason):
        raise DataError(
            f"Evidence was asked for by something of type {type(reason).__name__}, which is no reason.",
            hint="pass one of `explain(task, user).reasons`.",
        )


def check_without(without: Any) -> None:
    """Refuse what names no events.

    Raises
    ------
    DataError
        It is neither ``last_purchase`` nor a list of ids.
    """
    ids = isinstance(without, Sequence) and not isinstance(without, str | bytes)
    if without == LAST_PURCHASE or (ids and all(isinstance(each, str) and each for each in without)):
        if not ids or len(without) <= MOST_LEFT_OUT:
            return
        raise DataError(f"{len(without):,} events are more than {MOST_LEFT_OUT:,}.", hint="leave fewer out.")
    raise DataError("What is to be left out is none.", hint=f"pass '{LAST_PURCHASE}', or a list of event ids.")
