"""A sender whose events come twice, late, out of order and broken, and which remembers what it meant."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from feature_repo.core.clock import HOUR, MINUTE
from feature_repo.events.stream.channel import Message, partition_of

KINDS = ("view", "view", "purchase", "purchase", "cart")
USERS, ITEMS = 60, 40

# Of so many messages one each is another's second coming, is late by up to a week, and is none.
_TWICE, _LATE, _BROKEN = 8, 12, 40


def pseudonym(number: int) -> str:
    return f"u_{number * 2654435761 % 2**32:08x}{number:024x}"


@dataclass
class Traffic:
    """Makes messages, from a seed.

    Attributes
    ----------
    partitions
        Of the stream.
    good
        Event type -> event id -> the row, instants in microseconds: what the log has to hold.
    broken
        How many messages were made that are no events; each is another.
    """

    seed: int
    partitions: int
    good: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: defaultdict(dict))
    broken: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._sent: list[Message] = []
        self._held_back: list[Message] = []

    @property
    def count(self) -> int:
        """Good events so far."""
        return sum(map(len, self.good.values()))

    def batch(self, size: int, now: int) -> list[Message]:
        """Return messages to be sent now: new ones among repeated, late and broken ones, some held back till later."""
        made = [*self._held_back, *(self._one(now) for _ in range(size))]
        self._random.shuffle(made)
        self._held_back, made = made[: size // 10], made[size // 10 :]
        return made

    def rest(self) -> list[Message]:
        """Return what is held back still."""
        self._held_back, left = [], self._held_back
        return left

    def rows(self, size: int, now: int) -> tuple[str, list[dict[str, Any]]]:
        """Return rows of one type for an import: half of them were sent through the stream too, or will be."""
        kind = self._random.choice(KINDS)
        rows = [self._row(kind, now) for _ in range(size)]
        self._held_back += [self._message(kind, row) for row in rows[: size // 4]]
        known = list(self.good[kind].values())[:-size]
        return kind, [*rows, *self._random.sample(known, min(len(known), size // 4))]

    def _one(self, now: int) -> Message:
        if self._sent and self._random.randrange(_TWICE) == 0:
            return self._random.choice(self._sent)
        if self._random.randrange(_BROKEN) == 0:
            return self._broken(now)
        kind = self._random.choice(KINDS)
        message = self._message(kind, self._row(kind, now))
        if len(self._sent) < 5_000:
            self._sent.append(message)
        else:
            self._sent[self._random.randrange(5_000)] = message
        return message

    def _row(self, kind: str, now: int) -> dict[str, Any]:
        chance = self._random
        late = chance.randrange(7 * 24 * HOUR) if chance.randrange(_LATE) == 0 else chance.randrange(2 * MINUTE)
        event_id = f"{kind}-{self.seed}-{len(self.good[kind])}"
        row = {
            "event_id": event_id,
            "event_timestamp": now - late,
            "ingested_at": now,
            "user_id": pseudonym(chance.randrange(USERS)),
            "item_id": f"i{chance.randrange(ITEMS)}",
            "category": f"c{chance.randrange(5)}",
        }
        if kind == "view":
            row |= {"session_id": f"s{chance.randrange(500)}", "dwell_s": chance.randrange(400) / 4}
        if kind == "purchase":
            row |= {"quantity": chance.randrange(1, 5), "amount": chance.randrange(1, 400) / 4}
        self.good[kind][event_id] = row
        return row

    def _message(self, kind: str, row: dict[str, Any]) -> Message:
        return Message(kind, partition_of(row["user_id"], self.partitions), json.dumps(row).encode())

    def _broken(self, now: int) -> Message:
        number, self.broken = self.broken, self.broken + 1
        partition = self._random.randrange(self.partitions)
        row = {"event_id": f"broken-{self.seed}-{number}", "event_timestamp": now, "ingested_at": now}
        return (
            Message("purchase", partition, json.dumps(row).encode()),  # of nobody
            Message("view", partition, json.dumps(row | {"user_id": f"raw {number}"}).encode()),
            Message("purchase", partition, b'{"event_id": "cut off'),
            Message("vieww", partition, json.dumps(row).encode()),
            Message("cart", partition, json.dumps(row | {"quantity": "many"}).encode()),
        )[number % 5]


def rows_about(rows: Sequence[dict[str, Any]], entity: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows whose columns are those of an entity."""
    return [row for row in rows if all(row.get(key) == value for key, value in entity.items())]
