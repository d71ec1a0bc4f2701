"""The model card of a segmentation: how it was cut, how well that holds, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Iterable

from feature_repo.core.clock import from_us
from training.segments.lifecycle import LIFECYCLE
from training.segments.model import Segmentation
from training.segments.reference import Reference
from training.segments.selection import SILHOUETTE, STABILITY
from training.segments.table import SegmentLine
from training.written.markdown import markdown

_INSTANT = "%Y-%m-%d %H:%M UTC"


def segment_card(made: Segmentation, reference: Reference | None) -> str:
    """Return the card, in Markdown."""
    parts = [
        "# segments",
        _how(made),
        markdown(_HEADERS, (_cells(line) for line in made.table)),
        "## How many",
        _GATES,
        markdown(["segments", "silhouette", "stability", "worst", "both gates"], _candidates(made)),
        _compared(reference),
        "## Stages of life",
        markdown(["stage", "rule, the first that fits"], _stages()),
        "## Limits",
        _LIMITS,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_HEADERS = ["segment", "", "shoppers", "share", "days since", "visits in 84 d", "spend in 84 d", "share of spend"]
_GATES = (
    f"Gates: silhouette at least {SILHOUETTE:g}, stability at least {STABILITY:g}. Stability is the mean adjusted Rand "
    "index between these segments and those of shoppers drawn with repetition."
)
_LIMITS = (
    "Segments describe what shoppers did, on a scale without gaps: who is near a border (low strength) may be of "
    "either. "
    "They say nothing about why, and a segment is no reason to treat anybody worse. Borders are those of the log the "
    "model was fitted on; history that `assign` writes for earlier instants is placed by today's borders."
)


def _how(made: Segmentation) -> str:
    instants = made.shoppers.instants
    return (
        f"{made.chosen.k} segments by {made.method}, of {len(made.last):,} shoppers, by the logarithms of days since "
        "the last visit, visits and spend in 84 days, each with mean 0 and spread 1. Fitted on "
        f"{len(instants)} weekly snapshots up to {from_us(instants[-1]):{_INSTANT}}, and shown as of then."
    )


def _cells(line: SegmentLine) -> list[str]:
    return [
        line.segment,
        f"{line.zh}: {line.meaning}",
        f"{line.size:,}",
        f"{line.share:.1%}",
        f"{line.recency_days:.1f}",
        f"{line.visits_84d:.1f}",
        f"{line.money_84d:,.0f}",
        f"{line.revenue_share:.1%}",
    ]


def _candidates(made: Segmentation) -> Iterable[list[str]]:
    for each in made.found:
        name = f"**{each.k}**" if each is made.chosen else str(each.k)
        figures = [f"{value:.3f}" for value in (each.silhouette, each.stability, each.worst)]
        yield [name, *figures, "hold" if each.holds else "do not"]


def _compared(reference: Reference | None) -> str:
    if reference is None:
        return ""
    return (
        "For comparison, five segments by k-means over everybody's whole history at the last instant alone: silhouette "
        f"{reference.silhouette:.3f}, stability {reference.stability:.3f}; its segments and these agree by an adjusted "
        f"Rand index of {reference.agreement:.3f}."
    )


def _stages() -> Iterable[list[str]]:
    for stage in LIFECYCLE:
        yield [stage.name, " and ".join(map(str, stage.bounds)) or "whoever is left"]
