"""The command `portrait visit`: a shopper comes by, and the profile follows. `portrait demo --live` ends with it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_repo.core.console import Json, emit, example
from serving.cli import commands

if TYPE_CHECKING:
    from serving.visit import Change, VisitReport

__all__ = ["commands"]

Seconds = Annotated[float, typer.Option("--seconds", min=0.0, help="How long the visit takes.")]


@commands.command("visit", epilog=example("portrait visit", "portrait visit --seconds 5 --json"))
def visit(*, seconds: Seconds = 16.0, as_json: Json = False) -> object:
    """Simulate a shopper's visit, and show how the profile follows: views, searches, cart, purchase."""
    from serving.visit import visit as run  # noqa: PLC0415

    with _shown() as show:
        report = run(seconds=seconds, show=show)
    emit(report, as_json, _render)
    return report


def _render(report: VisitReport) -> None:
    fresh = report.freshness_ms
    sys.stdout.write(
        f"\n{report.events} events of shopper {report.user_id} changed {len(report.changes)} values, each read "
        f"{fresh['p50']:,.0f} ms (p50), {fresh['p99']:,.0f} ms (p99) after its event was sent\n"
    )


@contextmanager
def _shown() -> Iterator[Callable[[Mapping[str, float], Sequence[Change]], None]]:
    """A table that changes in place on a terminal; a line per change elsewhere."""
    if not sys.stdout.isatty():
        yield lambda _values, changes: _write_lines(changes)
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415

    with Live(console=Console(file=sys.stdout), auto_refresh=False) as screen:
        last: dict[str, Change] = {}

        def show(values: Mapping[str, float], changes: Sequence[Change]) -> None:
            last.update({change.feature: change for change in changes})
            screen.update(_drawn(values, last, changes), refresh=True)

        yield show


def _write_lines(changes: Sequence[Change]) -> None:
    for change in changes:
        sys.stdout.write(
            f"{change.event:<18}{change.feature:<48}{_number(change.before):>7} -> {_number(change.after):<7}"
            f"{change.visible_ms:>7,.0f} ms\n"
        )
    sys.stdout.flush()


def _drawn(values: Mapping[str, float], last: Mapping[str, Change], now: Sequence[Change]) -> Any:
    from rich.table import Table  # noqa: PLC0415

    drawn, bright = Table(box=None, pad_edge=False), {change.feature for change in now}
    for header, justify in (
        ("feature", "left"),
        ("value", "right"),
        ("changed by", "left"),
        ("sent to visible", "right"),
    ):
        drawn.add_column(header, justify=justify)  # type: ignore[arg-type]
    for name, value in values.items():
        change = last.get(name)
        # Square brackets are markup to rich.
        cells = (name.replace("[", r"\["), _number(value), *(_last_cells(change) if change else ("", "")))
        drawn.add_row(*cells, style="bold green" if name in bright else "")
    return drawn


def _last_cells(change: Change) -> tuple[str, str]:
    return change.event, f"{change.visible_ms:,.0f} ms"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
