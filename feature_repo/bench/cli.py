"""The command `portrait bench`.

This module is imported for every ``portrait --help``, so what the command needs is imported in its body.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_repo.bench.bench import Size, bench_entry
from feature_repo.core.console import Json, command_group, emit, example, progress, table

if TYPE_CHECKING:
    from feature_repo.bench.bench import BenchReport

Name = Annotated[
    str,
    typer.Argument(
        help="What to measure: materialize, online, predict, pit, pit-asof, serve, memory, stream, commits, drift, "
        "audience, recommend.",
        metavar="NAME",
    ),
]
HowMuch = Annotated[Size, typer.Option("--size", help="small ends in under a minute; targets are judged at full.")]

commands = command_group()


@commands.command(epilog=example("portrait bench materialize", "portrait bench online --size full --json"))
def bench(name: Name, *, size: HowMuch = Size.SMALL, as_json: Json = False) -> object:
    """Measure Portrait beside stock Feast: same data, one run, a home of its own."""
    entry = bench_entry(name)
    from feature_repo.bench.run import run_bench  # noqa: PLC0415 - after the name is known to be one

    with progress(f"Measuring {name}") as step:
        report = run_bench(entry.load(), size, step)
    emit(report, as_json, _render)
    return report


def _render(report: BenchReport) -> None:
    ours, peer = dict(_flat(report.ours)), dict(_flat(report.peer))
    rows = [(name, _shown(ours.get(name)), _shown(peer.get(name))) for name in dict.fromkeys([*ours, *peer])]
    table([report.name, "ours", "peer"], rows)
    sys.stdout.write(f"\n{report.ratio:.2f} times the peer ({report.unit}; more than 1: ours is better)\n\n")
    table(["setup", ""], [(name, _shown(value)) for name, value in _flat(report.setup)])


def _flat(measures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in measures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", value


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(_shown(each) for each in value)
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"  # noqa: PLR2004 - digits a reader can use
    return f"{value:,}" if isinstance(value, int) else str("" if value is None else value)
