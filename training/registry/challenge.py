"""Judges a new version against the champion, on rows that both can score and neither has seen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from feature_repo.core.clock import from_us
from feature_repo.core.settings import Settings
from training.data.dataset import Dataset
from training.declaring.objective import SHOWN
from training.evaluation.comparison import scores_on_test
from training.evaluation.evaluate import difference
from training.evaluation.trained import rows_to_measure
from training.runs.aliases import Verdict
from training.runs.registered import FIRST
from training.runs.version import Version, champion_version
from training.task import TOLERANCE, Task

QUESTION = "question"


@dataclass(frozen=True, eq=False)
class Challenge:
    """A new version whose gates hold, and what it is compared on.

    Attributes
    ----------
    task
        Its task.
    scorer
        Its model, or what loads it from MLflow's client.
    rows
        Gives its rows; asked only if they are needed.
    """

    task: Task
    settings: Settings = field(repr=False)
    rows: Callable[[], Dataset] = field(repr=False)
    scorer: Callable[[Any], Any] = field(repr=False)

    def judge(self, client: Any) -> Verdict:
        """Say whether it beats the champion.

        It does if there is no champion it could be compared with, or if the leading metric (AUC, or R2) on its test
        rows is at most ``TOLERANCE``, which is noise, below the champion's: of two alike, the newer one knows more
        recent answers.
        """
        champion = champion_version(client, self.settings, self.task.name)
        if champion is None:
            return Verdict(beats=True, why=FIRST)
        if champion.tags.get(QUESTION, question_of(self.task)) != question_of(self.task):
            return Verdict(beats=True, why=f"{champion.name} answers another question: the label was declared anew")
        data = self.rows()
        unfit = incomparable(champion, data)
        if unfit:
            return Verdict(beats=True, why=unfit)
        if has_seen(champion, data):
            return Verdict(beats=False, why=f"{champion.name} was fitted on answers of rows this one is measured on")
        return self._measured(champion, data, self.scorer(client))

    def _measured(self, champion: Version, data: Dataset, scorer: Any) -> Verdict:
        metric, rows = self.task.kind.leading, rows_to_measure(data)
        gain = difference(metric, scores_on_test(scorer, data), scores_on_test(champion.scorer, data), rows)
        why = (
            f"{SHOWN[metric]} {gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] against {champion.name}, same rows"
        )
        return Verdict(beats=gain.value >= -TOLERANCE, why=why)


def question_of(task: Task) -> str:
    """Sixteen hex digits of what a task asks: its label, whom it is about, the kind of answer; not how it is fitted.

    Two models of one question may be measured on the same rows.
    """
    horizon = task.horizon.total_seconds() if task.horizon else None
    facts = json.dumps([task.label, task.entity, task.others, task.groups, task.pulse, horizon, task.objective])
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def incomparable(version: Version, data: Dataset) -> str:
    """Say why a version cannot score a dataset's rows as serving would; empty if it can."""
    changed = version.changed(data.contract)
    if changed:
        return f"{version.name} reads features that mean something else now: {named(changed)}"
    lacking = [name for name in version.scorer.columns if name not in data.inputs]
    return f"{version.name} reads inputs the task no longer has: {named(lacking)}" if lacking else ""


def has_seen(version: Version, data: Dataset) -> bool:
    """Whether a version was fitted on answers that were known after the dataset's test rows began."""
    until = version.trained_until
    return bool(until) and pd.Timestamp(until) > pd.Timestamp(from_us(data.split.cut))


def named(names: list[str], most: int = 3) -> str:
    """Name the first of a list.

    >>> named(["a", "b", "c", "d"])
    "'a', 'b', 'c' and 1 more"
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more
