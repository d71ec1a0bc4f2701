"""Writes a study as artifacts of a run: everything as JSON, the fairness report as Markdown and JSON, and pictures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from feature_repo.core.console import to_json
from training.evaluation.pages import fairness_page
from training.evaluation.pictures import draw_study
from training.evaluation.study import Study
from training.task import Task


def write_study(study: Study, folder: Path, *, task: Task) -> None:
    """Write ``evaluation.json``, ``fairness.json``, ``fairness.md`` and a picture of each part into a folder."""
    found = asdict(study)
    fairness = {"unavailable": study.fairness_missing} if study.fairness_missing else found["fairness"]
    texts = {
        "evaluation.json": to_json(found, indent=True),
        "fairness.json": to_json(fairness, indent=True),
        "fairness.md": fairness_page(study, task.name),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")
    draw_study(study, folder, leading=task.kind.leading)
