"""Commands that watch champions: `portrait monitor drift`, in the group of :mod:`feature_repo.jobs.monitor_cli`.

This module is imported for every ``portrait --help``, so what a command needs is imported in its body.
"""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_repo.core.console import Json, emit, example, table
from feature_repo.core.errors import CheckFailedError, PortraitError
from feature_repo.jobs.monitor_cli import monitor

if TYPE_CHECKING:
    from training.monitor.drift import DriftReport, Finding

__all__ = ["monitor"]

TaskName = Annotated[str | None, typer.Argument(metavar="[TASK]", help="Name of a task; all if unsaid.")]
At = Annotated[
    str | None, typer.Option("--at", help="Instant to look at, as 2026-11-02T00:00Z; the log's end if unsaid.")
]
Picture = Annotated[Path | None, typer.Option("--picture", help="Draw it into this PNG; needs one task.")]
Everything = Annotated[bool, typer.Option("--all", help="Print the quiet ones too.")]

QUIET_SHOWN = 5


@monitor.command("drift", epilog=example("portrait monitor drift", "portrait monitor drift redemption --picture d.png"))
def drift(
    task: TaskName = None,
    *,
    at: At = None,
    picture: Picture = None,
    everything: Everything = False,
    as_json: Json = False,
) -> object:
    """Compare the last week with what the champion was trained on, alarms first; exit 1 if there are any."""
    from training.task import all_tasks, find_task  # noqa: PLC0415

    if picture is not None and task is None:
        raise PortraitError("A picture shows one task.", hint="name it before --picture.")
    names = [find_task(task).name] if task is not None else list(all_tasks())
    found = {name: _check(name, _instant(at), skip=task is None) for name in names}
    reports = {name: each for name, each in found.items() if not isinstance(each, str)}
    if picture is not None:
        from training.monitor.picture import draw_drift  # noqa: PLC0415

        draw_drift(reports[names[0]], picture)
    shown = {name: {"unavailable": each} if isinstance(each, str) else as_rows(each) for name, each in found.items()}
    emit({"tasks": shown}, as_json, lambda _: _render(found, everything=everything))
    _alarm(reports)
    return reports


def as_rows(report: DriftReport) -> dict[str, Any]:
    """Return a report with instants as datetimes."""
    from feature_repo.core.clock import from_us  # noqa: PLC0415

    return {**vars(report), "since": from_us(report.since), "at": from_us(report.at)}


def _instant(text: str | None) -> int | None:
    from feature_repo.core.clock import to_us  # noqa: PLC0415

    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise PortraitError(f"--at is '{text}', which is no instant.", hint="write 2026-11-02T00:00Z.") from None
    return to_us(found if found.tzinfo else found.replace(tzinfo=UTC))


def _check(task: str, at: int | None, *, skip: bool) -> DriftReport | str:
    from feature_repo.core.errors import ModelUnavailableError  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from training.monitor.drift import check_drift  # noqa: PLC0415
    from training.task import TaskUnavailableError  # noqa: PLC0415

    try:
        return check_drift(task, load_settings(), at=at)
    except (ModelUnavailableError, TaskUnavailableError) as error:
        if not skip:
            raise
        return error.what


def _alarm(reports: dict[str, DriftReport]) -> None:
    told = [f"{name}: {', '.join(each.alarms[:3])}" for name, each in reports.items() if each.alarms]
    if told:
        raise CheckFailedError(
            f"Drift in {'; '.join(told)}.",
            hint="look at the events first: what is broken there is not mended by training; then `portrait refresh`.",
        )


def _render(found: dict[str, DriftReport | str], *, everything: bool) -> None:
    for name, report in found.items():
        if isinstance(report, str):
            sys.stdout.write(f"{name}: {report}\n\n")
            continue
        _render_report(report, everything=everything)


def _render_report(report: DriftReport, *, everything: bool) -> None:
    from feature_repo.core.clock import DAY, from_us  # noqa: PLC0415

    days = (report.at - report.since) // DAY
    sys.stdout.write(
        f"{report.task} version {report.model_version}: the week before {from_us(report.at):%Y-%m-%d %H:%M} UTC, "
        f"{days} days after its log ended\n\n"
    )
    loud = [each for each in report.findings if everything or each.verdict in ("alarm", "watch")]
    quiet = [each for each in report.findings if each not in loud]
    table(_HEADERS, [_line(each) for each in (*loud, *quiet[:QUIET_SHOWN])])
    if quiet[QUIET_SHOWN:]:
        sys.stdout.write(f"... and {len(quiet) - QUIET_SHOWN} more without alarm (--all prints them)\n")
    sys.stdout.write("\n")


_HEADERS = ("verdict", "what", "kind", "PSI", "alarm above", "quiet weeks", "NULL then", "now", "shoppers")


def _line(each: Finding) -> tuple[str, ...]:
    null = f"{each.null_then:.1%}", f"{each.null_now:.1%}"
    known = math.isfinite(each.psi) and math.isfinite(each.limit)  # not where no shopper was asked about
    figures = (*((f"{each.psi:.3f}", f"{each.limit:.3f}") if known else ("-", "-")), f"{each.quiet:.3f}")
    return (each.verdict.value, each.name, each.kind, *figures, *null, f"{each.shoppers:,}")
