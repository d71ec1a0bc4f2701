"""`portrait train TASK --reproduce RUN`: what it prints, and when it fails."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

from feature_repo.core.console import emit, progress, table
from feature_repo.core.errors import CheckFailedError, PortraitError

if TYPE_CHECKING:
    from training.jobs.reproduce import Reproduction

_SHOWN = 8


def reproduce_run(task: str | None, run: str, *, alone: bool, as_json: bool) -> object:
    """Reproduce a run and print the report.

    Raises
    ------
    CheckFailedError
        Rows or metrics came out otherwise.
    """
    from training.jobs.reproduce import DIFFERS, reproduce  # noqa: PLC0415

    if task is None or not alone:
        raise PortraitError(
            "Name the task of the run, and none of --all, --if-changed, --rolling, --permute and the options of its "
            "training.",
            hint="portrait train --help",
        )
    with progress(f"Reproducing {run}") as step:
        report = reproduce(task, run, progress=step)
    emit(report, as_json, _render)
    if report.outcome == DIFFERS:
        raise CheckFailedError(f"Run {report.run_id} did not come out the same.", hint=_why(report))
    return report


def _why(report: Reproduction) -> str:
    rows = report.rows
    if rows.changed or rows.added:
        return (
            f"{rows.changed:,} rows hold other values and {rows.added:,} are new: see whether retention or an erasure "
            "removed events they were computed from."
        )
    far = sorted(report.metrics, key=lambda name: -abs(report.metrics[name].rebuilt - report.metrics[name].recorded))
    return (
        f"the rows are the same, and {', '.join(far[:3])} differ most: compare the versions of xgboost and "
        "scikit-learn, and the number of threads."
    )


def _render(report: Reproduction) -> None:
    rows = report.rows
    table(["rows", "recorded", "rebuilt"], [[role, count, rows.rebuilt[role]] for role, count in rows.recorded.items()])
    sys.stdout.write("\n")
    own = [
        (name, each)
        for name, each in report.metrics.items()
        if "/" not in name and not name.endswith(("_low", "_high"))
    ]
    table(
        ["metric", "recorded", "rebuilt"],
        [[name, f"{each.recorded:.6f}", f"{each.rebuilt:.6f}"] for name, each in own[:_SHOWN]],
    )
    sys.stdout.write(f"\n{_sentence(report)} ({report.seconds:.0f} s)\n")
    if report.not_compared:
        sys.stdout.write(f"{_left_out(report.not_compared)}\n")


def _left_out(names: tuple[str, ...]) -> str:
    """Say what was not compared, by the part of the run.

    >>> _left_out(("search/pruned", "search/validation_auc", "threshold"))
    'Not compared, as they are not made again: 2 figures of search, 1 of the model.'
    """
    counts = Counter(name.partition("/")[0] if "/" in name else "the model" for name in names)
    told = [f"{count} {'figures ' if n == 0 else ''}of {part}" for n, (part, count) in enumerate(counts.items())]
    return f"Not compared, as they are not made again: {', '.join(told)}."


def _sentence(report: Reproduction) -> str:
    rows, run = report.rows, f"{report.task} run {report.run_id}"
    if report.outcome == "same":
        return (
            f"{run} came out the same: the same rows, {len(report.metrics):,} metrics within "
            f"{report.largest_difference:.1e}"
        )
    gone = f"{rows.erased:,} rows were erased since and {rows.removed:,} left the log otherwise"
    if report.outcome == "rows_gone":
        return f"{run}: {gone}; the other {sum(rows.rebuilt.values()):,} are the same"
    return f"{run} did NOT come out the same: {gone}, {rows.changed:,} changed, {rows.added:,} new"
