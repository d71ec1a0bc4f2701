"""A picture of drift: how far each signal lies from the reference, beside what quiet weeks show and what alarms."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from feature_repo.core.clock import from_us
from feature_repo.core.stores import atomic_write
from training.monitor.drift import ANSWER, DriftReport, Verdict

SHOWN = 24
COLOURS = {Verdict.ALARM: "#b3261e", Verdict.WATCH: "#d98c00", Verdict.UNKNOWN: "#999999", Verdict.QUIET: "#1f5fa8"}
_LEAST = 1e-3


def drift_png(report: DriftReport) -> bytes:
    """Draw the signals nearest to their limits and return a PNG."""
    shown = [each for each in report.findings if each.kind != ANSWER and not np.isnan(each.psi)][:SHOWN]
    figure = Figure(figsize=(9, 0.28 * len(shown) + 1.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = range(len(shown))
    axes.barh(places, [max(each.psi, _LEAST) for each in shown], color=[COLOURS[each.verdict] for each in shown])
    axes.scatter([each.limit for each in shown], places, marker="|", s=120, color="black", label="limit of an alarm")
    quiet = [max(each.quiet, _LEAST) for each in shown]
    axes.scatter(quiet, places, marker="x", s=18, color="#555555", label="largest quiet week")
    axes.set_yticks(places, [each.name for each in shown], fontsize=7)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="PSI against the reference", title=_title(report))
    axes.legend(loc="lower right", fontsize=7)
    sink = io.BytesIO()
    figure.savefig(sink, dpi=100, format="png")
    return sink.getvalue()


def draw_drift(report: DriftReport, path: Path) -> None:
    """Write the picture to a file, as a whole."""
    atomic_write(path, drift_png(report))


def _title(report: DriftReport) -> str:
    alarms = f"{len(report.alarms) or 'no'} alarm{'' if len(report.alarms) == 1 else 's'}"
    return f"{report.task} version {report.model_version}, week before {from_us(report.at):%Y-%m-%d}: {alarms}"
