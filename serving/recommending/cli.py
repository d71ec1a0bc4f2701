"""The command `portrait recommend`.

This module is imported for every ``portrait --help``, so what a command needs is imported in its body.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.core.console import Json, command_group, emit, example, table

if TYPE_CHECKING:
    from serving.recommending.recommendation import Recommendations

commands = command_group()

User = Annotated[str, typer.Argument(help="Raw id or pseudonym of a shopper.", metavar="USER")]
Count = Annotated[int, typer.Option("-k", min=1, max=100, help="Items at most.")]
Store = Annotated[str, typer.Option("--store", help="Store the shopper is in.")]
Category = Annotated[str, typer.Option("--category", help="Items of this category alone.")]
Without = Annotated[list[str] | None, typer.Option("--without", metavar="ITEM", help="Not this item; may be repeated.")]


@commands.command(epilog=example("portrait recommend 2375", "portrait recommend 2375 -k 5 --json"))
def recommend(
    user: User,
    *,
    k: Count = 10,
    store: Store = "",
    category: Category = "",
    without: Without = None,
    as_json: Json = False,
) -> object:
    """Recommend items to a shopper, each with the reason."""
    from serving.sdk import ProfileClient  # noqa: PLC0415

    with ProfileClient() as portrait:
        context = {"store": store, "category": category, "unavailable": without or []}
        report = portrait.recommend(user, k=k, context=context)
    emit(report, as_json, _render)
    return report


def _render(report: Recommendations) -> None:
    rows = [(each.item_id, each.category, f"{each.score:.2f}", each.reason, each.zh) for each in report]
    sys.stdout.write(f"Shopper 顾客  {report.user_id}\n\n")
    table(("item", "category", "score", "why", "原因"), rows)
    until = f"{report.history_as_of:%Y-%m-%d %H:%M} UTC" if report.history_as_of else "nothing known"
    sys.stdout.write(f"\n{report.model}; history up to {until}; list {report.recommendation_id}\n")
