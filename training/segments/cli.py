"""Commands of segments: `portrait segments`. What a command needs is imported in its body."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.core.console import Json, command_group, emit, example, progress, table

if TYPE_CHECKING:
    from training.segments.job import AssignReport, FitReport, ShowReport

segments = command_group("segments", "Segments of shoppers by recency, frequency and money, and their stage of life.")

At = Annotated[
    datetime | None, typer.Option("--at", help="Instant, UTC; right behind the log's last visit unless given.")
]
Method = Annotated[str, typer.Option("--method", help="kmeans, dbscan or hierarchical.")]
Segments = Annotated[int | None, typer.Option("--k", help="How many segments, 2 to 8; chosen unless given.")]
Keep = Annotated[bool, typer.Option("--keep-champion", help="Register the version, and leave the champion as it is.")]
Weeks = Annotated[int, typer.Option("--weeks", min=0, max=520, help="Weekly instants before it to write, too.")]


@segments.command(
    "fit",
    epilog=example("portrait segments fit", "portrait segments fit --method hierarchical --keep-champion --json"),
)
def segments_fit(
    *, method: Method = "kmeans", k: Segments = None, at: At = None, keep: Keep = False, as_json: Json = False
) -> object:
    """Cut shoppers into segments, measure, register; champion if the gates hold, exit 1 if they do not."""
    from feature_repo.core.errors import CheckFailedError  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from training.segments.job import fit  # noqa: PLC0415

    with progress("Fitting segments") as step:
        report = fit(load_settings(), method=method, k=k, at=instant(at), promote=not keep, progress=step)
    emit(report, as_json, _render_fit)
    failed = [gate for gate, holds in report.gates.items() if not holds]
    if failed:
        raise CheckFailedError(
            f"Not promoted: segments fails {', '.join(failed)}.",
            hint="the version is registered without the alias; the champion of before, if any, still places shoppers.",
        )
    return report


@segments.command("assign", epilog=example("portrait segments assign", "portrait segments assign --weeks 52 --json"))
def segments_assign(*, at: At = None, weeks: Weeks = 0, as_json: Json = False) -> object:
    """Write everybody's segment and stage as rows of the view user_segments, with history. Twice is once."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from training.segments.job import assign  # noqa: PLC0415

    with progress("Assigning segments") as step:
        report = assign(load_settings(), SystemClock(), at=instant(at), weeks=weeks, progress=step)
    emit(report, as_json, _render_assign)
    return report


@segments.command("show", epilog=example("portrait segments show", "portrait segments show --at 2026-09-01 --json"))
def segments_show(*, at: At = None, as_json: Json = False) -> object:
    """Show the champion's segments: how many, how lately, how often, how much, and their share of all spend."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from training.segments.job import show  # noqa: PLC0415

    report = show(load_settings(), at=instant(at))
    emit(report, as_json, _render)
    return report


def instant(at: datetime | None) -> int | None:
    """Microseconds of an instant typed on the command line, which is UTC."""
    from feature_repo.core.clock import to_us  # noqa: PLC0415

    return None if at is None else to_us(at.replace(tzinfo=at.tzinfo or UTC))


def _render_fit(report: FitReport) -> None:
    tried = [[each.k, f"{each.silhouette:.3f}", f"{each.stability:.3f}"] for each in report.tried]
    table(["segments", "silhouette", "stability"], tried)
    sys.stdout.write("\n")
    _render_tables(report)
    state = "is champion" if report.promoted else "is registered and NOT promoted"
    sys.stdout.write(f"\nsegments version {report.model_version} {state} ({report.seconds:.0f} s)\n")


def _render_assign(report: AssignReport) -> None:
    written = report.written
    sys.stdout.write(
        f"{written.rows:,} rows written for {written.instants} instants, {written.known:,} known already\n\n"
    )
    _render(report.show)


def _render(report: ShowReport) -> None:
    _render_tables(report)
    sys.stdout.write(f"\nas of {report.at:%Y-%m-%d %H:%M} UTC, by segments version {report.model_version}\n")


def _render_tables(report: FitReport | ShowReport) -> None:
    headers = ["segment", "", "shoppers", "share", "days since", "visits 84d", "spend 84d", "of all spend"]
    lines = [
        [
            line.segment,
            line.zh,
            f"{line.size:,}",
            f"{line.share:.1%}",
            f"{line.recency_days:.1f}",
            f"{line.visits_84d:.1f}",
            f"{line.money_84d:,.0f}",
            f"{line.revenue_share:.1%}",
        ]
        for line in report.segments
    ]
    table(headers, lines)
    sys.stdout.write("\n")
    table(["stage", "", "shoppers", "share"], [[s.stage, s.zh, f"{s.size:,}", f"{s.share:.1%}"] for s in report.stages])
