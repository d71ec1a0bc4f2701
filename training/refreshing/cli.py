"""The command `portrait refresh`, for people, cron and orchestrators.

This module is imported for every ``portrait --help``, so what the command needs is imported in its body.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.core.console import Json, command_group, emit, example, progress, table, to_json
from feature_repo.core.errors import CheckFailedError

if TYPE_CHECKING:
    from feature_repo.core.settings import Settings
    from training.refreshing.refresh import RefreshReport
    from training.refreshing.written import WrittenRefresh
    from training.task import Task
    from training.written.model import ShopperModel

TaskNames = Annotated[
    list[str] | None, typer.Option("--task", help="Only this task, segments or unusual; may be repeated.")
]
MaxAge = Annotated[
    int | None,
    typer.Option(
        "--max-age", min=1, help="Days of log after which a champion is old; PORTRAIT_MAX_AGE_DAYS if unsaid."
    ),
]
Html = Annotated[Path | None, typer.Option("--html", help="Write the report to this file too.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")]

_app = command_group()


def commands() -> typer.Typer:
    """Return the command, for the entry point ``portrait.commands``."""
    return _app


@_app.command(epilog=example("portrait refresh", "portrait refresh --task redemption --dry-run"))
def refresh(
    *,
    tasks: TaskNames = None,
    max_age: MaxAge = None,
    html: Html = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> object:
    """Bring views to the head, retrain what drifted or aged, promote or keep it. Without new events: nothing.

    Segments and unusual behaviour are fitted anew when they aged, and what they say now is written to their views.
    Then habits are written, once a week, and a snapshot of everybody's tags, once a day.

    The report is written below the home, as reports/refresh.json and reports/refresh.html. Exit code 0: every task is
    as it should be. 1: something needs a look, the report says what: a task or view failed, or a model is due and could
    not be promoted. 2: no such task, or another mistake in how it was called.
    """
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from training.refreshing.refresh import refresh as run  # noqa: PLC0415
    from training.refreshing.refresh import report_json  # noqa: PLC0415
    from training.refreshing.steps import contributed_steps  # noqa: PLC0415

    chosen, models = _chosen(tasks)
    age = timedelta(days=max_age) if max_age else None
    settings = load_settings()
    with progress("Refreshing") as step:
        steps = {} if tasks else contributed_steps()
        report = run(
            settings,
            SystemClock(),
            chosen,
            models=models,
            steps=steps,
            max_age=age,
            dry_run=dry_run,
            progress=step,
        )
    publish(report, settings, html)
    emit(report_json(report), as_json, lambda _: _render(report))
    if report.needs_look:
        raise CheckFailedError(f"{' '.join(report.needs_look)}", hint="see reports/refresh.html below the home.")
    return report


def _chosen(names: list[str] | None) -> tuple[list[Task], list[ShopperModel]]:
    """Return the tasks and models of some names, or all."""
    from training.shopper_models import shopper_models  # noqa: PLC0415
    from training.task import all_tasks, find_task  # noqa: PLC0415

    models = shopper_models()
    if not names:
        return list(all_tasks().values()), list(models.values())
    return [find_task(name) for name in names if name not in models], [models[n] for n in names if n in models]


def publish(report: RefreshReport, settings: Settings, html: Path | None = None) -> None:
    """Replace the reports below the home, each as a whole, but not in a dry run; write to a file that is named."""
    from feature_repo.core.stores import atomic_write  # noqa: PLC0415
    from training.refreshing.page import page  # noqa: PLC0415
    from training.refreshing.refresh import report_json  # noqa: PLC0415

    text = page(report)
    if not report.dry_run:
        folder = settings.home / "reports"
        atomic_write(folder / "refresh.json", to_json(report_json(report)))
        atomic_write(folder / "refresh.html", text)
    if html is not None:
        atomic_write(html, text)


def _render(report: RefreshReport) -> None:
    lines = [(each.task, each.action.value, each.champion, f"{each.seconds:.0f}", each.reason) for each in report.tasks]
    if lines:
        table(("task", "what was done", "champion", "s", "why"), lines)
        sys.stdout.write("\n")
    said = [
        (each.model, each.action.value, each.champion, f"{each.seconds:.0f}", _rows(each), each.reason)
        for each in report.written
    ]
    if said:
        table(("of shoppers", "what was done", "champion", "s", "rows written", "why"), said)
        sys.stdout.write("\n")
    if report.steps:
        table(("then", "s", "what was done"), [(each.step, f"{each.seconds:.0f}", each.done) for each in report.steps])
        sys.stdout.write("\n")
    changed = [name for name, action in report.materialized.items() if action != "at head"]
    sys.stdout.write(f"{len(report.materialized)} views at the head, {len(changed)} of them brought there now\n")


def _rows(each: WrittenRefresh) -> str:
    return f"{each.written.rows:,}" if each.written else ""
