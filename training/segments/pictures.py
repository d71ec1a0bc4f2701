"""The picture of a segmentation: its shoppers by recency and money, and what each number of segments would give."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.segments.model import Segmentation
from training.segments.rfm import MONEY, RECENCY
from training.segments.selection import SILHOUETTE, STABILITY, Candidate

_SHOWN = 5_000


def draw_segments(made: Segmentation, path: Path) -> None:
    """Draw both, side by side."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    rows, names = made.last[:_SHOWN], made.segments.to_numpy()[:_SHOWN]
    for line in made.table:
        here = rows[names == line.segment]
        left.scatter(1 + here[RECENCY], 1 + here[MONEY], s=5, linewidths=0, label=f"{line.segment} ({line.size:,})")
    left.set(xscale="log", yscale="log", xlabel="1 + days since the last visit", ylabel="1 + spend in 84 days")
    left.legend(fontsize=7, markerscale=2)
    _draw_candidates(right, made.found)
    figure.savefig(path, dpi=110)


def _draw_candidates(axes: Any, found: Sequence[Candidate]) -> None:
    ks = np.array([each.k for each in found])
    lines = {"silhouette": SILHOUETTE, "stability": STABILITY}
    for (name, gate), colour in zip(lines.items(), ("#1f5fa8", "#c05020"), strict=True):
        axes.plot(ks, [getattr(each, name) for each in found], marker="o", color=colour, label=name)
        axes.axhline(gate, color=colour, linewidth=1, linestyle="--")
    axes.set(xlabel="segments", ylim=(0, 1.02), title="What each number of segments gives (dashed: gates)")
    axes.legend(loc="center right")
