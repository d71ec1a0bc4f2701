"""What goes wrong between a shop and its log: rows sent twice, and rows no log can keep."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.events.log import EVENT_ID, EVENT_TIMESTAMP, INGESTED_AT
from feature_repo.events.simulation_events import DUPLICATE, FLAW, LATE, MALFORMED

# Reason the door gives, for each way of breaking a row.
KINDS = ("missing_event_timestamp", "user_id_not_a_pseudonym", "missing_event_id")


_DUE = "due"


@dataclass(frozen=True)
class Sent:
    """Rows as a shop sends them, and what was done to them.

    Attributes
    ----------
    rows
        The good ones first, then the duplicates, then the malformed.
    due
        When each arrives; a copy with the row it was made of.
    good, late, duplicates
        Good rows; those of them that arrive late; rows sent again.
    malformed
        Rows added that the door refuses, by the reason it gives.
    """

    rows: pa.Table
    due: pa.ChunkedArray
    good: int
    late: int
    duplicates: int
    malformed: dict[str, int]


def spoil(good: pa.Table) -> Sent:
    """Add the duplicates and the malformed copies that the column ``flaw`` asks for, and drop the column."""
    flaw = good[FLAW].to_numpy()
    rows = good.drop_columns([FLAW]).append_column(_DUE, good[INGESTED_AT])
    doubled = rows.filter(pa.array((flaw & DUPLICATE) > 0))
    chosen = rows.filter(pa.array((flaw & MALFORMED) > 0)).sort_by(EVENT_ID)
    broken = [_broken(chosen, kind) for kind in range(len(KINDS))]
    sent = pa.concat_tables([rows, doubled, *broken])
    return Sent(
        rows=sent.drop_columns([_DUE]),
        due=sent[_DUE],
        good=rows.num_rows,
        late=int(((flaw & LATE) > 0).sum()),
        duplicates=doubled.num_rows,
        malformed=dict(Counter({KINDS[kind]: part.num_rows for kind, part in enumerate(broken) if part.num_rows})),
    )


def _broken(chosen: pa.Table, kind: int) -> pa.Table:
    # The kind follows from the id, so that it is the same however the rows are cut into chunks.
    last = pc.utf8_slice_codeunits(chosen[EVENT_ID], -1).to_numpy()
    codes = np.array([int(digit, 16) for digit in last], np.int64)
    rows = chosen.filter(pa.array(codes % len(KINDS) == kind))
    ids = pc.binary_join_element_wise(rows[EVENT_ID], "broken", "-")
    rows = rows.set_column(rows.column_names.index(EVENT_ID), EVENT_ID, ids)
    for column, value in _CHANGES[kind].items():
        index = rows.column_names.index(column)
        rows = rows.set_column(
            index, rows.schema.field(index), pa.repeat(value, len(rows)).cast(rows.schema.field(index).type)
        )
    return rows


_CHANGES: tuple[dict[str, pa.Scalar], ...] = (
    {EVENT_TIMESTAMP: pa.scalar(None, pa.int64()), INGESTED_AT: pa.scalar(None, pa.int64())},
    {"user_id": pa.scalar("a raw id")},
    {EVENT_ID: pa.scalar(None, pa.string())},
)
