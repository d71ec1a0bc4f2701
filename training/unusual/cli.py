"""Commands of unusual behaviour: `portrait unusual`. What a command needs is imported in its body."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from feature_repo.core.console import Json, command_group, emit, example, progress, table
from training.segments.cli import At, Keep, Weeks, instant

if TYPE_CHECKING:
    from training.unusual.job import AssignReport, FitReport, ShowReport

unusual: typer.Typer = command_group("unusual", "Unusual behaviour of shoppers: a score, reasons, and the response.")


@unusual.command("fit", epilog=example("portrait unusual fit", "portrait unusual fit --json"))
def unusual_fit(*, at: At = None, keep: Keep = False, as_json: Json = False) -> object:
    """Learn what is usual, measure on injected coupon abuse, register; exit 1 if the gate does not hold."""
    from feature_repo.core.errors import CheckFailedError  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from training.unusual.job import fit  # noqa: PLC0415

    with progress("Fitting") as step:
        report = fit(load_settings(), at=instant(at), promote=not keep, progress=step)
    emit(report, as_json, _render_fit)
    failed = [gate for gate, holds in report.gates.items() if not holds]
    if failed:
        raise CheckFailedError(
            f"Not promoted: unusual fails {', '.join(failed)}.",
            hint="the version is registered without the alias; the champion of before, if any, still scores.",
        )
    return report


@unusual.command("assign", epilog=example("portrait unusual assign", "portrait unusual assign --weeks 12 --json"))
def unusual_assign(*, at: At = None, weeks: Weeks = 0, as_json: Json = False) -> object:
    """Write everybody's score, tier and reasons as rows of the view user_unusual, with history. Twice is once."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from training.unusual.job import assign  # noqa: PLC0415

    with progress("Scoring") as step:
        report = assign(load_settings(), SystemClock(), at=instant(at), weeks=weeks, progress=step)
    emit(report, as_json, _render_assign)
    return report


@unusual.command("show", epilog=example("portrait unusual show", "portrait unusual show --at 2026-09-01 --json"))
def unusual_show(*, at: At = None, as_json: Json = False) -> object:
    """Show how many shoppers are in each tier, what it asks for, and which reasons apply."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from training.unusual.job import show  # noqa: PLC0415

    report = show(load_settings(), at=instant(at))
    emit(report, as_json, _render)
    return report


def _render_fit(report: FitReport) -> None:
    lines = [[each.kind, each.copies, f"{each.auc:.3f}", f"{each.watched:.0%}"] for each in report.noticed]
    table(["injected abuse", "copies", "AUC", "in a tier with a response"], lines)
    sys.stdout.write(f"\n{report.watched:.1%} of {report.shoppers:,} real shoppers are in a tier with a response\n")
    state = "is champion" if report.promoted else "is registered and NOT promoted"
    sys.stdout.write(f"unusual version {report.model_version} {state} ({report.seconds:.0f} s)\n")


def _render_assign(report: AssignReport) -> None:
    written = report.written
    said = f"{written.rows:,} rows written for {written.instants} instants, {written.known:,} known already"
    sys.stdout.write(f"{said}\n\n")
    _render(report.show)


def _render(report: ShowReport) -> None:
    lines = [[each.tier, each.zh, each.response, f"{each.size:,}", f"{each.share:.1%}"] for each in report.tiers]
    table(["tier", "", "response", "shoppers", "share"], lines)
    sys.stdout.write("\n")
    table(
        ["reason", "", "shoppers", "applies to"],
        [[each.reason, each.zh, f"{each.size:,}", each.says] for each in report.reasons],
    )
    sys.stdout.write(f"\nas of {report.at:%Y-%m-%d %H:%M} UTC, by unusual version {report.model_version}\n")
