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
    """Merge small files of the log, apply retention there and to what was served; safe while the stream runs."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.events.upkeep import compact  # noqa: PLC0415
    from feature_repo.jobs.served import expire_served  # noqa: PLC0415

    settings, clock = load_settings(), SystemClock()
    with progress("Compacting") as step:
        report = compact(settings, clock, progress=step)
    expired = expire_served(settings, clock)
    emit({**vars(report), "served_files_removed": expired}, as_json, lambda _: _render(report, expired))
    return report


def _render(report: CompactReport, expired: int) -> None:
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
    removed = f"{report.left_overs} left-overs of ended processes and {expired} files of served features"
    sys.stdout.write(f"\n{removed} removed, {report.seconds:.1f} s\n")
