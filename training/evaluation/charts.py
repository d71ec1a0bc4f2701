"""Pictures logged with a run, drawn without pyplot: no window, no global state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.declaring.objective import SHOWN as TITLES
from training.evaluation.evaluate import Evaluation

SHOWN = 20
GREY, BLUE = "#999999", "#1f5fa8"


def draw_calibration(evaluations: dict[str, Evaluation], path: Path) -> None:
    """Draw mean score against share of positives (mean answer) by bin; a point's size is its number of rows."""
    figure, axes = figure_of(5, 5)
    points = [point for found in evaluations.values() for point in found.calibration]
    binary = all("ece" in found.metrics for found in evaluations.values())
    end = 1.0 if binary else max((max(point.score, point.share) for point in points), default=1.0)
    axes.plot([0, end], [0, end], color=GREY, linewidth=1, linestyle="--")
    for name, found in evaluations.items():
        sizes = [10 + 200 * point.rows / found.rows for point in found.calibration]
        x, y = [point.score for point in found.calibration], [point.share for point in found.calibration]
        axes.plot(x, y, linewidth=1)
        axes.scatter(x, y, s=sizes, label=f"{name}, {_caption(found)}", alpha=0.7)
    axes.set(xlabel="score", ylabel="share of positives" if binary else "mean answer")
    axes.set(title="Calibration on the test rows", **({"xlim": (0, 1), "ylim": (0, 1)} if binary else {}))
    axes.legend(loc="upper left")
    save(figure, path)


def draw_contributions(
    columns: Sequence[str], matrix: npt.NDArray[np.float64], shares: npt.NDArray[np.float64], path: Path
) -> None:
    """Draw what the strongest inputs add to the logit, one point a row, coloured by the input's rank (NULL grey).

    Parameters
    ----------
    shares
        ``float64[n, len(columns)]``, as of ``Scorer.contributions`` without its last column.
    """
    order = importance(shares).argsort()[::-1][:SHOWN]
    figure, axes = figure_of(9, 0.32 * len(order) + 1.2)
    jitter = np.random.default_rng(0).uniform(-0.3, 0.3, len(matrix))
    for place, column in enumerate(order):
        colours = _colours(matrix[:, column])
        axes.scatter(shares[:, column], place + jitter, c=colours, s=3, linewidths=0)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_yticks(range(len(order)), [columns[column] for column in order], fontsize=7)
    axes.invert_yaxis()
    axes.set(xlabel="added to the logit (blue: low value, yellow: high, grey: NULL)")
    save(figure, path)


def draw_importance(columns: Sequence[str], shares: npt.NDArray[np.float64], path: Path) -> None:
    """Draw the mean size of what each of the strongest inputs adds to the logit."""
    means = importance(shares)
    order = means.argsort()[::-1][:SHOWN]
    figure, axes = figure_of(7, 0.3 * len(order) + 1)
    axes.barh(range(len(order)), means[order], color=BLUE)
    axes.set_yticks(range(len(order)), [columns[column] for column in order], fontsize=7)
    axes.invert_yaxis()
    axes.set(xlabel="mean |added to the logit|")
    save(figure, path)


def importance(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean absolute contribution of each column."""
    return np.asarray(np.abs(shares).mean(axis=0), np.float64)


def _caption(found: Evaluation) -> str:
    name = next(name for name in ("ece", "r2") if name in found.metrics)
    return f"{TITLES[name]} {found.metrics[name].value:.3f}"


def _colours(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    from matplotlib import colormaps  # noqa: PLC0415 - beside its one use

    ranks = np.searchsorted(np.sort(values), values, side="right") / len(values)
    colours = np.asarray(colormaps["viridis"](ranks), np.float64)
    colours[np.isnan(values)] = (0.6, 0.6, 0.6, 1.0)
    return colours


def figure_of(width: float, height: float, *, columns: int = 1) -> tuple[Figure, Any]:
    """Return a figure of so many inches, and its axes; several if it has several columns."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns)
    for each in np.ravel([axes]):
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    figure.savefig(path, dpi=110)
