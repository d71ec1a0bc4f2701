"""From features to a registered model: ``training.dataset(task)``, ``training.train(task)``.

Both are imported when they are first asked for, so that ``import training`` costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.data.dataset import Dataset, dataset
    from training.jobs.train import TrainReport, train
    from training.registry.register import up_to_date
    from training.task import Task, all_tasks, find_task

__all__ = ["Dataset", "Task", "TrainReport", "all_tasks", "dataset", "find_task", "train", "up_to_date"]

_HOMES = {
    "Dataset": "data.dataset",
    "Task": "task",
    "TrainReport": "jobs.train",
    "all_tasks": "task",
    "dataset": "data.dataset",
    "find_task": "task",
    "train": "jobs.train",
    "up_to_date": "registry.register",
}

# OpenMP reads it when a library that uses it is imported, which no module of this package does before this one has run.
# Idle threads would otherwise spin, which on shared cores costs more than the work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'training' has no attribute {name!r}")
    found = getattr(import_module(f"training.{_HOMES[name]}"), name)
    globals()[name] = found  # asked once
    return found
