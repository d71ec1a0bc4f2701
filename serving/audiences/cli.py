"""`portrait audience`: how many, who they are, whom to address.

This module is imported for every ``portrait --help``, so what a command needs is imported in its body.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.core.console import Json, command_group, emit, example, note, progress, table
from feature_repo.core.errors import SettingsError

if TYPE_CHECKING:
    from serving.audiences.audiences import Audiences

audience = command_group("audience", "Groups of shoppers: how many, what sets them apart, whom to address.")


@audience.callback()
def check_installed() -> None:
    """Tell whether audiences can be counted here."""
    for package in ("pyroaring", "sqlglot"):
        if find_spec(package) is None:
            raise SettingsError(
                f"Audiences need a package that is not installed: {package}.",
                hint="pip install 'user-portrait[audiences]'",
            )


Selection = Annotated[
    str,
    typer.Argument(
        metavar="AUDIENCE",
        show_default=False,
        help="A selection such as \"churn_risk = 'high' and user_payments__amount_sum_84d > 100\", or @NAME of a "
        "saved one.",
    ),
]
AsOf = Annotated[
    str, typer.Option("--as-of", metavar="WHEN", help="2026-11-24, an instant, yesterday, or a weekday: the last one.")
]
SavedName = Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="What it is called.")]


@audience.command(epilog=example("portrait audience columns", "portrait audience columns --as-of tuesday --json"))
def columns(*, as_of: AsOf = "", as_json: Json = False) -> object:
    """List what a selection can ask, with the values of tags."""
    from serving.audiences.catalogue import columns_of  # noqa: PLC0415

    found = columns_of(_opened(as_of))
    emit(found, as_json, lambda each: table(("column", "short", "known of", "values"), each.rows()))
    return found


@audience.command(
    epilog=example(
        "portrait audience estimate \"churn_risk = 'high' and not segment = 'champions'\"",
        "portrait audience estimate @lapsing --as-of tuesday --json",
    )
)
def estimate(selection: Selection, *, as_of: AsOf = "", as_json: Json = False) -> object:
    """Count an audience, exactly."""
    from serving.audiences import shown  # noqa: PLC0415

    found = _opened(as_of).estimate(selection)
    emit(found, as_json, shown.show_estimate)
    return found


@audience.command(epilog=example("portrait audience overlap @lapsing \"coupon_affinity = 'strong'\""))
def overlap(
    selections: Annotated[list[str], typer.Argument(metavar="AUDIENCE...", help="Two or more.", show_default=False)],
    *,
    as_of: AsOf = "",
    as_json: Json = False,
) -> object:
    """Compare audiences: how many are in two of them, in all, in any."""
    from serving.audiences import shown  # noqa: PLC0415

    found = _opened(as_of).overlap(selections)
    emit(found, as_json, shown.show_overlap)
    return found


@audience.command(
    epilog=example(
        "portrait audience insight \"churn_risk = 'high'\"", "portrait audience insight @lapsing --html lapsing.html"
    )
)
def insight(
    selection: Selection,
    *,
    as_of: AsOf = "",
    html: Annotated[str, typer.Option("--html", metavar="FILE", help="Also write a page.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Also list what may be chance.")] = False,
    as_json: Json = False,
) -> object:
    """Tell what sets an audience apart from everybody, tag by tag (TGI)."""
    from serving.audiences import shown  # noqa: PLC0415
    from serving.audiences.insight import insight as compared  # noqa: PLC0415

    found = compared(_opened(as_of), selection)
    if html:
        from pathlib import Path  # noqa: PLC0415

        from serving.audiences.page import write_page  # noqa: PLC0415

        write_page(found, Path(html))
        note(f"Written to {html}.")
    emit(found, as_json, lambda each: shown.show_insight(each, every=every))
    return found


@audience.command(epilog=example("portrait audience save lapsing \"churn_risk = 'high'\" --because 'Spring letters'"))
def save(
    name: SavedName,
    selection: Selection,
    *,
    because: Annotated[str, typer.Option("--because", metavar="TEXT", help="What it is for.")] = "",
    as_json: Json = False,
) -> object:
    """Give a selection a name, or the name's next version, and count it."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from serving.audiences import saved, shown  # noqa: PLC0415
    from serving.audiences.recount import count  # noqa: PLC0415

    opened, clock = _opened(""), SystemClock()
    found = opened.estimate(selection)
    made = saved.save(opened.settings, clock, name, found.selection, because)
    count(opened, clock, made)
    made = saved.find_saved(opened.settings, name)
    emit(made, as_json, lambda each: shown.show_saved([each]))
    return made


@audience.command("list", epilog=example("portrait audience list", "portrait audience list --json"))
def list_saved(*, as_json: Json = False) -> object:
    """List the saved audiences, their versions and how many belonged to them."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from serving.audiences import shown  # noqa: PLC0415
    from serving.audiences.saved import all_saved  # noqa: PLC0415

    found = {"audiences": all_saved(load_settings())}
    emit(found, as_json, lambda each: shown.show_saved(each["audiences"]))
    return found


@audience.command(epilog=example("portrait audience refresh"))
def refresh(*, as_json: Json = False) -> object:
    """Count every saved audience on the latest snapshot."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from serving.audiences import shown  # noqa: PLC0415
    from serving.audiences.recount import recount  # noqa: PLC0415

    found = recount(load_settings(), SystemClock())
    emit(found, as_json, shown.show_recounts)
    return found


@audience.command(
    epilog=example(
        "portrait audience export @lapsing --to lapsing.csv",
        "portrait audience export \"coupon_affinity = 'strong'\" --campaign spring --holdout 0.2 --to spring.parquet",
    )
)
def export(
    selection: Selection,
    *,
    to: Annotated[str, typer.Option("--to", metavar="FILE", help="A .csv or .parquet file.")],
    holdout: Annotated[float, typer.Option("--holdout", min=0.0, max=0.5, help="Share that is not addressed.")] = 0.1,
    campaign: Annotated[str, typer.Option("--campaign", help="Who is held out of it is so every time.")] = "",
    as_of: AsOf = "",
    as_json: Json = False,
) -> object:
    """Write the pseudonyms of who may be addressed: who allows marketing, and is not held out."""
    from pathlib import Path  # noqa: PLC0415

    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from serving.audiences import shown  # noqa: PLC0415
    from serving.audiences.exports import PURPOSE  # noqa: PLC0415
    from serving.audiences.exports import export as hand_out  # noqa: PLC0415
    from serving.sdk import ProfileClient  # noqa: PLC0415

    opened = _opened(as_of)
    with ProfileClient(settings=opened.settings) as portrait:
        found = hand_out(
            opened,
            SystemClock(),
            selection,
            Path(to),
            lambda users: portrait.permitted(users, PURPOSE),
            share=holdout,
            campaign=campaign,
        )
    emit(found, as_json, shown.show_export)
    return found


@audience.command(
    epilog=example(
        "portrait audience plan true --value 4 --cost 0.5 --budget 100",
        "portrait audience plan \"churn_risk = 'low'\" --value amount_mean_84d --cost 1 --budget 250",
    )
)
def plan(
    selection: Selection,
    *,
    value: Annotated[str, typer.Option("--value", metavar="NUMBER|COLUMN", help="What an answer is worth.")],
    cost: Annotated[float, typer.Option("--cost", help="Of addressing one shopper.")],
    budget: Annotated[float, typer.Option("--budget", help="For addressing all of them.")],
    task: Annotated[str, typer.Option("--task", help="Whose score says how likely an answer is.")] = "redemption",
    as_of: AsOf = "",
    as_json: Json = False,
) -> object:
    """Choose whom to address for a budget: propensity x value, with the answers to expect."""
    from serving.audiences import shown  # noqa: PLC0415
    from serving.audiences.plan import known_spread  # noqa: PLC0415
    from serving.audiences.plan import plan as planned  # noqa: PLC0415

    opened = _opened(as_of)
    spread = known_spread(opened.settings, task)
    if spread is None:
        note(
            "How campaigns differ is not known, so the intervals are too narrow: "
            f"run `portrait models lift {task} --by COLUMN`."
        )
    found = planned(opened, selection, task=task, value=value, cost=cost, budget=budget, spread=spread or 0.0)
    emit(found, as_json, shown.show_plan)
    return found


@audience.command(epilog=example("portrait audience exports"))
def exports(*, as_json: Json = False) -> object:
    """List what was handed out."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from serving.audiences import shown  # noqa: PLC0415
    from serving.audiences.exported import all_exports  # noqa: PLC0415

    found = {"exports": all_exports(load_settings())}
    emit(found, as_json, lambda each: shown.show_exports(each["exports"]))
    return found


@audience.command(epilog=example("portrait audience report spring", "portrait audience report spring --days 14 --json"))
def report(
    name: Annotated[str, typer.Argument(metavar="EXPORT", help="Its id, or its campaign: the latest export of it.")],
    *,
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="How long what happens counts.")] = 28,
    coupons_of: Annotated[str, typer.Option("--coupons-of", metavar="ID", help="A campaign of the log.")] = "",
    as_json: Json = False,
) -> object:
    """Compare who was addressed with who was held out: what came of it, from the log."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from serving.audiences import shown  # noqa: PLC0415
    from serving.audiences.exported import find_export  # noqa: PLC0415
    from serving.audiences.results import results_of  # noqa: PLC0415

    settings = load_settings()
    found = results_of(settings, find_export(settings, name), SystemClock(), days=days, coupons_of=coupons_of)
    emit(found, as_json, shown.show_results)
    return found


def _opened(as_of: str) -> Audiences:
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from serving.audiences.audiences import Audiences  # noqa: PLC0415
    from serving.audiences.snapshots import read_instant  # noqa: PLC0415

    settings = load_settings()
    until = read_instant(as_of, settings, SystemClock()) if as_of else None
    with progress("Indexing the snapshot") as step:
        return Audiences(settings, until, step)
