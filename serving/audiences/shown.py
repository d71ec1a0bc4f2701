"""How the commands of audiences print what they found, for people."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from feature_repo.core.console import note, table
from serving.audiences.audiences import Estimate, Overlap
from serving.audiences.exported import Export
from serving.audiences.insight import Insight
from serving.audiences.plan import Plan
from serving.audiences.recount import Recounts
from serving.audiences.results import Result, Results
from serving.audiences.saved import Saved
from serving.audiences.words import said, spoken


def show_estimate(found: Estimate) -> None:
    """Print how many belong to an audience."""
    sys.stdout.write(
        f"{found.size:,} of {found.everyone:,} shoppers ({found.share:.1%}), as of {found.as_of:%Y-%m-%d %H:%M} UTC; "
        f"of {found.unknown:,} it is not known\n"
    )
    for line in found.notes:
        note(line)


def show_overlap(found: Overlap) -> None:
    """Print how audiences overlap."""
    table(("audience", "shoppers"), [(name, f"{size:,}") for name, size in found.sizes.items()])
    sys.stdout.write("\n")
    rows = [
        (f"{each.left}  and  {each.right}", f"{each.both:,}", _share(each.share_of_left), _share(each.share_of_right))
        for each in found.pairs
    ]
    table(("in both", "shoppers", "of the first", "of the second"), rows)
    sys.stdout.write(f"\n{found.in_all:,} in all, {found.in_any:,} in any, as of {found.as_of:%Y-%m-%d %H:%M} UTC\n")


def _share(part: float) -> str:
    return "-" if math.isnan(part) else f"{part:.1%}"


def show_insight(found: Insight, *, every: bool) -> None:
    """Print what sets an audience apart; what may be chance only if everything is asked for."""
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


def show_saved(found: Sequence[Saved]) -> None:
    """Print saved audiences."""
    rows = []
    for each in found:
        last = each.sizes[-1] if each.sizes else None
        counted = ("", "") if last is None else (f"{last.size:,}", f"{last.as_of:%Y-%m-%d %H:%M}")
        rows.append((each.name, each.current.version, *counted, each.current.selection, each.current.description))
    table(("audience", "version", "shoppers", "as of", "selection", "for"), rows)


def show_recounts(found: Recounts) -> None:
    """Print what became of saved audiences."""
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


def show_export(found: Export) -> None:
    """Print what was handed out."""
    table(
        ("of the audience", "shoppers"),
        [
            ("belong to it", f"{found.members:,}"),
            (f"do not allow {found.purpose}", f"{found.not_permitted:,}"),
            ("are held out", f"{found.held_out:,}"),
            ("are in the file", f"{found.handed_out:,}"),
        ],
    )
    sys.stdout.write(f"\n{found.path}; what comes of it: portrait audience report {found.id}\n")


def show_plan(found: Plan) -> None:
    """Print whom to address, and what that may bring."""
    table(
        ("", "", "95 %"),
        [
            ("candidates", f"{found.candidates:,}", ""),
            ("to address", f"{found.addressed:,}", ""),
            ("cost", f"{found.cost:,.2f}", ""),
            (
                "answers expected",
                f"{found.answers.value:,.1f}",
                f"{found.answers.low:,.0f} to {found.answers.high:,.0f}",
            ),
            ("their value", f"{found.value.value:,.2f}", f"{found.value.low:,.2f} to {found.value.high:,.2f}"),
            ("answers of as many by chance", f"{found.by_chance:,.1f}", ""),
        ],
    )
    if found.addressed:
        sys.stdout.write(f"\nThey have score__{found.task} >= {found.least_score:.6g}.\n")
    sys.stdout.write(
        "Some would answer anyway: what addressing changes, only a holdout tells "
        "(portrait audience export --holdout).\n"
    )


def show_exports(found: Sequence[Export]) -> None:
    """Print what was handed out so far."""
    rows = [
        (each.id, f"{each.made_at:%Y-%m-%d %H:%M}", f"{each.handed_out:,}", f"{each.held_out:,}", each.selection)
        for each in found
    ]
    table(("export", "made", "handed out", "held out", "selection"), rows)


def show_results(found: Results) -> None:
    """Print what came of an export."""
    sys.stdout.write(
        f"{found.campaign}, {found.begin:%Y-%m-%d %H:%M} to {found.end:%Y-%m-%d %H:%M} UTC: {found.addressed:,} "
        f"addressed, {found.held_out:,} held out\n\n"
    )
    table(
        ("outcome", "addressed", "held out", "difference [95 %]", "p"),
        [(each.meaning, *_cells(each)) for each in found.results.values()],
    )
    sys.stdout.write(f"\n{found.verdict}\n")


def _cells(each: Result) -> tuple[str, str, str, str]:
    between = "" if math.isnan(each.low) else f"{each.difference:+,.4f} [{each.low:+,.4f}, {each.high:+,.4f}]"
    return _value(each.addressed), _value(each.held_out), between, _value(each.p_value)


def _value(value: float) -> str:
    return "" if math.isnan(value) else f"{value:,.4f}"
