"""The command that keeps the event log quick; it joins the group ``jobs`` of :mod:`feature_repo.jobs.cli`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from feature_repo.core.console import Json, emit, example, progress, table
from feature_repo.jobs.cli import jobs

if TYPE_CHECKING:
    from feature_repo.events.upkeep import CompactReport

__all__ = ["jobs"]


@jobs.command("compact", epilog=example("portrait jobs compact", "PORTRAIT_RETENTION=view=90d portrait jobs compact"))
def jobs_compact(*, as_json: Json = False) -> object:
    """Merge small files of the log, apply retention, remove what nothing needs; safe while the stream runs."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.events.upkeep import compact  # noqa: PLC0415

    with progress("Compacting") as step:
        report = compact(load_settings(), SystemClock(), progress=step)
    emit(report, as_json, _render)
    return report


def _render(report: CompactReport) -> None:
    table(
        ["table", "files", "MiB", "version", "rows removed"],
        [
            (
                name,
                f"{done.files_before:,} -> {done.files_after:,}",
                f"{done.bytes_before / 2**20:.1f} -> {done.bytes_after / 2**20:.1f}",
                f"{done.version_before} -> {done.version_after}",
                f"{done.removed_rows:,}",
            )
            for name, done in report.tables.items()
        ],
    )
    sys.stdout.write(f"\n{report.left_overs} left-overs of ended processes removed, {report.seconds:.1f} s\n")
