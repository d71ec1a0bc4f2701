"""Finds label queries that look ahead, by asking them again over a log that ends earlier.

What a row says besides its label must be known at its instant: over the log up to and including the instant (an event
at it may be what asks the question) the row must come out the same. And its label must be final when it says so: over
the log before ``known_at`` it must come out the same. ``log_span`` stays that of the whole log: which rows the log can
answer may depend on how far it reaches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing

import numpy as np
import pandas as pd

from feature_repo.core.errors import DeclarationError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.duckdb_sql import quote
from training.data.labels import AT, Labels, run_query
from training.data.log_views import open_span, open_tables
from training.task import KNOWN_AT, LABEL, Task

SAMPLED = 3
SEED = 20170101


def check_lookahead(
    task: Task,
    settings: Settings,
    found: Labels,
    *,
    versions: Mapping[str, int],
    keys: Sequence[str],
    instants: int = SAMPLED,
) -> None:
    """Ask a task's label query again for the rows of a few instants, the same ones every time.

    Parameters
    ----------
    found
        What it gave over the whole log, at the same versions.
    keys
        Join keys of the task's entities.

    Raises
    ------
    DeclarationError
        It looks ahead; the message names the columns.
    """
    rows = found.rows
    for at in _sample(rows[AT], instants):
        asked = rows[rows[AT] == at]
        others = [name for name in rows.columns if name not in (*task.answers, KNOWN_AT)]
        if not task.horizon:
            others.append(KNOWN_AT)
        again = _again(task, settings, versions, keys, at, until=at, included=True)
        _compare(task, asked, again, others, "the instant of the row itself")
        for known_at in _sample(asked[KNOWN_AT], 1):
            part = asked[asked[KNOWN_AT] == known_at]
            again = _again(task, settings, versions, keys, at, until=known_at, included=False)
            again = again[again[KNOWN_AT] == known_at]
            _compare(task, part, again, [*others, *task.answers], f"'{KNOWN_AT}'")


def _sample(instants: pd.Series[pd.Timestamp], count: int) -> list[pd.Timestamp]:
    known = np.sort(instants.unique())
    chosen = np.random.default_rng(SEED).choice(len(known), min(count, len(known)), replace=False)
    return [pd.Timestamp(known[place]) for place in np.sort(chosen)]


def _again(
    task: Task,
    settings: Settings,
    versions: Mapping[str, int],
    keys: Sequence[str],
    at: pd.Timestamp,
    *,
    until: pd.Timestamp,
    included: bool,
) -> pd.DataFrame:
    """Rows of one instant, over a log that ends."""
    with closing(connect_duckdb(settings)) as connection:
        snapshots = open_tables(connection, settings, versions)
        open_span(connection, task.pulse)
        for name in versions:
            compared = "<=" if included else "<"
            connection.execute(f"ALTER VIEW {quote(name)} RENAME TO {quote(f'whole_{name}')}")
            cut = f"SELECT * FROM {quote(f'whole_{name}')} WHERE {AT} {compared} TIMESTAMPTZ '{until.isoformat()}'"
            connection.execute(f"CREATE VIEW {quote(name)} AS {cut}")
        return run_query(connection, snapshots, task, keys, where=f"{AT} = TIMESTAMPTZ '{at.isoformat()}'")


def _compare(task: Task, whole: pd.DataFrame, again: pd.DataFrame, columns: Sequence[str], end: str) -> None:
    names = list(columns)
    one, other = (frame[names].sort_values(names).reset_index(drop=True) for frame in (whole, again))
    if len(one) != len(other):
        raise _error(task, f"gives {len(one)} rows, and {len(other)}", end)
    changed = [name for name in names if not _same(one[name], other[name])]
    if changed:
        raise _error(task, f"changes {', '.join(map(quote, changed))}", end)


def _same(one: pd.Series[float], other: pd.Series[float]) -> bool:
    if one.dtype.kind == "f":
        return bool(np.allclose(one, other.astype(float), rtol=1e-9, atol=1e-6, equal_nan=True))
    return bool(((one == other) | (one.isna() & other.isna())).all())


def _error(task: Task, what: str, end: str) -> DeclarationError:
    return DeclarationError(
        f"The label query of task '{task.name}' looks ahead: it {what} when the log ends at {end}.",
        hint=f"only '{LABEL}' may read events after {AT}, and only events before {KNOWN_AT}.",
    )
