"""A shopper's timeline: what happened, the newest first, an order as one thing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from serving.console.desk import Desk
from serving.console.event_words import ORDER, column_word, kind_word
from serving.console.instants import Moment, moment
from serving.console.log import stretch, weekly
from serving.console.values import value_text
from serving.console.words import Words
from serving.reasons.answers import LoggedEvent

_READ, _SHOWN, _NAMED, _LONGEST = 400, 40, 3, 60
_WEEKS = 52
_ORDERS = ("payment", "purchase")
_OF_AN_ORDER = ("amount", "lines", "items", "store_id", "retail_discount", "coupon_discount", "coupon_match_discount")
# What says nothing to a reader of a row.
_LEFT_OUT = ("session_id", "recommendation_id", "ticket_id")


@dataclass(frozen=True)
class Entry:
    """Something that happened: when, what it is called, and its facts in words."""

    at: Moment
    what: str
    details: str


@dataclass(frozen=True)
class TimelineView:
    """A stretch of a timeline.

    Attributes
    ----------
    entries
        The newest first; none if nothing happened before the end of the stretch.
    older
        Instant older entries are before, ISO 8601; empty if there are none.
    weeks
        First day of each of the last weeks, and how many events it has: none where nothing happened in all of them.
    """

    entries: tuple[Entry, ...]
    older: str
    weeks: tuple[tuple[datetime, int], ...]


def timeline_view(desk: Desk, user: str, before: str, words: Words) -> TimelineView:
    """Read a stretch of a shopper's timeline.

    Parameters
    ----------
    before
        Where it ends, ISO 8601; now, if it says no instant.

    Raises
    ------
    LogError
        A table of the log is damaged.
    """
    now = desk.now
    found = stretch(desk.settings, user, _instant(before) or now, most=_READ)
    happened = list(_happened(found.events))
    shown = happened[:_SHOWN]
    rest = found.rest
    if len(happened) > _SHOWN:
        rest = shown[-1][0].at
        shown += [each for each in happened[_SHOWN:] if each[0].at == rest]
    return TimelineView(
        entries=tuple(_entry(each, now, words) for each in shown),
        older=rest.isoformat() if rest else "",
        weeks=_weeks(weekly(desk.settings, user, now - timedelta(weeks=_WEEKS), now), now),
    )


def _instant(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _happened(events: Iterable[LoggedEvent]) -> Iterator[list[LoggedEvent]]:
    """Yield what happened: the payment and the lines of an order together, all else alone."""
    for _, same in groupby(events, key=lambda each: each.at):
        orders: dict[Any, list[LoggedEvent]] = {}
        for number, event in enumerate(same):
            of_order = event.table in _ORDERS and event.facts.get("order_id")
            orders.setdefault(of_order or number, []).append(event)
        yield from orders.values()


def _entry(events: Sequence[LoggedEvent], now: datetime, words: Words) -> Entry:
    first = events[0]
    is_order = first.table in _ORDERS
    said = _order(events, words) if is_order else _facts(first.facts, first.facts, words)
    return Entry(moment(first.at, now, words), kind_word(ORDER if is_order else first.table, words), said)


def _order(events: Sequence[LoggedEvent], words: Words) -> str:
    """Say what an order was: by its payment, else by the sum of its lines, and the categories most was paid for."""
    payment = next((event for event in events if event.table == "payment"), None)
    lines = [event for event in events if event.table == "purchase"]
    facts = payment.facts if payment else _summed(lines)
    paid: dict[str, float] = {}
    for line in lines:
        if category := line.facts.get("category"):
            paid[category] = paid.get(category, 0.0) + (line.facts.get("amount") or 0.0)
    named = ", ".join(sorted(paid, key=lambda each: -paid[each])[:_NAMED]) + (" ..." if len(paid) > _NAMED else "")
    return words.of("; ", "；").join(each for each in (_facts(facts, _OF_AN_ORDER, words), named) if each)


def _summed(lines: Sequence[LoggedEvent]) -> dict[str, Any]:
    sums = {name: sum(line.facts.get(name) or 0.0 for line in lines) for name in ("amount", "retail_discount")}
    known = {name: value for name, value in sums.items() if value}
    return {**known, "lines": len(lines), "store_id": lines[0].facts.get("store_id")}


def _facts(facts: Any, names: Iterable[str], words: Words) -> str:
    told = [(name, facts.get(name)) for name in names if name not in _LEFT_OUT]
    said = (f"{column_word(name, words)} {_short(name, value, words)}" for name, value in told if value is not None)
    return words.of(", ", "，").join(said)


def _short(name: str, value: Any, words: Words) -> str:
    said = value_text(name, value, words)
    return said if len(said) <= _LONGEST else said[:_LONGEST] + " ..."


def _weeks(counts: dict[datetime, int], now: datetime) -> tuple[tuple[datetime, int], ...]:
    """Fill up the weeks in which nothing happened."""
    if not counts:
        return ()
    monday = (now - timedelta(days=now.weekday())).replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [monday - timedelta(weeks=back) for back in range(_WEEKS - 1, -1, -1)]
    return tuple((start, counts.get(start, 0)) for start in starts)
