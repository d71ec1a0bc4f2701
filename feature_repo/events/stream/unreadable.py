"""Entries of the stream that are no rows, as quarantine keeps them: where they stand and why, and nothing they say.

Anything may stand in what cannot be read, a shopper's raw id too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from feature_repo.events.cleaning import USER_ID
from feature_repo.events.log import EVENT_ID, INGESTED_AT
from feature_repo.events.quarantine import QUARANTINE_SCHEMA
from feature_repo.events.stream.channel import Ints

_UNKNOWN = "unknown"


class Unread(NamedTuple):
    """Why a body is no row, and whose it is, if it names a pseudonym."""

    reason: str
    user_id: str | None = None


@dataclass(frozen=True)
class Batch:
    """Entries of several partitions in one line.

    Attributes
    ----------
    bodies
        As written.
    partition, position, arrived
        Of each.
    app_ids
        Partition -> what its positions are positions of.
    source
        Name of the stream.
    """

    bodies: Sequence[bytes]
    partition: Ints
    position: Ints
    arrived: Ints
    app_ids: Mapping[int, str]
    source: str


def unreadable_rows(batch: Batch, event_type: str, unread: Mapping[int, Unread]) -> pa.Table:
    """Return rows of the quarantine table.

    Parameters
    ----------
    event_type
        Event type; empty if it is none.
    unread
        By their number in the batch, the entries that could not be read.
    """
    rows = []
    for n, why in unread.items():
        partition, position = int(batch.partition[n]), int(batch.position[n])
        place = {"partition": partition, "position": position, "bytes": len(batch.bodies[n])}
        rows.append(
            {
                EVENT_ID: f"refused-{batch.app_ids[partition]}-{position}",
                INGESTED_AT: int(batch.arrived[n]),
                USER_ID: why.user_id,
                "source": batch.source,
                "event_type": event_type or _UNKNOWN,
                "reason": why.reason,
                "payload": json.dumps(place),
            }
        )
    return pa.Table.from_pylist(rows, QUARANTINE_SCHEMA)
