"""Commands of training: `portrait train`.

This module is imported for every ``portrait --help``, so what a command needs is imported in its body.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_repo.core.console import Json, command_group, emit, example, progress, table
from feature_repo.core.errors import CheckFailedError, PortraitError, StoreUnavailableError
from training.jobs.reproduce_cli import reproduce_run
from training.runs.registered import FIRST

if TYPE_CHECKING:
    from training.evaluation.extras import Extras
    from training.fitting.options import Options
    from training.task import Task

TaskName = Annotated[str | None, typer.Argument(metavar="[TASK]", help="Name of a task.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="Train every task the log can support.")]
IfChanged = Annotated[
    bool, typer.Option("--if-changed", help="Train only what differs from the champion in rows, features or task.")
]
Rolling = Annotated[
    int,
    typer.Option(
        "--rolling",
        metavar="N",
        min=0,
        max=50,
        help="Also fit at N earlier instants, and measure on what came next.",
    ),
]
Permute = Annotated[
    bool, typer.Option("--permute", help="Also measure what is lost when inputs are permuted, view by view.")
]

Reproduce = Annotated[
    str, typer.Option(metavar="RUN", help="Build and fit a run again, a run id or TASK@VERSION; registers nothing.")
]

Select = Annotated[
    str, typer.Option(metavar="filter|wrapper|embedded", help="Leave inputs out that validation does not miss.")
]
Reduce = Annotated[str, typer.Option(metavar="pca", help="Fit the linear part on principal components.")]
ContinueFrom = Annotated[
    str, typer.Option(metavar="champion", help="Add trees to the champion's; a full refit is measured beside it.")
]
Trials = Annotated[int, typer.Option(help="Sets of parameters to try with Optuna, on validation rows alone.", min=0)]

Outcomes = dict[str, dict[str, Any]]

_app = command_group()


def commands() -> typer.Typer:
    """Return the commands, for the entry point ``portrait.commands``."""
    return _app


@_app.command(
    epilog=example("portrait train redemption", "portrait train --all --json", "portrait train churn --select filter")
)
def train(
    task: TaskName = None,
    *,
    every: All = False,
    if_changed: IfChanged = False,
    reproduce: Reproduce = "",
    rolling: Rolling = 0,
    permute: Permute = False,
    select: Select = "",
    reduce: Reduce = "",
    continue_from: ContinueFrom = "",
    trials: Trials = 0,
    as_json: Json = False,
) -> object:
    """Fit a model, measure it, register it; it becomes champion if every gate holds and it beats the champion."""
    from training.evaluation.extras import Extras  # noqa: PLC0415
    from training.fitting.options import Options  # noqa: PLC0415
    from training.task import all_tasks, find_task  # noqa: PLC0415

    options = Options(select=select, reduce=reduce, continue_from=continue_from, trials=trials)
    if reproduce:
        alone = not (every or if_changed or rolling or permute or options)
        return reproduce_run(task, reproduce, alone=alone, as_json=as_json)
    if every and options.continue_from:
        raise PortraitError("--continue-from goes on from one champion.", hint="name its task instead of --all.")
    if (task is None) != every:
        known = ", ".join(all_tasks())
        raise PortraitError("Name one task, or say --all.", hint=f"known tasks are {known}.")
    tasks = list(all_tasks().values()) if task is None else [find_task(task)]
    asked = _Asked(if_changed, Extras(rolling, permute), options, every)
    report = {"tasks": {each.name: _train(each, asked) for each in tasks}}
    emit(report, as_json, _render)
    _check(report["tasks"])
    return report


@dataclass(frozen=True)
class _Asked:
    if_changed: bool
    extras: Extras
    options: Options
    skip: bool


def _train(task: Task, asked: _Asked) -> dict[str, Any]:
    from training.jobs.train import train as run  # noqa: PLC0415
    from training.registry.pending import RunKeptError  # noqa: PLC0415
    from training.task import TaskUnavailableError  # noqa: PLC0415

    try:
        with progress(f"Training {task.name}") as step:
            report = run(task, progress=step, if_changed=asked.if_changed, extras=asked.extras, options=asked.options)
            return asdict(report)
    except TaskUnavailableError as error:
        if not asked.skip:
            raise
        return {"unavailable": error.what}
    except RunKeptError as error:  # the other tasks are trained all the same
        return {**asdict(error.report), "error": {"what": error.what, "hint": error.hint}}


def _check(outcomes: Outcomes) -> None:
    for kept in [each["error"] for each in outcomes.values() if "error" in each]:
        raise StoreUnavailableError(kept["what"], hint=kept["hint"])
    failed = {
        name: [gate for gate, ok in each["gates"].items() if not ok]
        for name, each in outcomes.items()
        if "gates" in each
    }
    told = [f"{name} fails {', '.join(gates)}" for name, gates in failed.items() if gates]
    if told:
        raise CheckFailedError(
            f"Not promoted: {'; '.join(told)}.",
            hint="the version is registered without the alias; the champion of before, if any, still answers.",
        )


def _render(report: dict[str, Outcomes]) -> None:
    for name, outcome in report["tasks"].items():
        if "unavailable" in outcome:
            sys.stdout.write(f"{name}: unavailable. {outcome['unavailable']}\n")
        else:
            _render_model(name, outcome)


def _render_model(name: str, outcome: dict[str, Any]) -> None:
    rows, columns = outcome["rows"], _columns(outcome["metrics"])
    sys.stdout.write(f"{name}: fitted on {rows['train']:,} rows, measured on {rows['test']:,} later ones\n\n")
    low, high = outcome["intervals"][next(iter(columns))]
    lines = [_line("this model", columns, outcome["metrics"], f" [{low:.3f}, {high:.3f}]")]
    lines += [_line(f"  {part}", columns, metrics) for part, metrics in outcome["slices"].items()]
    lines += [_line(baseline, columns, metrics) for baseline, metrics in outcome["baselines"].items()]
    table(["", *columns.values()], lines)
    _render_lists(name, outcome.get("lists", {}))
    sys.stdout.write("\n")
    table(
        ["gate", "", "measured"],
        [[gate, "ok" if ok else "FAILED", outcome["measured"][gate]] for gate, ok in outcome["gates"].items()],
    )
    sys.stdout.writelines(f"\n{note}\n" for note in outcome.get("notes", ()))
    sys.stdout.write(f"\n{_sentence(name, outcome)}\n")


def _render_lists(task: str, lists: dict[str, dict[str, float]]) -> None:
    if not lists:
        return
    sys.stdout.write("\n")
    names = list(next(iter(lists.values())))
    lines = [
        ["this model" if name == task else name, *(f"{each[n]:.3f}" for n in names)] for name, each in lists.items()
    ]
    table(["lists of ten", *(name.replace("_", " ") for name in names)], lines)


def _columns(metrics: dict[str, float]) -> dict[str, str]:
    """Which of the metrics are shown, by title."""
    from training.declaring.objective import SHOWN  # noqa: PLC0415

    return {name: title for name, title in SHOWN.items() if name in metrics}


def _line(name: str, columns: dict[str, str], metrics: dict[str, float], interval: str = "") -> list[str]:
    figures = [f"{metrics[column]:.3f}" for column in columns]
    return [name, figures[0] + interval, *figures[1:]]


def _sentence(name: str, outcome: dict[str, Any]) -> str:
    version = f"{name} version {outcome['model_version']}"
    if outcome["unchanged"]:
        return f"Nothing has changed since {version} was trained; it stays champion."
    if outcome["kept"]:
        return f"{name} is trained and NOT registered: its run is kept in {outcome['kept']}"
    states = {"is champion": outcome["promoted"], "is challenger": outcome["challenger"]}
    state = next((said for said, so in states.items() if so), "is registered and NOT promoted")
    why = "" if outcome["reason"] == FIRST else f": {outcome['reason']}"
    return f"{version} {state}{why} ({outcome['seconds']:.0f} s)"
