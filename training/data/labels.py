"""Runs a task's label query over the log and checks what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd

from feature_repo.core.clock import to_us
from feature_repo.core.errors import DeclarationError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.duckdb_sql import quote
from feature_repo.events.log import Snapshot, reading
from training.data.log_views import SPAN, open_span, open_tables, tables_in
from training.declaring.objective import REGRESSION
from training.task import KNOWN_AT, LABEL, Task, TaskUnavailableError

AT = "event_timestamp"


@dataclass(frozen=True, eq=False)
class Labels:
    """Answers of the past.

    Attributes
    ----------
    rows
        One row per observation: the join key, ``event_timestamp`` and ``known_at`` (UTC, microseconds), ``label``
        (int64, 0 or 1; float64 of a regression), the context columns, the slices, and what else the query gives.
    log_end
        Last event of the task's pulse, microseconds.
    """

    rows: pd.DataFrame
    log_end: int


def label_rows(
    task: Task, settings: Settings, *, versions: Mapping[str, int], key: str, others: Sequence[str] = ()
) -> Labels:
    """Run the label query of a task over the log at the given versions.

    Parameters
    ----------
    versions
        Table -> version; at least the tables the query names and the task's pulse.
    key
        Join key of the task's entity.
    others
        Join keys of its other entities.

    Raises
    ------
    LogError
        A table is missing or damaged.
    TaskUnavailableError
        The log has no event of the pulse, or no row to learn from.
    DeclarationError
        The query fails, lacks a column, or gives a label that is not 0 or 1 (not a number), or is known too early.
    """
    with closing(connect_duckdb(settings)) as connection:
        snapshots = open_tables(connection, settings, versions)
        with reading(*snapshots):
            open_span(connection, task.pulse)
        [(end,)] = connection.execute(f"SELECT last_at FROM {SPAN}").fetchall()
        if end is None:
            raise TaskUnavailableError(
                f"Task '{task.name}' needs '{task.pulse}' events, and the log has none.",
                hint="import some (`portrait events demo` for the demo's).",
            )
        rows = run_query(connection, snapshots, task, (key, *others))
        empty = [
            name for name in sorted(tables_in(task.label)) if rows.empty and _is_empty(connection, snapshots, name)
        ]
    _check(task, rows, empty)
    return Labels(rows, to_us(end))


def run_query(
    connection: duckdb.DuckDBPyConnection,
    snapshots: tuple[Snapshot, ...],
    task: Task,
    keys: Sequence[str],
    *,
    where: str = "true",
) -> pd.DataFrame:
    """Run the label query of a task over a connection's tables and ``log_span``: the rows whose answer is final.

    Raises
    ------
    DeclarationError
        The query fails, or lacks a column.
    """
    known = f", {AT} + INTERVAL {task.horizon.total_seconds()} SECOND AS {KNOWN_AT}" if task.horizon else ""
    late = f"WHERE {KNOWN_AT} <= (SELECT last_at FROM {SPAN})"
    query = f"SELECT * FROM (SELECT *{known} FROM ({task.label})) {late} AND {where}"
    try:
        with reading(*snapshots):  # a damaged file is no fault of the query
            found: pd.DataFrame = connection.sql(query).to_arrow_table().to_pandas()
    except duckdb.Error as error:
        raise DeclarationError(
            f"The label query of task '{task.name}' fails: {error}",
            hint="run it in DuckDB over the log and correct it.",
        ) from None
    context = () if task.candidates else task.context_names  # what is proposed brings it
    wanted = (*keys, AT, *task.answers, KNOWN_AT, *context, *task.slices)
    missing = [name for name in wanted if name not in found.columns]
    if missing:
        raise DeclarationError(
            f"The label query of task '{task.name}' lacks {', '.join(map(quote, missing))}.",
            hint="add the column to its SELECT, under that name.",
        )
    return found


def _is_empty(connection: duckdb.DuckDBPyConnection, snapshots: tuple[Snapshot, ...], table: str) -> bool:
    with reading(*snapshots):
        return not connection.execute(f"FROM {quote(table)} LIMIT 1").fetchall()


def _check(task: Task, rows: pd.DataFrame, empty: Sequence[str]) -> None:
    if rows.empty:
        why = f": it has no {' and no '.join(map(repr, empty))} events." if empty else "."
        raise TaskUnavailableError(
            f"Task '{task.name}' finds no row to learn from in this log{why}",
            hint="its label query names the events it needs: import them, or train another task.",
        )
    context = () if task.candidates else task.context
    wrong = {
        **_wrong_labels(task, rows[LABEL]),
        "whose label is known before it is asked for": ~(rows[KNOWN_AT] > rows[AT]),
        "without a value for the context": rows[[each.name for each in context]].isna().any(axis=1),
    }
    for each in context:
        permitted = rows[each.name].dropna().map(each.allowed.permits).astype(bool)
        wrong[f"whose '{each.name}' is not {each.allowed}"] = ~permitted
    for what, mask in wrong.items():
        if mask.any():
            raise DeclarationError(
                f"The label query of task '{task.name}' gives {int(mask.sum())} rows {what}.", hint="correct the query."
            )


def _wrong_labels(task: Task, labels: pd.Series[float]) -> dict[str, pd.Series[bool]]:
    if task.objective != REGRESSION:
        return {"without a label of 0 or 1": ~labels.isin([0, 1])}
    finite = np.isfinite(pd.to_numeric(labels, errors="coerce").to_numpy(np.float64, na_value=np.nan))
    return {"whose label is not a finite number": pd.Series(~finite, labels.index)}
