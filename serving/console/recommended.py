"""What would be recommended to a shopper, and why; only where personalisation was not withdrawn."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from serving.console.consent import Allowed, allowed
from serving.console.desk import Desk
from serving.console.instants import Moment, moment
from serving.console.words import Words
from serving.recommending.recommendation import Recommendations

COUNT = 10


@dataclass(frozen=True)
class ItemLine:
    """An item of the list."""

    item_id: str
    category: str
    score: str
    reason: str
    bought: str


@dataclass(frozen=True)
class ListView:
    """A list for a shopper.

    Attributes
    ----------
    withheld
        Why it is not shown; then all else is empty.
    warning
        What to know of a list that must not be shown to the shopper.
    history
        Up to when it is known what the shopper bought; None if nothing is.
    """

    withheld: str
    warning: str
    model: str
    as_of: Moment | None
    history: Moment | None
    items: tuple[ItemLine, ...]


def list_view(desk: Desk, user: str, words: Words) -> ListView:
    """Ask for a list, unless the shopper does not want one.

    Raises
    ------
    ModelUnavailableError, NotMaterializedError, StoreUnavailableError
        Nobody can answer.
    """
    said = allowed(desk.portrait, user)
    if withheld := said.withheld("personalisation", words):
        return ListView(withheld, "", "", None, None, ())
    return told(desk.portrait.recommend(user, k=COUNT), said, desk.now, words)


def told(found: Recommendations, said: Allowed, now: datetime, words: Words) -> ListView:
    """Put a list into words."""
    known = found.history_as_of
    return ListView(
        withheld="",
        warning=said.warning("personalisation", words),
        model=found.model,
        as_of=moment(found.features_as_of, now, words),
        history=moment(known, now, words) if known else None,
        items=tuple(
            ItemLine(
                each.item_id,
                each.category,
                f"{each.score:.3f}",
                words.of(each.reason, each.zh),
                words("yes" if each.bought else "no"),
            )
            for each in found
        ),
    )
