"""The command `portrait bench`.

This module is imported for every ``portrait --help``, so what the command needs is imported in its body.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.bench.bench import Size, bench_entry, bench_names
from feature_repo.bench.figures import flat, shown
from feature_repo.core.clock import SystemClock
from feature_repo.core.console import Json, command_group, emit, example, note, progress, table
from feature_repo.core.errors import PortraitError

if TYPE_CHECKING:
    from feature_repo.bench.bench import BenchReport
    from feature_repo.bench.every import Runs

ALL = "all"

Name = Annotated[
    str,
    typer.Argument(
        help="What to measure: materialize, online, predict, pit, pit-asof, serve, memory, stream, commits, drift, "
        "audience, recommend; or all of them.",
        metavar="NAME",
    ),
]
HowMuch = Annotated[Size, typer.Option("--size", help="small ends in under a minute; targets are judged at full.")]
Only = Annotated[str, typer.Option("--only", help="With all: these alone, separated by commas.", metavar="NAMES")]
Check = Annotated[
    bool, typer.Option("--check", help="With all: exit 1 if a ratio is below its bound, which holds for small runs.")
]
Recorded = Annotated[
    Path | None,
    typer.Option("--from", help="With all: measure nothing, take this report of an earlier run.", metavar="FILE"),
]
Page = Annotated[
    Path | None,
    typer.Option("--page", help="With all: write a page with tables and a picture into this folder.", metavar="DIR"),
]

commands = command_group()


@commands.command(
    epilog=example(
        "portrait bench materialize",
        "portrait bench online --size full --json",
        "portrait bench all --size full --page reports",
    )
)
def bench(
    name: Name,
    *,
    size: HowMuch = Size.SMALL,
    only: Only = "",
    check: Check = False,
    recorded: Recorded = None,
    to: Page = None,
    as_json: Json = False,
) -> object:
    """Measure Portrait beside stock Feast: same data, one run, a home of its own."""
    if name == ALL:
        names = [each.strip() for each in only.split(",") if each.strip()] or bench_names()
        runs = _measured(names, size) if recorded is None else _recorded(recorded)
        return _told(runs, check=check, to=to, as_json=as_json)
    if only or check or recorded or to:
        raise PortraitError(
            "--only, --check, --from and --page are of `portrait bench all`.", hint=f"portrait bench all --only {name}"
        )
    entry = bench_entry(name)
    from feature_repo.bench.run import run_bench  # noqa: PLC0415 - after the name is known to be one

    with progress(f"Measuring {name}") as step:
        report = run_bench(entry.load(), size, step)
    emit(report, as_json, _render)
    return report


def _measured(names: Sequence[str], size: Size) -> Runs:
    for name in names:
        bench_entry(name)
    from feature_repo.bench.every import run_benches  # noqa: PLC0415 - after the names are known

    with progress("Measuring") as step:
        return run_benches(names, size, SystemClock(), step)


def _recorded(path: Path) -> Runs:
    from feature_repo.bench.every import read_runs  # noqa: PLC0415

    try:
        return read_runs(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PortraitError(f"The report {path} cannot be read: {error}.") from None


def _told(runs: Runs, *, check: bool, to: Path | None, as_json: bool) -> Runs:
    if to is not None:
        from feature_repo.bench.page import write_page  # noqa: PLC0415

        note(f"Written: {', '.join(str(path) for path in write_page(runs, to))}")
    emit(runs, as_json, _render_all)
    if check and (runs.below or runs.failed):
        raise typer.Exit(1)
    return runs


def _render_all(runs: Runs) -> None:
    rows = [
        (name, f"{report['ratio']:.2f}", shown(runs.least.get(name) or None), report["unit"])
        for name, report in runs.benches.items()
    ]
    table(["bench", "times the peer", "at least", "compared"], rows)
    for name, why in runs.failed.items():
        note(f"{name}: {why}")
    for name in runs.below:
        note(f"{name} is below its bound.")


def _render(report: BenchReport) -> None:
    ours, peer = dict(flat(report.ours)), dict(flat(report.peer))
    rows = [(name, shown(ours.get(name)), shown(peer.get(name))) for name in dict.fromkeys([*ours, *peer])]
    table([report.name, "ours", "peer"], rows)
    sys.stdout.write(f"\n{report.ratio:.2f} times the peer ({report.unit}; more than 1: ours is better)\n\n")
    table(["setup", ""], [(name, shown(value)) for name, value in flat(report.setup)])
