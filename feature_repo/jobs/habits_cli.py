"""The command that writes how shoppers shop; it joins the group ``jobs`` of :mod:`feature_repo.jobs.cli`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.core.console import Json, emit, example
from feature_repo.jobs.cli import jobs

if TYPE_CHECKING:
    from feature_repo.jobs.habits import HabitsReport

__all__ = ["jobs"]

At = Annotated[
    datetime | None, typer.Option("--at", help="Instant, UTC; right behind the log's last order unless given.")
]
Weeks = Annotated[int, typer.Option("--weeks", min=0, max=520, help="Weekly instants before it to write, too.")]


@jobs.command("habits", epilog=example("portrait jobs habits", "portrait jobs habits --weeks 12"))
def jobs_habits(*, at: At = None, weeks: Weeks = 0, as_json: Json = False) -> object:
    """Write favourites, rhythm and standing of every shopper to the view user_habits; weekly is often enough."""
    from feature_repo.core.clock import SystemClock, to_us  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.jobs.habits import write_habits  # noqa: PLC0415

    instant = None if at is None else to_us(at.replace(tzinfo=at.tzinfo or UTC))
    report = write_habits(load_settings(), SystemClock(), at=instant, weeks=weeks)
    emit(report, as_json, _render)
    return report


def _render(report: HabitsReport) -> None:
    sys.stdout.write(
        f"{report.rows:,} rows written for {report.instants} instants up to {report.at:%Y-%m-%d %H:%M} UTC, "
        f"{report.known:,} known already ({report.seconds:.1f} s)\n"
        "`portrait jobs materialize --views user_habits` brings them to Redis.\n"
    )
