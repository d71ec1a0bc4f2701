"""`portrait experiments`: which there are, and what became of one.

This module is imported for every ``portrait --help``, so what a command needs is imported in its body.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_repo.core.console import Json, command_group, emit, example, table
from feature_repo.core.errors import CheckFailedError

if TYPE_CHECKING:
    from serving.experiments.findings import ExperimentReport, Measured

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of an experiment.", show_default=False)]

experiments = command_group("experiments", "Variants compared on shoppers: which there are, what became of them.")


@experiments.command("list", epilog=example("portrait experiments list"))
def list_experiments(*, as_json: Json = False) -> object:
    """List the declared experiments."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from serving.experiments.experiment import all_experiments  # noqa: PLC0415
    from serving.experiments.report import state_of  # noqa: PLC0415

    now = SystemClock().now_us()
    found = [{"state": state_of(each, now), **vars(each)} for each in all_experiments().values()]
    report = {"experiments": [{key: value for key, value in each.items() if key in _LISTED} for each in found]}
    emit(report, as_json, _render_list)
    return report


@experiments.command("report", epilog=example("portrait experiments report redemption_model"))
def report(name: Name, *, as_json: Json = False) -> object:
    """Compare what became of the shoppers of each variant; exit 1 if they are not split as declared."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from serving.experiments.experiment import find_experiment  # noqa: PLC0415
    from serving.experiments.report import report_of  # noqa: PLC0415

    found = report_of(load_settings(), find_experiment(name), SystemClock())
    emit(found, as_json, _render)
    if found.sample_ratio.alarm:
        raise CheckFailedError(
            f"The shoppers of experiment '{name}' are not split as declared.",
            hint="look for a variant that fails, is slow, or loses its exposures; do not read the effects.",
        )
    return found


_LISTED = (
    "name", "question", "zh", "state", "task", "subject", "variants", "start", "end", "unit", "purpose", "outcome",
)  # fmt: skip


def _render_list(report: Any) -> None:
    rows = [
        (
            each["name"],
            each["state"],
            each["task"] or each["subject"],
            ", ".join(f"{variant.name} {variant.weight:g}" for variant in each["variants"]),
            f"{each['start']:%Y-%m-%d}",
            f"{each['end']:%Y-%m-%d}",
            each["question"],
        )
        for each in report["experiments"]
    ]
    table(("experiment", "state", "about", "variants", "from", "until", "question"), rows)


def _render(report: ExperimentReport) -> None:
    until = "empty" if report.known_until is None else f"known until {report.known_until:%Y-%m-%d %H:%M} UTC"
    sys.stdout.write(f"{report.question}\n{report.experiment} is {report.state}; the log is {until}\n\n")
    rows = [(each.variant, f"{each.shoppers:,}", f"{each.expected:,.0f}", each.meaning) for each in report.shares]
    table(("variant", "shoppers", "expected", "meaning"), rows)
    ratio = report.sample_ratio
    holds = (
        "not known yet" if math.isnan(ratio.p_value) else f"{'NO' if ratio.alarm else 'yes'} (p {ratio.p_value:.3g})"
    )
    sys.stdout.write(
        f"Split as declared: {holds}; "
        f"left out: {report.crossed:,} who met two variants, {report.undeclared:,} of a variant that is not declared\n"
    )
    for name, outcome in report.outcomes.items():
        decides = ", which decides" if name == report.decided_by else ""
        sys.stdout.write(f"\n{name}: {outcome.description}{decides}\n")
        _render_outcome(outcome)
    sys.stdout.write(f"\n{report.verdict}\n")


def _render_outcome(outcome: Measured) -> None:
    effects = {effect.variant: effect for effect in outcome.effects}
    rows = []
    for arm in outcome.arms:
        effect = effects.get(arm.variant)
        cells = ("", "", "") if effect is None else (
            _between(effect.difference, effect.low, effect.high, "+"), _number(effect.relative, "+.1%"),
            _number(effect.p_value),
        )  # fmt: skip
        rows.append((f"  {arm.variant}", f"{arm.shoppers:,}", _between(arm.value, arm.low, arm.high), *cells))
    table(("  variant", "shoppers", "value", "difference", "relative", "p"), rows)


def _between(value: float, low: float, high: float, sign: str = "") -> str:
    if math.isnan(value):
        return "-"
    return f"{value:{sign},.4f} [{_number(low, sign + ',.4f')}, {_number(high, sign + ',.4f')}]"


def _number(value: float, form: str = ".3f") -> str:
    return "-" if math.isnan(value) else f"{value:{form}}"
