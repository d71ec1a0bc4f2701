"""A study in words and tables, in Markdown: sections of the model card, and the fairness report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from training.declaring.objective import SHOWN
from training.evaluation.evaluate import Estimate
from training.evaluation.fairness import Fairness, Gap
from training.evaluation.rolling import Origin
from training.evaluation.slices import LEAST_ROWS, Part
from training.evaluation.study import Study
from training.evaluation.titles import title

_INSTANT = "%Y-%m-%d"


def sections(study: Study, *, leading: str, binary: bool) -> list[str]:
    """Return the sections a card shows between gates and inputs; a part that was not measured has none.

    Parameters
    ----------
    leading
        The metric models are compared by.
    binary
        Whether answers are yes or no; else "positives" are mean answers.
    """
    return [
        *_decisions(study),
        *_tenths(study),
        "## Slices",
        (
            "Cut by the task's own columns, and by store (of the last visit), tenure (since the first event of the "
            "log), spend in 84 days (quarters of the training rows), device and region where the log has them. Slices "
            f"of less than {LEAST_ROWS} rows, or with a single answer, are listed without figures."
        ),
        markdown_table(["rows", *_titles(_measured(study), binary=binary), "n"], _slices(study.slices)),
        *_rolling(study, leading),
        *_permutation(study, leading),
        "## Fairness",
        fairness_summary(study),
        *_pointer(study),
    ]


def fairness_page(study: Study, task: str) -> str:
    """Return the fairness report: every group with figures and numbers, and the gaps."""
    parts = [f"# Fairness of {task}", fairness_summary(study), *_methods(study)]
    for name, found in study.fairness.items():
        parts += [f"## By {name}", _known(found), _group_table(found), *_gap_table(found)]
    return "\n\n".join(parts) + "\n"


def fairness_summary(study: Study) -> str:
    """Say in a few sentences by what groups differ, or why that is not known."""
    if study.fairness_missing:
        return f"Not measured: {study.fairness_missing}."
    if not study.fairness:
        return "Not measured: the log states no protected attribute of any shopper of the test rows."
    return "\n\n".join(_summary(name, found) for name, found in study.fairness.items())


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _decisions(study: Study) -> Iterable[str]:
    found = study.decisions
    if found is None:
        return
    counts = found.confusion
    yield "## Decisions"
    yield (
        f"Saying yes from a score of {found.threshold:.3f} on ({found.policy}) would have been right in "
        f"{counts.true_positives:,} and wrong in {counts.false_positives:,} of the test rows, and would have missed "
        f"{counts.false_negatives:,}. Another use has another threshold: it is logged, not built in."
    )
    yield markdown_table(list(found.metrics), [[_interval(each) for each in found.metrics.values()]])
    yield markdown_table(
        [f"precision among the top {name.removesuffix('pct')}%" for name in study.precision_at],
        [[_interval(each) for each in study.precision_at.values()]],
    )
    yield markdown_table(
        ["tenth by score", "lowest score", "rows", "positives", "share", "lift", "cumulative lift", "gain"],
        (
            [
                str(place),
                f"{each.lowest:.3f}",
                f"{each.rows:,}",
                f"{each.positives:,}",
                f"{each.share:.1%}",
                f"{each.lift:.2f}",
                _interval(each.cumulative_lift, 2),
                _interval(each.gain),
            ]
            for place, each in enumerate(study.lift, start=1)
        ),
    )


def _tenths(study: Study) -> Iterable[str]:
    if study.tenths:
        yield "## Foreseen and what came"
        yield markdown_table(
            ["tenth by score", "rows", "mean score", "mean answer"],
            (
                [str(place), f"{each.rows:,}", f"{each.score:,.2f}", _interval(each.answer, 2)]
                for place, each in enumerate(study.tenths, start=1)
            ),
        )


def _measured(study: Study) -> list[str]:
    return next((list(part.metrics) for part in study.slices.values() if part.metrics), [])


def _slices(slices: dict[str, Part]) -> Iterable[list[str]]:
    names = next((list(part.metrics) for part in slices.values() if part.metrics), [])
    for name, part in slices.items():
        figures = [_interval(part.metrics[each]) if part.metrics else "" for each in names]
        yield [name, *figures, f"{part.rows:,}"]


def _titles(names: Iterable[str], *, binary: bool) -> list[str]:
    return [title(name, binary=binary) for name in names]


def _rolling(study: Study, leading: str) -> Iterable[str]:
    if not study.origins:
        return
    yield "## Over time"
    found = study.spread.get(leading)
    spread = f"{found.mean:.3f}, from {found.low:.3f} to {found.high:.3f}" if found else "not measured"
    yield (
        f"Fitted anew at {len(study.origins)} origins on the rows whose answers were known by then, measured on the "
        f"stretch after each; mean {SHOWN[leading]} {spread}."
    )
    names = [name for name in SHOWN if name in study.spread]
    yield markdown_table(
        ["fitted at", "measured until", "fitted on", "measured on", *(SHOWN[name] for name in names)],
        (
            [
                f"{each.at:{_INSTANT}}",
                f"{each.until:{_INSTANT}}",
                f"{each.train:,}",
                f"{each.test:,}",
                *(_at_origin(each, name) for name in names),
            ]
            for each in study.origins
        ),
    )


def _at_origin(origin: Origin, name: str) -> str:
    if name in origin.metrics:
        return _interval(origin.metrics[name])
    return "no whole groups" if origin.metrics else "too few rows"


def _permutation(study: Study, leading: str) -> Iterable[str]:
    if study.permutation:
        yield "## What is lost without a view"
        yield markdown_table(
            ["view", "inputs", f"{SHOWN[leading]} lost when permuted", "share of what is added (SHAP)"],
            (
                [view, str(each.inputs), f"{each.mean:+.4f} (deviation {each.deviation:.4f})", f"{each.shap:.1%}"]
                for view, each in study.permutation.items()
            ),
        )


def _summary(name: str, found: Fairness) -> str:
    read = "The model reads it" if found.is_input else "The model does not read it"
    notable = [f"{_named(figure, found.gaps)} ({_gap(gap)})" for figure, gap in found.gaps.items() if gap.notable]
    if not found.gaps:
        verdict = "Too few shoppers are known for two groups to be compared."
    elif notable:
        verdict = f"Groups differ by more than chance in {'; '.join(notable)}."
    else:
        verdict = "No figure differs between groups by more than chance shows."
    return f"**By {name}.** {read}. {_known(found)} {verdict}"


def _gap(gap: Gap) -> str:
    return f"{gap.highest} {gap.estimate.value:.3f} above {gap.lowest}, by chance up to {gap.chance:.3f}"


def _known(found: Fairness) -> str:
    rows = sum(group.rows for group in found.groups.values())
    return f"Known in {rows:,} of {rows + found.unknown_rows:,} test rows; the others form no group."


def _pointer(study: Study) -> Iterable[str]:
    if study.fairness:
        yield f"{_by_chance(study)} Every group with its figures is in the artifact `fairness.md`."


def _by_chance(study: Study) -> str:
    compared = sum(len(each.gaps) for each in study.fairness.values())
    return f"Of {compared} gaps, {compared / 20:.1f} exceed chance by chance."


def _methods(study: Study) -> Iterable[str]:
    if not study.fairness:
        return
    found = study.decisions
    decided = f"A yes is a score of at least {found.threshold:.3f} ({found.policy}). " if found else ""
    yield (
        f"{decided}Intervals are 95%, resampled by shopper. `chance` is what the largest less the smallest group stays "
        "below in 19 of 20 deals of the same groups to the shoppers at random; the interval of a gap is that of the "
        f"two groups named. {_by_chance(study)} Groups of less than {LEAST_ROWS} rows, or with a single answer, are "
        "listed without figures and in no gap. Who stated such facts chose to: the others may differ."
    )


def _group_table(found: Fairness) -> str:
    names = next((list(group.metrics) for group in found.groups.values() if group.metrics), [])
    return markdown_table(
        ["group", "rows", "shoppers", "with a positive answer", *(_named(name, names) for name in names)],
        (
            [
                value,
                f"{group.rows:,}",
                f"{group.shoppers:,}",
                f"{group.positives:,}",
                *(_interval(group.metrics[name]) if group.metrics else "" for name in names),
            ]
            for value, group in found.groups.items()
        ),
    )


def _gap_table(found: Fairness) -> Iterable[str]:
    if found.gaps:
        yield markdown_table(
            ["figure", "highest", "lowest", "gap", "chance", "more than chance", "smallest over largest"],
            (
                [
                    _named(figure, found.gaps),
                    gap.highest,
                    gap.lowest,
                    _interval(gap.estimate),
                    f"{gap.chance:.3f}",
                    "**yes**" if gap.notable else "no",
                    f"{found.ratios[figure]:.2f}" if figure in found.ratios else "",
                ]
                for figure, gap in found.gaps.items()
            ),
        )


def _named(figure: str, figures: Iterable[str]) -> str:
    return title(figure, binary="mae" not in figures)


def _interval(estimate: Estimate, digits: int = 3) -> str:
    return f"{estimate.value:,.{digits}f} [{estimate.low:,.{digits}f}, {estimate.high:,.{digits}f}]"
