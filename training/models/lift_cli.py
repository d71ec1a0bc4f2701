"""`portrait models lift`.

This module is imported for every ``portrait --help``, so what a command needs is imported in its body.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.core.console import Json, emit, example, progress, table
from training.models.cli import models

if TYPE_CHECKING:
    from training.registry.targeting import Lift


@models.command(
    "lift",
    epilog=example("portrait models lift redemption --top 100", "portrait models lift redemption --by campaign_id"),
)
def models_lift(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Name of a task.", show_default=False)],
    version: Annotated[str, typer.Argument(metavar="[VERSION]", help="A number, or an alias.")] = "champion",
    *,
    top: Annotated[int, typer.Option("--top", min=1, help="Length of the list of the highest scores.")] = 100,
    by: Annotated[
        str, typer.Option("--by", metavar="COLUMN", help="Also campaign by campaign, which fits some models anew.")
    ] = "",
    as_json: Json = False,
) -> object:
    """Tell what a list of the highest scores brought on the test rows, beside a list by chance."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from training.registry.targeting import lift_of  # noqa: PLC0415

    with progress("Measuring") as step:
        found = lift_of(load_settings(), task, version, top=top, by=by, step=step)
    emit(found, as_json, _render)
    return found


def _render(found: Lift) -> None:
    rows = [
        (f"the {found.top} highest scores", f"{found.share.value:.3f}", _between(found.share), f"{found.lift:.2f}"),
        (f"{found.top} by chance", f"{found.base:.3f}", _between(found.by_chance), "1.00"),
    ]
    sys.stdout.write(f"{found.version} on {found.rows:,} test rows: {found.answered} of {found.top} answered\n\n")
    table(("list", "share that answered", "95 %", "lift"), rows)
    if not found.campaigns:
        return
    sys.stdout.write("\n")
    table(
        ("campaign", "addressed", "answered", "expected [95 %]", "within", "fitted on", ""),
        [
            (
                each.name,
                f"{each.rows:,}",
                each.answered,
                f"{each.expected.value:.1f} [{each.expected.low:.0f}, {each.expected.high:.0f}]",
                "yes" if each.expected.covers(each.answered) else "NO",
                f"{each.fitted_on:,}",
                "test" if each.tested else "",
            )
            for each in found.campaigns
        ],
    )
    sys.stdout.write(
        f"\nOf {found.checked} lists of the test's campaigns (the highest 25, 50, ... of each), {found.covered} "
        f"answered as often as their 95 % intervals say\n(spread between campaigns {found.spread:.2f}, from those "
        f"before), {found.covered_by_coins} without a spread.\n"
        "Nobody was held out of these campaigns, so what they caused is not known.\n"
    )


def _between(each: object) -> str:
    return f"{vars(each)['low']:.3f} to {vars(each)['high']:.3f}"
