"""An explanation for a terminal: who, how much, by which dimension, and every reason with its bar."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from serving.entities import USER
from serving.profile import DIMENSIONS
from serving.reasons.answers import Evidence, WhatIf
from serving.reasons.explanation import BESIDE, Explanation, Reason, Trace
from serving.reasons.sentences import number

if TYPE_CHECKING:
    from serving.sdk import ProfileClient

_BAR = 10
_PIPED_WIDTH = 150


@dataclass(frozen=True)
class Told:
    """An explanation, and what was asked beside it.

    Attributes
    ----------
    evidence
        Of each reason, in their order; empty if it was not asked for.
    what_if
        Without the last purchase; None if it was not asked for.
    """

    explanation: Explanation
    evidence: tuple[tuple[Evidence, ...], ...]
    what_if: WhatIf | None


def told(
    portrait: ProfileClient, task: str, user: str, *, about: Mapping[str, str], events: int, what_if: bool
) -> Told:
    """Ask a client for all of it."""
    asked: Any = pd.DataFrame([{USER: user, **about}], dtype=object) if about else user
    explanation = portrait.explain(task, asked)
    found = [portrait.evidence(user, reason, most=events) for reason in explanation.reasons] if events else []
    return Told(explanation, tuple(found), portrait.what_if(task, asked) if what_if else None)


def dimension_words(name: str) -> tuple[str, str]:
    """Return what a dimension is called in English and in Chinese.

    >>> dimension_words("value"), dimension_words("question")
    (('Value', '价值'), ('The question', '提问'))
    """
    return DIMENSIONS.get(name) or BESIDE.get(name) or (name.capitalize(), "")


def render(report: Told) -> None:
    """Print an explanation on stdout, with bars and colours where it is a terminal."""
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    width = None if sys.stdout.isatty() else _PIPED_WIDTH
    console = Console(file=sys.stdout, width=width, highlight=False, markup=False)
    found = report.explanation
    console.print(Text.assemble((f"{found.task} {found.value:,.4f}", "bold"), f"   {found.model}   {found.user_id}"))
    if not found.known:
        console.print("Never seen: these are the reasons of a shopper without events. 未知顾客")
    console.print(
        f"Margin before calibration {found.margin:+.4f} = base {found.base:+.4f} {_signed(found.margin - found.base)} "
        f"of the reasons; read at {found.features_as_of:%Y-%m-%d %H:%M:%S} UTC"
    )
    console.print()
    console.print(_dimensions(found))
    console.print()
    console.print(_reasons(found))
    for line in _windows(found.reasons):
        console.print(line, style="dim")
    _render_rest(console, report)


def _render_rest(console: Any, report: Told) -> None:
    found = report.explanation
    if found.defaults:
        console.print(f"By default: {', '.join(found.defaults)}", style="dim")
    if found.missing:
        console.print(f"Not known (NULL): {', '.join(found.missing)}", style="dim")
    if report.what_if is not None:
        console.print(f"\n{report.what_if.sentence}")
    for reason, shown in zip(found.reasons, report.evidence, strict=False):
        console.print(f"\n{reason.sentence}")
        for each in shown:
            console.print(_evidence(each), style="dim")


def _dimensions(found: Explanation) -> Any:
    drawn = _table(("dimension", "维度", "", "adds"))
    largest = max(map(abs, found.dimensions.values()), default=0.0)
    for name, added in found.dimensions.items():
        drawn.add_row(*dimension_words(name), _bar(added, largest), f"{added:+.4f}")
    return drawn


def _reasons(found: Explanation) -> Any:
    drawn = _table(("", "adds", "because", "原因"))
    largest = max((abs(reason.contribution) for reason in found.reasons), default=0.0)
    for reason in found.reasons:
        bar = _bar(reason.contribution, largest)
        drawn.add_row(bar, f"{reason.contribution:+.4f}", reason.sentence, reason.zh)
    return drawn


def _table(headers: tuple[str, ...]) -> Any:
    from rich.table import Table  # noqa: PLC0415

    drawn = Table(box=None, pad_edge=False, header_style="dim")
    for header in headers:
        drawn.add_column(header, justify="right" if header == "adds" else "left", no_wrap=header in {"", "adds"})
    return drawn


def _bar(added: float, largest: float) -> Any:
    """To the right of the middle what raises the score, to the left what lowers it."""
    from rich.text import Text  # noqa: PLC0415

    size = round(_BAR * abs(added) / largest) if largest else 0
    blocks = "█" * size
    if added < 0:
        return Text.assemble((blocks.rjust(_BAR), "blue"), "│", " " * _BAR)
    return Text.assemble(" " * _BAR, "│", (blocks.ljust(_BAR), "red"))


def _windows(reasons: tuple[Reason, ...]) -> list[str]:
    """Which windows the sentences speak of: each once."""
    spoken: dict[str, Trace] = {
        trace.name: trace for reason in reasons for trace in reason.traces if trace.name in reason.told
    }
    if not spoken:
        return []
    lines = [
        f"  {trace.name} = {number(trace.value)}  {trace.table} [{trace.since:%Y-%m-%d %H:%M}, now)"
        for trace in spoken.values()
    ]
    return ["", "Computed over events of the log:", *lines]


def _evidence(found: Evidence) -> str:
    agreed = "as served" if found.agrees else f"served as {number(found.served)}"
    lines = [f"  {found.name} = {number(found.recomputed)} ({agreed}), of {found.total} events"]
    for event in found.events:
        facts = ", ".join(f"{name} {number(value)}" for name, value in event.facts.items())
        lines.append(f"    {event.at:%Y-%m-%d %H:%M} {event.table}: {facts}")
    return "\n".join(lines)


def _signed(value: float) -> str:
    return f"{'+' if value >= 0 else '-'} {abs(value):.4f}"
