"""Entries of the stream, which anybody may have written, as rows of the log: the good ones, and why not the others.

Bodies of one type are read all at once. Where that fails, each is read by itself, so that a broken one costs its
neighbours time and nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.events.cleaning import complete, faults, normalise
from feature_repo.events.log import EVENT_ID, INGESTED_AT
from feature_repo.events.quarantine import QUARANTINE_SCHEMA
from feature_repo.events.refused import refused_rows
from feature_repo.events.schema import TABLES
from feature_repo.events.stream.arrivals import Arrivals
from feature_repo.events.stream.bodies import read_each, read_together
from feature_repo.events.stream.channel import Entries, Ints
from feature_repo.events.stream.unreadable import Batch, Unread, unreadable_rows

_MISSING_TYPE, _UNKNOWN_TYPE = "missing_event_type", "unknown_event_type"


@dataclass(frozen=True)
class Decoded:
    """What entries said.

    Attributes
    ----------
    arrivals
        Event type -> good rows, in the order of their entries; types without any are left out.
    refused
        Rows for quarantine; the same entry gives the same row again.
    upto
        What positions are positions of -> the last position of the entries, good or not.
    """

    arrivals: dict[str, Arrivals]
    refused: pa.Table
    upto: dict[str, int]


def decode(entries: Sequence[Entries], source: str) -> Decoded:
    """Read entries. Nothing they hold raises, and nothing they hold is left out without a row in quarantine.

    An event without an id gets one that follows from its entry, ``s-<app id>-<position>``; one without ``ingested_at``
    arrived when the broker took it; one that claims to be later than its arrival happened then.

    Parameters
    ----------
    entries
        Of any partitions, in any order.
    source
        Name of the stream, as quarantine keeps it.
    """
    batch = _batch(entries, source)
    refused: list[pa.Table] = []
    arrivals: dict[str, Arrivals] = {}
    for event_type, chosen in _by_type(entries).items():
        if event_type not in TABLES:
            reason = _UNKNOWN_TYPE if event_type else _MISSING_TYPE
            refused.append(unreadable_rows(batch, "", {n: Unread(reason) for n in chosen}))
            continue
        good, bad = _decode_type(batch, event_type, np.array(chosen, np.int64))
        refused += bad
        if good.rows.num_rows:
            arrivals[event_type] = good
    return Decoded(arrivals, pa.concat_tables([QUARANTINE_SCHEMA.empty_table(), *refused]), _upto(entries))


def _decode_type(batch: Batch, event_type: str, chosen: Ints) -> tuple[Arrivals, list[pa.Table]]:
    refused: list[pa.Table] = []
    bodies = [batch.bodies[n] for n in chosen.tolist()]
    rows = read_together(bodies, event_type)
    if rows is None:
        rows, unread = read_each(bodies, event_type)
        numbers = {int(chosen[n]): why for n, why in unread.items()}
        refused += [unreadable_rows(batch, event_type, numbers)] if unread else []
        chosen = np.delete(chosen, list(unread))
    rows = _identified(batch, chosen, complete(normalise(_dated(batch, chosen, rows)), event_type))
    reasons = faults(rows, event_type)
    if reasons.null_count < len(reasons):
        bad = pc.is_valid(reasons)
        refused.append(refused_rows(event_type, rows.filter(bad), reasons.filter(bad), batch.source))
        rows, chosen = rows.filter(pc.invert(bad)), chosen[reasons.is_null().to_numpy()]
    return Arrivals(rows, batch.partition[chosen], batch.position[chosen], batch.app_ids), refused


def _dated(batch: Batch, chosen: Ints, rows: pa.Table) -> pa.Table:
    given = rows[INGESTED_AT]
    if not given.null_count:
        return rows
    arrived = pa.array(batch.arrived[chosen]).cast(given.type)
    return rows.set_column(rows.column_names.index(INGESTED_AT), INGESTED_AT, pc.coalesce(given, arrived))


def _identified(batch: Batch, chosen: Ints, rows: pa.Table) -> pa.Table:
    given = rows[EVENT_ID]
    if not given.null_count:
        return rows
    places = zip(batch.partition[chosen].tolist(), batch.position[chosen].tolist(), strict=True)
    derived = pa.array([f"s-{batch.app_ids[partition]}-{position}" for partition, position in places], pa.string())
    return rows.set_column(rows.column_names.index(EVENT_ID), EVENT_ID, pc.coalesce(given, derived))


def _batch(entries: Sequence[Entries], source: str) -> Batch:
    none = np.zeros(0, np.int64)
    return Batch(
        bodies=[body for each in entries for body in each.bodies],
        partition=np.concatenate([none, *(np.full(len(each.bodies), each.partition, np.int64) for each in entries)]),
        position=np.concatenate([none, *(each.positions for each in entries)]),
        arrived=np.concatenate([none, *(each.arrived for each in entries)]),
        app_ids={each.partition: each.app_id for each in entries},
        source=source,
    )


def _by_type(entries: Sequence[Entries]) -> dict[str, list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for n, event_type in enumerate(chain.from_iterable(each.event_types for each in entries)):
        found[event_type].append(n)
    return found


def _upto(entries: Sequence[Entries]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in entries:
        if len(each.positions):
            found[each.app_id] = max(int(each.positions[-1]), found.get(each.app_id, -1))
    return found
