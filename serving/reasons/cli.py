"""Commands of reasons: `portrait explain`.

This module is imported for every ``portrait --help``, so what a command needs is imported in its body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_repo.core.console import Json, command_group, emit, example
from feature_repo.core.errors import DataError

if TYPE_CHECKING:
    from serving.reasons.shown import Told

commands = command_group()

User = Annotated[str, typer.Argument(help="Raw id or pseudonym of a shopper.", metavar="USER")]
Task = Annotated[str, typer.Argument(help="Name of the task, for example redemption.", metavar="TASK")]
About = Annotated[
    list[str] | None,
    typer.Option("--about", metavar="NAME=VALUE", help="What else the model is about, such as category='SOFT DRINKS'."),
]
Events = Annotated[
    int, typer.Option("--events", min=0, max=100, help="Show so many of the newest events behind each reason.")
]
Without = Annotated[bool, typer.Option("--what-if", help="Say what the score would be without the last purchase, too.")]


@commands.command(
    epilog=example("portrait explain redemption 2375", "portrait explain redemption 2375 --events 3 --what-if --json")
)
def explain(
    task: Task,
    user: User,
    *,
    about: About = None,
    events: Events = 0,
    what_if: Without = False,
    as_json: Json = False,
) -> object:
    """Say why the champion of a task answers as it does about a shopper."""
    from serving.reasons.shown import render, told  # noqa: PLC0415
    from serving.sdk import ProfileClient  # noqa: PLC0415

    with ProfileClient() as portrait:
        _check_order(portrait, task, user)
        report = told(portrait, task, user, about=_pairs(about or []), events=events, what_if=what_if)
    emit(_object(report), as_json, lambda _: render(report))
    return report


def _object(report: Told) -> dict[str, Any]:
    """One JSON object: the explanation, with what else was asked for."""
    found: dict[str, Any] = {**vars(report.explanation)}
    if report.what_if is not None:
        found["what_if"] = report.what_if
    if report.evidence:
        found["evidence"] = report.evidence
    return found


def _check_order(portrait: Any, task: str, user: str) -> None:
    """Tell who named the shopper first what comes first, without repeating a raw id as a model's name."""
    tasks = portrait.tasks()
    if user in tasks and task not in tasks:
        raise DataError("The shopper was named first.", hint=f"the task comes first: portrait explain {user} USER")


def _pairs(given: list[str]) -> dict[str, str]:
    pairs = [each.partition("=") for each in given]
    if any(not (name and sign and value) for name, sign, value in pairs):
        raise DataError("What the model is about was not named as NAME=VALUE.", hint="write --about category=BEEF.")
    return {name: value for name, _, value in pairs}
