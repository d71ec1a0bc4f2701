"""The command that erases a person. It joins the group ``jobs`` of :mod:`feature_repo.jobs.cli`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.core.console import Json, emit, example, progress, table
from feature_repo.jobs.cli import jobs

if TYPE_CHECKING:
    from feature_repo.jobs.erase import EraseReport

__all__ = ["jobs"]

User = Annotated[str, typer.Argument(metavar="USER", help="Raw id or pseudonym of a shopper.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and write nothing.")]
Wait = Annotated[float, typer.Option("--wait", min=0.0, help="Seconds that consumers, and Redis, are waited for.")]


@jobs.command("erase", epilog=example("portrait jobs erase 2375 --dry-run", "portrait jobs erase 2375 --json"))
def jobs_erase(user: User, *, dry_run: DryRun = False, wait: Wait = 60.0, as_json: Json = False) -> object:
    """Remove a person everywhere and for good, and prove it; exit 1 if anything is left. Twice is once."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.errors import CheckFailedError  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.jobs.erase import erase  # noqa: PLC0415

    with progress("Erasing") as step:
        report = erase(load_settings(), SystemClock(), user, dry_run=dry_run, wait_s=wait, progress=step)
    emit(report, as_json, _render)
    if report.found:
        raise CheckFailedError(
            f"{report.found} places still name the person: {', '.join(report.places[:5])}.",
            hint="if a job was writing there, run the command again; else remove what is there, and run it again.",
        )
    return report


def _nothing(report: EraseReport) -> str:
    if report.erased_before:
        return "Nothing of this person was here; they were erased before."
    kept_out = "would be kept" if report.dry_run else "are kept"
    return f"Nothing of this person was here: is the id right? Events of this id {kept_out} out from now on."


def _render(report: EraseReport) -> None:
    if report.dry_run:
        sys.stdout.write("A rehearsal: nothing was removed.\n\n")
    counts = [*((f"table {name}", rows) for name, rows in report.rows.items()), ("keys of Redis", report.keys)]
    others = f"states of others, folded anew{', at most' if report.dry_run else ''}"
    counts += [("queued events", report.queued), (others, report.refolded)]
    counts += [(name.replace("_", " "), rows) for name, rows in report.elsewhere.items()]
    table(["what", "removed"], [(what, f"{count:,}") for what, count in counts])
    if not any(count for _, count in counts):
        sys.stdout.write(f"\n{_nothing(report)}\n")
    for path in report.handed_out:
        sys.stdout.write(f"\nHanded out with the person in it: {path}. Whoever has that file has to be told.")
    if report.handed_out:
        sys.stdout.write("\n")
    if not report.dry_run:
        sys.stdout.write(
            f"\n{report.files_scanned:,} files and {report.keys_scanned:,} keys looked through (raw id: "
            f"{report.raw_id}): {report.found or 'nothing'} found, {report.seconds:.1f} s\n"
        )
