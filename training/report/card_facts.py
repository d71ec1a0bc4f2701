"""What a model card says of the data, the label, the windows and the form of the model: facts, not figures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from feature_repo.engine.contract import fingerprint
from training.data.dataset import Dataset
from training.data.entity_rows import rows_by_role
from training.evaluation.trained import Trained

_WINDOW = re.compile(r"_(\d+[dhm])$")
_MINUTES = {"d": 1440, "h": 60, "m": 1}


def facts(trained: Trained) -> list[str]:
    """Return the sections data, label, windows, and signature with the input example."""
    data = trained.data
    return [
        "## Data",
        _data(data),
        "## Label",
        f"`{data.task.objective}`; {_horizon(data.task.horizon)}\n\n```sql\n{data.task.label.strip()}\n```",
        "## Windows",
        _windows(data),
        "## Signature",
        _signature(trained),
    ]


def _data(data: Dataset) -> str:
    roles = ", ".join(f"{count:,} {role}" for role, count in rows_by_role(data).items())
    tables = ", ".join(f"`{table}` up to {version}" for table, version in sorted(data.log_versions.items()))
    return (
        f"The event log: {tables}. Rows: {roles}; fingerprint `{data.fingerprint}`. Features are those of the service "
        f"`{data.task.service}`, whose definitions have the fingerprint `{fingerprint(data.contract)}`. "
        f"`portrait train {data.task.name} --reproduce RUN` builds the same rows again."
    )


def _horizon(horizon: timedelta | None) -> str:
    return "each row says when its answer is final." if horizon is None else f"final {horizon.days} days later."


def _windows(data: Dataset) -> str:
    task, lengths = data.task, sorted(set(_lengths(data.features)), key=_minutes)
    known = f"Features look back over {', '.join(lengths)}. " if lengths else ""
    return (
        f"{known}The last {task.holdout.days} days of the log are the test stretch, the {task.validation.days} days "
        "before are the validation stretch; rows whose answers reach into the test stretch are left out of both."
    )


def _lengths(features: tuple[str, ...]) -> Iterator[str]:
    return (found[1] for found in map(_WINDOW.search, features) if found)


def _minutes(length: str) -> int:
    return int(length[:-1]) * _MINUTES[length[-1]]


def _signature(trained: Trained) -> str:
    columns = trained.fitted.scorer().columns
    context = [name for name in columns if name in trained.data.task.context_names]
    asked = f", of which the caller says {', '.join(f'`{name}`' for name in context)}" if context else ""
    return (
        f"{len(columns)} columns by name, numbers, NaN for NULL{asked}; one `float64` per row comes back, `score`. The "
        "input example holds the deciles of each column: no row of it is a shopper's."
    )
