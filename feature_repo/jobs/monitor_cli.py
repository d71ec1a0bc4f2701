"""The group `portrait monitor`, which other packages add commands to, and its `skew`.

This module is imported for every ``portrait --help``, so what a command needs is imported in its body.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.core.console import Json, command_group, emit, example, progress, table
from feature_repo.core.errors import CheckFailedError

if TYPE_CHECKING:
    from feature_repo.jobs.skew import SkewReport

Everything = Annotated[bool, typer.Option("--all", help="Print the features that do not differ too.")]

monitor = command_group("monitor", "Watch what models read and say.")


@monitor.callback()
def _group() -> None:
    """Keep the name of the group, however many commands it has."""


@monitor.command("skew", epilog=example("portrait monitor skew", "portrait monitor skew --json"))
def skew(*, everything: Everything = False, as_json: Json = False) -> object:
    """Compute what was served again, from the log, and tell why it differs; exit 1 if anything is unexplained."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.jobs.skew import skew as compare  # noqa: PLC0415

    with progress("Comparing") as step:
        report = compare(load_settings(), progress=step)
    emit(report, as_json, lambda _: _render(report, everything=everything))
    if report.unexplained:
        named = [name for name, each in report.features.items() if "unexplained" in each.by_cause]
        raise CheckFailedError(
            f"{report.unexplained} served values are not what the log says, and nothing explains them: "
            f"{', '.join(named[:5])}.",
            hint="run `portrait jobs parity`; if it finds nothing, what was served is gone by now: report it.",
        )
    return report


def _render(report: SkewReport, *, everything: bool) -> None:
    from feature_repo.jobs.skew_causes import SkewCause  # noqa: PLC0415

    if not report.rows:
        sys.stdout.write("No served features were kept: set PORTRAIT_SERVED_SAMPLE, for example to 0.01, and serve.\n")
        return
    shown = [(name, each) for name, each in report.features.items() if everything or each.mismatches]
    if shown:
        table(
            ("feature", "rows", "differ", "rate", "why"),
            [(name, f"{e.rows:,}", f"{e.mismatches:,}", f"{e.rate:.3%}", _why(e.by_cause)) for name, e in shown],
        )
    sys.stdout.write(
        f"{report.rows:,} served rows from {report.since:%Y-%m-%d %H:%M:%S} to {report.until:%Y-%m-%d %H:%M:%S} UTC, "
        f"{report.values:,} values: {report.mismatches:,} differ ({_why(report.by_cause) or 'none'}), "
        f"{report.unexplained:,} unexplained; {report.lost:,} rows were not kept\n"
    )
    for cause in SkewCause:
        if cause.words in report.by_cause:
            sys.stdout.write(f"{cause.words}: {cause.remedy}\n")
    for name, rows in report.uncompared.items():
        sys.stdout.write(f"{name}: {rows:,} rows were not compared, as it is not declared any more\n")


def _why(by_cause: dict[str, int]) -> str:
    return ", ".join(f"{cause} {count:,}" for cause, count in by_cause.items())
