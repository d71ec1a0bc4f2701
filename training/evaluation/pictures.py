"""Pictures of a study: each says one thing, with its intervals, and can be read without the code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import PercentFormatter

from training.declaring.objective import SHOWN as TITLES
from training.evaluation.charts import BLUE, GREY, figure_of, save
from training.evaluation.decisions import Decisions
from training.evaluation.evaluate import Estimate
from training.evaluation.fairness import Fairness
from training.evaluation.lift import Decile
from training.evaluation.permutation import Drop
from training.evaluation.rolling import Origin
from training.evaluation.slices import Part
from training.evaluation.study import Study
from training.evaluation.tenths import Tenth
from training.evaluation.titles import title

_BAND, _ORANGE = "#c9d9ec", "#c8641e"
_DARK = 0.7  # from this share on a cell is too dark for black text


def draw_study(study: Study, folder: Path, *, leading: str) -> None:
    """Draw what a study holds into a folder; what it does not hold has no picture.

    Parameters
    ----------
    leading
        The metric rolling origins and slices are drawn by.
    """
    if study.lift:
        draw_lift(study.lift, folder / "lift.png")
    if study.decisions:
        draw_confusion(study.decisions, folder / "confusion.png")
    if study.tenths:
        draw_tenths(study.tenths, folder / "tenths.png")
    if any(part.metrics for part in study.slices.values()):
        draw_slices(study.slices, leading, folder / "slices.png")
    if any(each.gaps for each in study.fairness.values()):
        draw_gaps(study.fairness, folder / "fairness_gaps.png")
        draw_groups(study.fairness, folder / "fairness_groups.png")
    if any(origin.metrics for origin in study.origins):
        draw_rolling(study.origins, leading, folder / "rolling.png")
    if study.permutation:
        draw_permutation(study.permutation, leading, folder / "permutation.png")


def draw_lift(table: Sequence[Decile], path: Path) -> None:
    """Draw the gain curve beside the lift of each tenth."""
    figure, (gain, lift) = figure_of(9.5, 4.2, columns=2)
    x = np.arange(len(table) + 1) / len(table)
    gains = [decile.gain for decile in table]
    gain.fill_between(x, [0, *(each.low for each in gains)], [0, *(each.high for each in gains)], color=_BAND)
    gain.plot(
        x, [0, *(each.value for each in gains)], color=BLUE, marker="o", markersize=4, clip_on=False, label="by score"
    )
    gain.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="by chance")
    gain.set(xlabel="share of rows, highest scores first", ylabel="share of all positives", xlim=(0, 1), ylim=(0, 1))
    gain.set_title("Gain", fontsize=11)
    gain.xaxis.set_major_formatter(PercentFormatter(1))
    gain.yaxis.set_major_formatter(PercentFormatter(1))
    gain.legend(loc="lower right", frameon=False)
    lift.bar(range(1, len(table) + 1), [decile.lift for decile in table], color=BLUE, width=0.7)
    lift.axhline(1, color=GREY, linestyle="--", linewidth=1, zorder=0)
    for place, decile in enumerate(table, start=1):
        lift.annotate(f"{decile.lift:.2f}", (place, decile.lift), ha="center", va="bottom", fontsize=9)
    lift.set(xlabel="tenth of the rows, highest scores first", ylabel="positives, against the average tenth")
    lift.set_title("Lift", fontsize=11)
    lift.set_xticks(range(1, len(table) + 1))
    save(figure, path)


def draw_confusion(found: Decisions, path: Path) -> None:
    """Draw the four numbers, shaded by their share of the answer's row, and the figures that follow from them."""
    counts = found.confusion
    cells = np.array(
        [[counts.true_positives, counts.false_negatives], [counts.false_positives, counts.true_negatives]], float
    )
    shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    figure, axes = figure_of(5.4, 4.6)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.25)
    for (row, column), count in np.ndenumerate(cells):
        text = f"{count:,.0f}\n{shares[row, column]:.1%} of the row"
        axes.text(
            column, row, text, ha="center", va="center", color="white" if shares[row, column] > _DARK else "black"
        )
    axes.set_xticks([0, 1], ["said yes", "said no"])
    axes.set_yticks([0, 1], ["yes", "no"])
    axes.set(ylabel="what came")
    axes.xaxis.tick_top()
    named = [f"{name} {_interval(found.metrics[name])}" for name in ("precision", "recall", "f1", "accuracy")]
    lines = ["   ".join(named[:2]), "   ".join(named[2:])]
    axes.set_xlabel("\n".join(lines), fontsize=9, labelpad=10)
    axes.set_title(f"Yes from a score of {found.threshold:.3f} on", fontsize=11, pad=12)
    _plain(axes)
    save(figure, path)


def draw_tenths(table: Sequence[Tenth], path: Path) -> None:
    """Draw the mean answer against the mean score by tenth of the score."""
    figure, axes = figure_of(5.4, 5)
    x, answers = [tenth.score for tenth in table], [tenth.answer for tenth in table]
    end = 1.05 * max(*x, *(each.high for each in answers))
    axes.plot([0, end], [0, end], color=GREY, linestyle="--", linewidth=1, label="as foreseen")
    axes.errorbar(x, [each.value for each in answers], yerr=_whiskers(answers), fmt="o", color=BLUE, label="tenth")
    axes.set(xlabel="mean score", ylabel="mean answer (95% interval)", xlim=(0, end), ylim=(0, end))
    axes.set_title("Foreseen and what came, by tenth of the score", fontsize=11)
    axes.legend(loc="upper left", frameon=False)
    save(figure, path)


def draw_slices(slices: dict[str, Part], leading: str, path: Path) -> None:
    """Draw the leading metric of every measured slice with its interval, and the numbers of rows."""
    known = {name: part for name, part in slices.items() if part.metrics}
    skipped = f"; {len(slices) - len(known)} too small to measure" if len(known) < len(slices) else ""
    _dots(
        {f"{name}  ({part.rows:,} rows)": part.metrics[leading] for name, part in known.items()},
        f"{TITLES[leading]} (95% interval)",
        f"By slice{skipped}",
        path,
        group=lambda name: name.partition("=")[0],
    )


def draw_gaps(found: dict[str, Fairness], path: Path) -> None:
    """Draw each gap with its interval, beside the gap that chance shows."""
    gaps = {
        f"{name}: {_named(figure, each.gaps)}, {gap.highest} less {gap.lowest}": gap
        for name, each in found.items()
        for figure, gap in each.gaps.items()
    }
    figure, axes = figure_of(9, 0.36 * len(gaps) + 1.6)
    places = np.arange(len(gaps))
    axes.barh(places, [gap.chance for gap in gaps.values()], color="#e2e2e2", height=0.7, label="by chance, up to")
    colours = [_ORANGE if gap.notable else BLUE for gap in gaps.values()]
    _points(axes, [gap.estimate for gap in gaps.values()], colours)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.plot([], [], "o", color=BLUE, label="within chance")
    axes.plot([], [], "o", color=_ORANGE, label="more than chance")
    axes.set_yticks(places, list(gaps))
    axes.invert_yaxis()
    axes.set(xlabel="largest less smallest group (95% interval of the two)")
    axes.set_title("Gaps between groups", fontsize=11)
    figure.legend(loc="outside lower right", ncols=3, frameon=False)
    save(figure, path)


def draw_groups(found: dict[str, Fairness], path: Path) -> None:
    """Draw the figures of every measured group, a panel for each figure."""
    groups = {
        f"{name} {value}  ({group.rows:,} rows)": (name, group)
        for name, each in found.items()
        for value, group in each.groups.items()
        if group.metrics
    }
    figures = list(next(iter(groups.values()))[1].metrics)
    figure, panels = figure_of(2.3 + 2.1 * len(figures), 0.32 * len(groups) + 1.3, columns=len(figures))
    for name, axes in zip(figures, panels, strict=True):
        _points(axes, [group.metrics[name] for _, group in groups.values()], [BLUE] * len(groups))
        axes.set_yticks(range(len(groups)), list(groups) if name == figures[0] else [""] * len(groups))
        axes.invert_yaxis()
        axes.grid(axis="x", color="#eeeeee")
        axes.set_title(_named(name, figures), fontsize=10)
        _lines_between([attribute for attribute, _ in groups.values()], axes)
    save(figure, path)


def draw_rolling(origins: Sequence[Origin], leading: str, path: Path) -> None:
    """Draw the leading metric at each origin over the stretch it was measured on."""
    known = [origin for origin in origins if origin.metrics]
    figure, axes = figure_of(7.5, 4)
    middles = [origin.at + (origin.until - origin.at) / 2 for origin in known]
    found = [origin.metrics[leading] for origin in known]
    mean = float(np.mean([each.value for each in found]))
    axes.axhline(mean, color=GREY, linestyle="--", linewidth=1)
    axes.hlines(
        [each.value for each in found], [each.at for each in known], [each.until for each in known], color=_BAND, lw=6
    )
    axes.errorbar(middles, [each.value for each in found], yerr=_whiskers(found), fmt="o", color=BLUE)
    for middle, origin, each in zip(middles, known, found, strict=True):
        axes.annotate(
            f"{each.value:.3f}\nfitted on {origin.train:,}", (middle, each.high), ha="center", va="bottom", fontsize=9
        )
    axes.margins(x=0.08, y=0.25)
    axes.set(ylabel=f"{TITLES[leading]} (95% interval)", xlabel="when the rows measured on were observed")
    skipped = f"; {len(origins) - len(known)} without rows enough" if len(known) < len(origins) else ""
    axes.set_title(f"Fitted anew at {len(known)} origins, mean {mean:.3f}{skipped}", fontsize=11)
    figure.autofmt_xdate()
    save(figure, path)


def draw_permutation(drops: dict[str, Drop], leading: str, path: Path) -> None:
    """Draw what goes of the leading metric when a view's inputs are permuted."""
    figure, (lost, added) = figure_of(9.5, 0.36 * len(drops) + 1.3, columns=2)
    places = range(len(drops))
    _points(lost, [_around(drop) for drop in drops.values()], [BLUE] * len(drops))
    lost.axvline(0, color=GREY, linewidth=1)
    lost.set_yticks(places, [f"{view} ({drop.inputs})" for view, drop in drops.items()])
    lost.set(xlabel=f"{TITLES[leading]} lost (one standard deviation)")
    lost.set_title("Permuted", fontsize=11)
    added.barh(places, [drop.shap for drop in drops.values()], color=BLUE, height=0.6)
    added.set_yticks(places, [""] * len(drops))
    added.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    added.set(xlabel="share of what all views add to the score (SHAP)")
    added.set_title("Added", fontsize=11)
    for axes in (lost, added):
        axes.set_ylim(len(drops) - 0.5, -0.5)
    save(figure, path)


def _named(figure: str, figures: Iterable[str]) -> str:
    return title(figure, binary="mae" not in figures).partition(" (")[0]


def _around(drop: Drop) -> Estimate:
    return Estimate(drop.mean, drop.mean - drop.deviation, drop.mean + drop.deviation)


def _dots(estimates: dict[str, Estimate], label: str, title: str, path: Path, *, group: Callable[[str], str]) -> None:
    """Draw named estimates below each other, with a line between groups."""
    figure, axes = figure_of(8, 0.32 * len(estimates) + 1.4)
    names = list(estimates)
    _points(axes, list(estimates.values()), [BLUE] * len(names))
    _lines_between([group(name) for name in names], axes)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(axis="x", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.set(xlabel=label)
    axes.set_title(title, fontsize=11)
    save(figure, path)


def _lines_between(groups: Sequence[str], axes: Any) -> None:
    for place in range(1, len(groups)):
        if groups[place] != groups[place - 1]:
            axes.axhline(place - 0.5, color="#dddddd", linewidth=1)


def _points(axes: Any, estimates: Sequence[Estimate], colours: Sequence[str]) -> None:
    for place, (estimate, colour) in enumerate(zip(estimates, colours, strict=True)):
        axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=1.5)
        axes.plot([estimate.value], [place], "o", color=colour, markersize=5)


def _whiskers(estimates: Sequence[Estimate]) -> list[list[float]]:
    return [
        [max(0.0, each.value - each.low) for each in estimates],
        [max(0.0, each.high - each.value) for each in estimates],
    ]


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _plain(axes: Any) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
