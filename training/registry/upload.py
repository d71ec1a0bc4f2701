"""Uploads what was kept while MLflow did not answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from feature_repo.core.errors import DeclarationError, PortraitError
from feature_repo.core.settings import Settings, ensure_home
from training.data.dataset import Dataset, dataset
from training.registry.bundle import Bundle
from training.registry.challenge import QUESTION, Challenge, question_of
from training.registry.pending import locked_pending, read_pending
from training.registry.send import Judge, upload_kept
from training.runs.aliases import Verdict
from training.runs.registered import Registered
from training.runs.version import CONTRACT
from training.task import all_tasks

JudgeOf: TypeAlias = Callable[[Bundle, Settings], Judge]
"""Returns what judges a kept run."""


@dataclass(frozen=True)
class Uploaded:
    """A kept run that MLflow has now."""

    task: str
    kept: str
    registered: Registered


def judge_task(bundle: Bundle, settings: Settings) -> Judge:
    """Return what judges a kept run of a task: against the champion, on its test rows, built again from the log."""

    def judged(client: Any) -> Verdict:
        task = all_tasks().get(bundle.name)
        if task is None or bundle.tags.get(QUESTION) != question_of(task):
            return Verdict(beats=False, why=f"task '{bundle.name}' asks something else now")
        try:
            return Challenge(task, settings, rows, lambda _client: _scorer(bundle)).judge(client)
        except PortraitError as error:
            return Verdict(beats=False, why=f"it cannot be compared with the champion: {error.what}")

    @cache
    def rows() -> Dataset:
        data = dataset(bundle.name, settings, versions=json.loads(bundle.tags["log_versions"]))
        if data.contract != json.loads((bundle.run_folder / CONTRACT).read_text("utf-8")):
            raise DeclarationError("its features mean something else now.")
        return data

    return judged


def upload(settings: Settings, judge_of: JudgeOf = judge_task) -> list[Uploaded]:
    """Log and register every kept run, the oldest first; none is fitted anew. What is uploaded is no longer kept.

    Parameters
    ----------
    judge_of
        What judges a version whose gates hold: of tasks alone unless given, see :mod:`training.models.kinds`.

    Raises
    ------
    DataError
        A kept run cannot be read.
    RunKeptError
        MLflow does not answer: runs not uploaded yet stay.
    """
    ensure_home(settings)
    with locked_pending(settings):
        return [
            _upload(bundle, settings, judge_of)
            for bundle in sorted(read_pending(settings), key=lambda each: each.trained_at)
        ]


def _upload(bundle: Bundle, settings: Settings, judge_of: JudgeOf) -> Uploaded:
    return Uploaded(bundle.name, bundle.folder.name, upload_kept(bundle, settings, judge_of(bundle, settings)))


def _scorer(bundle: Bundle) -> Any:
    from pathlib import Path  # noqa: PLC0415

    from training.scorer import Scorer  # noqa: PLC0415

    paths = bundle.model_artifacts
    boosters = [Path(path).read_bytes() for name, path in paths.items() if name.startswith("booster_")]
    return Scorer.of(json.loads(Path(paths["head"]).read_text("utf-8")), boosters)
