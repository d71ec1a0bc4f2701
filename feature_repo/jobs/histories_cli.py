"""The command that readies what recommendations are made from; it joins the group ``jobs``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from feature_repo.core.console import Json, emit, example, progress
from feature_repo.jobs.cli import jobs

if TYPE_CHECKING:
    from feature_repo.jobs.histories import HistoriesReport

__all__ = ["jobs"]


@jobs.command("histories", epilog=example("portrait jobs histories", "portrait jobs histories --json"))
def jobs_histories(*, as_json: Json = False) -> object:
    """Write into Redis what recommendations are made from: who bought which items, and how the items sell."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.jobs.histories import bring_histories  # noqa: PLC0415

    with progress("Histories") as step:
        report = bring_histories(load_settings(), SystemClock(), progress=step)
    emit(report, as_json, _render)
    return report


def _render(report: HistoriesReport) -> None:
    told = f"{report.shoppers:,} shoppers, {report.items:,} items as of {report.as_of}, {report.seconds:.1f} s"
    sys.stdout.write(told + "\n")
