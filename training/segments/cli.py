"""Commands of segments: `portrait segments`. What a command needs is imported in its body."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.core.console import Json, command_group, example, table
from training.written.commands import At, IfChanged, Keep, Weeks, run_assign, run_fit, run_show

if TYPE_CHECKING:
    from training.segments.shopper_model import SegmentsFit, SegmentsShow

segments = command_group("segments", "Segments of shoppers by recency, frequency and money, and their stage of life.")

Method = Annotated[str, typer.Option("--method", help="kmeans, dbscan or hierarchical.")]
Segments = Annotated[int | None, typer.Option("--k", help="How many segments, 2 to 8; chosen unless given.")]


@segments.command(
    "fit",
    epilog=example("portrait segments fit", "portrait segments fit --method hierarchical --keep-champion --json"),
)
def segments_fit(
    *,
    method: Method = "kmeans",
    k: Segments = None,
    at: At = None,
    keep: Keep = False,
    if_changed: IfChanged = False,
    as_json: Json = False,
) -> object:
    """Cut shoppers into segments, measure, register; champion if the gates hold, exit 1 if they do not."""
    from training.segments.shopper_model import Segments as Model  # noqa: PLC0415

    return run_fit(Model(method, k), _render_fit, at=at, keep=keep, if_changed=if_changed, as_json=as_json)


@segments.command("assign", epilog=example("portrait segments assign", "portrait segments assign --weeks 52 --json"))
def segments_assign(*, at: At = None, weeks: Weeks = 0, as_json: Json = False) -> object:
    """Write everybody's segment and stage as rows of the view user_segments, with history. Twice is once."""
    from training.segments.shopper_model import SEGMENTS  # noqa: PLC0415

    return run_assign(SEGMENTS, _render, at=at, weeks=weeks, as_json=as_json)


@segments.command("show", epilog=example("portrait segments show", "portrait segments show --at 2026-09-01 --json"))
def segments_show(*, at: At = None, as_json: Json = False) -> object:
    """Show the champion's segments: how many, how lately, how often, how much, and their share of all spend."""
    from training.segments.shopper_model import SEGMENTS  # noqa: PLC0415

    return run_show(SEGMENTS, _render, at=at, as_json=as_json)


def _render_fit(report: SegmentsFit) -> None:
    tried = [[each.k, f"{each.silhouette:.3f}", f"{each.stability:.3f}"] for each in report.tried]
    table(["segments", "silhouette", "stability"], tried)
    sys.stdout.write("\n")
    held = [[gate, "ok" if holds else "FAILED"] for gate, holds in report.gates.items()]
    table(["gate", ""], held)
    sys.stdout.write(f"\n{_compared(report)}\n\n")
    _render(report)


def _compared(report: SegmentsFit) -> str:
    other = report.reference
    if other is None:
        return "Too few shoppers to compare with segments by their whole history."
    return (
        f"Five segments by the whole history instead of 84 days: silhouette {other.silhouette:.3f}, stability "
        f"{other.stability:.3f}; they agree with these by {other.agreement:.3f} (adjusted Rand index)."
    )


def _render(report: SegmentsFit | SegmentsShow) -> None:
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
