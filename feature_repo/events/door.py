"""The one door of the event log: what is good goes to its table, what is not goes to quarantine with the reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.events.cleaning import complete, faults, normalise
from feature_repo.events.quarantine import quarantine_rows
from feature_repo.events.refused import refused_rows
from feature_repo.events.schema import log_table
from feature_repo.privacy.tombstones import Tombstones


@dataclass(frozen=True)
class Admitted:
    """What became of the rows at the door; each is counted once.

    Attributes
    ----------
    published
        Rows written to the table.
    duplicates
        Rows the table held already, or that came twice in the batch.
    quarantined
        Rows refused, by reason, whether they are in quarantine since now or since earlier.
    erased
        Rows of people who were erased: they are dropped, and not even refused, which would keep them.
    """

    published: int
    duplicates: int
    quarantined: dict[str, int]
    erased: int = 0


def admit(log_root: Path, event_type: str, rows: pa.Table, *, source: str) -> Admitted:
    """Clean rows, commit the good ones to their table and the others to quarantine. Twice is once.

    Rows of people who were erased from the home, which holds the log's root, go nowhere.

    Parameters
    ----------
    log_root
        Directory of the log's tables; a missing table is created.
    event_type
        Event type or dimension.
    rows
        Any columns: missing ones are NULL, undeclared ones are dropped; instants as ``timestamp[us, UTC]``.
    source
        File or stream the rows come from, as quarantine names it.

    Raises
    ------
    DeclarationError
        There is no such event type.
    DataError
        A column has a value its declared type cannot hold; nothing is written.
    CommitConflictError
        Other writers came first again and again. Refused rows may be in quarantine by then.
    LogError
        A table on disk is damaged or declares other types.
    SettingsError
        Who was erased cannot be read; nothing is written.
    """
    tombstones = Tombstones(log_root.parent)
    known = complete(normalise(rows), event_type)
    cleaned = tombstones.standing_rows(known)
    erased = known.num_rows - cleaned.num_rows
    reasons = faults(cleaned, event_type)
    refused: dict[str, int] = {}
    if reasons.null_count < len(reasons):
        bad = pc.is_valid(reasons)
        quarantine_rows(log_root, refused_rows(event_type, cleaned.filter(bad), reasons.filter(bad), source))
        refused = dict(sorted(Counter(reasons.filter(bad).to_pylist()).items()))
        cleaned = cleaned.filter(pc.invert(bad))
    table = log_table(log_root, event_type)
    table.ensure()
    commit = table.commit(cleaned, standing=tombstones.standing_rows)
    return Admitted(commit.rows, commit.duplicates, refused, erased + commit.erased)
