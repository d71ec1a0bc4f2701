"""Which tasks the log supports, without fitting anything: for `portrait features check`."""

from __future__ import annotations

from collections.abc import Mapping

from feature_repo.core.errors import LogError
from feature_repo.core.settings import Settings
from feature_repo.events.log import read_snapshot
from feature_repo.events.schema import table_path
from training.data.dataset import split_rows
from training.data.labels import label_rows
from training.data.log_views import head_versions, tables_in
from training.task import Task, TaskUnavailableError, all_tasks


def task_support(settings: Settings, keys: Mapping[str, str]) -> dict[str, str]:
    """Say what the log lacks for each task: its tables, rows to learn from, or both answers before and after the split.

    Parameters
    ----------
    keys
        Entity -> its join key.

    Returns
    -------
    dict[str, str]
        Task -> the reason it is unavailable, empty for one that can be trained.
    """
    return {name: _lack(task, settings, keys) for name, task in all_tasks().items()}


def _lack(task: Task, settings: Settings, keys: Mapping[str, str]) -> str:
    tables = sorted(tables_in(task.label) | {task.pulse})
    empty = [name for name in tables if _is_empty(settings, name)]
    if empty:
        return f"The log has no {' and no '.join(repr(name) for name in empty)} events."
    unknown = [name for name in (task.entity, *task.others) if name not in keys]
    if unknown:
        return f"There is no entity '{unknown[0]}'."
    key, *others = (keys[name] for name in (task.entity, *task.others))
    try:
        found = label_rows(
            task,
            settings,
            versions=head_versions(settings, tables),
            key=key,
            others=[] if task.candidates else others,
        )
        split_rows(task, found.rows, found.log_end)
    except TaskUnavailableError as error:
        return error.what
    return ""


def _is_empty(settings: Settings, table: str) -> bool:
    path = table_path(settings.log_root, table)
    if not (path / "_delta_log").is_dir():
        return True
    try:
        return not read_snapshot(path).files
    except LogError:
        return False  # there is one, and it is damaged: the query says what to do
