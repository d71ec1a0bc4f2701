"""`portrait audience`: how many, who they are, whom to address.

This module is imported for every ``portrait --help``, so what a command needs is imported in its body.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.core.console import Json, command_group, emit, example, note, progress, table

if TYPE_CHECKING:
    from serving.audiences.audiences import Audiences, Estimate, Overlap
    from serving.audiences.insight import Insight
    from serving.audiences.recount import Recounts
    from serving.audiences.saved import Saved

audience = command_group("audience", "Groups of shoppers: how many, what sets them apart, whom to address.")

Selection = Annotated[
    str,
    typer.Argument(
        metavar="AUDIENCE",
        show_default=False,
        help="A selection such as \"churn_risk = 'high' and amount_sum_84d > 100\", or @NAME of a saved one.",
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
    found = _opened(as_of).estimate(selection)
    emit(found, as_json, _render_estimate)
    return found


@audience.command(epilog=example("portrait audience overlap @lapsing \"coupon_affinity = 'strong'\""))
def overlap(
    selections: Annotated[list[str], typer.Argument(metavar="AUDIENCE...", help="Two or more.", show_default=False)],
    *,
    as_of: AsOf = "",
    as_json: Json = False,
) -> object:
    """Compare audiences: how many are in two of them, in all, in any."""
    found = _opened(as_of).overlap(selections)
    emit(found, as_json, _render_overlap)
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
    from serving.audiences.insight import insight as compared  # noqa: PLC0415

    found = compared(_opened(as_of), selection)
    if html:
        from pathlib import Path  # noqa: PLC0415

        from serving.audiences.page import write_page  # noqa: PLC0415

        write_page(found, Path(html))
        note(f"Written to {html}.")
    emit(found, as_json, lambda each: _render_insight(each, every=every))
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
    from serving.audiences import saved  # noqa: PLC0415
    from serving.audiences.recount import count  # noqa: PLC0415

    opened, clock = _opened(""), SystemClock()
    found = opened.estimate(selection)
    made = saved.save(opened.settings, clock, name, found.selection, because)
    count(opened, clock, made)
    made = saved.find_saved(opened.settings, name)
    emit(made, as_json, lambda each: _render_saved([each]))
    return made


@audience.command("list", epilog=example("portrait audience list", "portrait audience list --json"))
def list_saved(*, as_json: Json = False) -> object:
    """List the saved audiences, their versions and how many belonged to them."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from serving.audiences.saved import all_saved  # noqa: PLC0415

    found = {"audiences": all_saved(load_settings())}
    emit(found, as_json, lambda each: _render_saved(each["audiences"]))
    return found


@audience.command(epilog=example("portrait audience refresh"))
def refresh(*, as_json: Json = False) -> object:
    """Count every saved audience on the latest snapshot."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from serving.audiences.recount import recount  # noqa: PLC0415

    found = recount(load_settings(), SystemClock())
    emit(found, as_json, _render_recounts)
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


def _render_estimate(found: Estimate) -> None:
    sys.stdout.write(
        f"{found.size:,} of {found.everyone:,} shoppers ({found.share:.1%}), as of {found.as_of:%Y-%m-%d %H:%M} UTC; "
        f"of {found.unknown:,} it is not known\n"
    )
    for line in found.notes:
        note(line)


def _render_overlap(found: Overlap) -> None:
    table(("audience", "shoppers"), [(name, f"{size:,}") for name, size in found.sizes.items()])
    sys.stdout.write("\n")
    rows = [
        (f"{each.left}  and  {each.right}", f"{each.both:,}", f"{each.share_of_left:.1%}", f"{each.share_of_right:.1%}")
        for each in found.pairs
    ]
    table(("in both", "shoppers", "of the first", "of the second"), rows)
    sys.stdout.write(f"\n{found.in_all:,} in all, {found.in_any:,} in any, as of {found.as_of:%Y-%m-%d %H:%M} UTC\n")


def _render_insight(found: Insight, *, every: bool) -> None:
    from serving.audiences.words import said, spoken  # noqa: PLC0415

    sys.stdout.write(
        f"{found.size:,} of {found.everyone:,} shoppers, as of {found.as_of:%Y-%m-%d %H:%M} UTC; TGI 100 is as often "
        "as among everybody, * marks what the audience is selected by\n\n"
    )
    shown = [each for each in found.traits if every or each.significant or each.asked]
    rows = [
        (
            spoken(each.tag) + (" *" if each.asked else ""),
            said(each.value),
            f"{each.index:.0f}",
            f"{each.share:.1%}",
            f"{each.share_of_everyone:.1%}",
            "" if math.isnan(each.adjusted) else f"{each.adjusted:.2g}",
        )
        for each in shown
    ]
    if rows:
        table(("tag", "value", "TGI", "audience", "everybody", "adjusted p"), rows)
    else:
        sys.stdout.write("Nothing sets it apart beyond chance.\n")
    if len(shown) < len(found.traits):
        sys.stdout.write(f"\n{len(found.traits) - len(shown)} more values may be chance (--all lists them)\n")


def _render_saved(found: list[Saved]) -> None:
    rows = []
    for each in found:
        last = each.sizes[-1] if each.sizes else None
        counted = ("", "") if last is None else (f"{last.size:,}", f"{last.as_of:%Y-%m-%d %H:%M}")
        rows.append((each.name, each.current.version, *counted, each.current.selection, each.current.description))
    table(("audience", "version", "shoppers", "as of", "selection", "for"), rows)


def _render_recounts(found: Recounts) -> None:
    rows = [
        (
            each.name,
            each.version,
            "" if each.size is None else f"{each.size:,}",
            "" if each.size is None or each.before is None else f"{each.size - each.before:+,}",
            each.why,
        )
        for each in found.audiences
    ]
    table(("audience", "version", "shoppers", "since before", "why not"), rows)
