"""Writes what a model concludes about shoppers into a table of the log, from where it is a feature like any other."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.core.settings import Settings
from feature_repo.events.door import admit
from feature_repo.events.log import EVENT_ID, EVENT_TIMESTAMP, INGESTED_AT
from training.written.version import Champion


@dataclass(frozen=True)
class Written:
    """What became of the rows: new ones, those of an earlier run of the same model, and those of erased people."""

    table: str
    instants: int
    rows: int
    known: int
    erased: int


def write_rows(
    settings: Settings, table: str, rows: pa.Table, *, made_by: Champion, rules: object, now: int
) -> Written:
    """Commit rows with ``user_id`` and ``event_timestamp``; a shopper has one row per instant, run and rules.

    Rows say when they were made (``ingested_at``), so what was concluded in hindsight can be told apart.

    Parameters
    ----------
    rules
        What else the rows follow from: where it has changed, they are written anew, and the later commit is read.
    now
        When they are made (us).

    Raises
    ------
    LogError
        The table is damaged, or others commit to it all the time.
    """
    count = rows.num_rows
    whole = rows.append_column(EVENT_ID, _ids(rows, f"{made_by.run_id}|{rules!r}"))
    whole = whole.append_column(INGESTED_AT, pa.array([now] * count, pa.int64()).cast(pa.timestamp("us", "UTC")))
    whole = whole.append_column("model_version", pa.array([made_by.version] * count, pa.string()))
    done = admit(settings.log_root, table, whole, source=f"{table}@{made_by.version}")
    instants = int(pc.count_distinct(rows[EVENT_TIMESTAMP]).as_py())
    return Written(table, instants, done.published, done.duplicates, done.erased)


def _ids(rows: pa.Table, made_by: str) -> pa.Array:
    """Ids that follow from what a row is about, so that a row comes once, and that name nobody."""
    instants = rows[EVENT_TIMESTAMP].cast(pa.int64()).to_pylist()
    users = rows["user_id"].to_pylist()
    texts = (f"{made_by}|{at}|{user}" for at, user in zip(instants, users, strict=True))
    return pa.array([hashlib.sha256(text.encode()).hexdigest()[:32] for text in texts], pa.string())
