"""Commands of unusual behaviour: `portrait unusual`. What a command needs is imported in its body."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from feature_repo.core.console import Json, command_group, example, table
from training.written.commands import At, IfChanged, Keep, Weeks, run_assign, run_fit, run_show

if TYPE_CHECKING:
    from training.unusual.shopper_model import UnusualFit, UnusualShow

unusual: typer.Typer = command_group("unusual", "Unusual behaviour of shoppers: a score, reasons, and the response.")


@unusual.command("fit", epilog=example("portrait unusual fit", "portrait unusual fit --json"))
def unusual_fit(*, at: At = None, keep: Keep = False, if_changed: IfChanged = False, as_json: Json = False) -> object:
    """Learn what is usual, measure on injected coupon abuse, register; exit 1 if the gate does not hold."""
    from training.unusual.shopper_model import UNUSUAL  # noqa: PLC0415

    return run_fit(UNUSUAL, _render_fit, at=at, keep=keep, if_changed=if_changed, as_json=as_json)


@unusual.command("assign", epilog=example("portrait unusual assign", "portrait unusual assign --weeks 12 --json"))
def unusual_assign(*, at: At = None, weeks: Weeks = 0, as_json: Json = False) -> object:
    """Write everybody's score, tier and reasons as rows of the view user_unusual, with history. Twice is once."""
    from training.unusual.shopper_model import UNUSUAL  # noqa: PLC0415

    return run_assign(UNUSUAL, _render, at=at, weeks=weeks, as_json=as_json)


@unusual.command("show", epilog=example("portrait unusual show", "portrait unusual show --at 2026-09-01 --json"))
def unusual_show(*, at: At = None, as_json: Json = False) -> object:
    """Show how many shoppers are in each tier, what it asks for, and which reasons apply."""
    from training.unusual.shopper_model import UNUSUAL  # noqa: PLC0415

    return run_show(UNUSUAL, _render, at=at, as_json=as_json)


def _render_fit(report: UnusualFit) -> None:
    lines = [[each.trial, each.kind, each.copies, f"{each.auc:.3f}", f"{each.watched:.0%}"] for each in report.noticed]
    table(["trial", "injected abuse", "copies", "AUC", "in a tier with a response"], lines)
    sys.stdout.write("\nInputs were chosen by the trial `choice`; the gate is about the other one.\n")
    held = [[gate, "ok" if holds else "FAILED"] for gate, holds in report.gates.items()]
    table(["gate", ""], held)
    sys.stdout.write(f"\n{report.watched:.1%} of {report.shoppers:,} real shoppers are in a tier with a response\n")


def _render(report: UnusualShow) -> None:
    lines = [[each.tier, each.zh, each.response, f"{each.size:,}", f"{each.share:.1%}"] for each in report.tiers]
    table(["tier", "", "response", "shoppers", "share"], lines)
    sys.stdout.write("\n")
    table(
        ["reason", "", "shoppers", "applies to"],
        [[each.reason, each.zh, f"{each.size:,}", each.says] for each in report.reasons],
    )
