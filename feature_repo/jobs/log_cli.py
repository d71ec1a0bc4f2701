"""Commands that bring a log of your own in, and say what it can be used for.

They join the groups ``events`` and ``features`` of :mod:`feature_repo.jobs.cli`; the entry points name this module.
What a command needs is imported in its body, as there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.core.console import Json, emit, example, note, progress, table
from feature_repo.jobs.cli import events, features

if TYPE_CHECKING:
    from feature_repo.events.importing.draft import Draft
    from feature_repo.events.importing.job import ImportReport
    from feature_repo.jobs.drafting import Drafted
    from feature_repo.jobs.support import SupportReport

__all__ = ["events", "features"]

Paths = Annotated[list[str], typer.Argument(metavar="PATH...", help="Files; a pattern in quotes, gzip and ZIP too.")]
OnePath = Annotated[str, typer.Argument(metavar="PATH", help="A file, or a pattern in quotes; its first file is read.")]
MappingFile = Annotated[
    Path, typer.Option("--mapping", help="YAML that says what its columns mean; `portrait events map` drafts it.")
]
MaxBad = Annotated[
    float, typer.Option("--max-bad", min=0.0, max=1.0, help="Share of bad rows above which nothing is imported.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read and check everything, and write nothing.")]
Out = Annotated[Path | None, typer.Option("--out", help="Write the draft here, unless there is such a file.")]
NewName = Annotated[str, typer.Argument(metavar="NAME", help="Of the view and of its file.", show_default=False)]
OfEvent = Annotated[str, typer.Option("--event", metavar="TYPE", help="The event type it reads, such as return.")]
AboutEntity = Annotated[str, typer.Option("--entity", metavar="NAME", help="What it is about: user, item, category.")]
NewFeatures = Annotated[
    list[str], typer.Option("--feature", metavar="F", help="count, or function:column; may be said several times.")
]
Windows = Annotated[str, typer.Option("--days", metavar="DAYS", help="Lengths of the windows, separated by commas.")]
Called = Annotated[
    str, typer.Option("--called", metavar="WORDS", help="One event, several, and in Chinese: 'return, returns, 退货'.")
]
Rehearse = Annotated[bool, typer.Option("--dry-run", help="Print the file, and write nothing.")]


@events.command(
    "import",
    epilog=example(
        "portrait events import 'orders/*.csv.gz' --mapping orders.yaml",
        "portrait events import clicks.jsonl --mapping clicks.yaml --max-bad 0.01 --json",
    ),
)
def events_import(
    paths: Paths, *, mapping: MappingFile, max_bad: MaxBad = 1.0, dry_run: DryRun = False, as_json: Json = False
) -> object:
    """Import a log of your own: CSV, TSV, tables with spaces, JSON lines, Parquet. Twice is once."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.errors import CheckFailedError  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.events.importing.job import import_events  # noqa: PLC0415
    from feature_repo.events.importing.mapping_file import load_mapping  # noqa: PLC0415

    rules = load_mapping(mapping)
    with progress("Importing") as step:
        report = import_events(
            load_settings(), SystemClock(), paths, rules, max_bad=max_bad, dry_run=dry_run, progress=step
        )
    emit(report, as_json, _render_import)
    if report.read and report.read == sum(report.quarantined.values()):
        raise CheckFailedError(
            "Not one row could be imported.",
            hint=f"the table of reasons says what to correct in {mapping}; --dry-run tries it without writing.",
        )
    return report


@events.command(
    "map", epilog=example("portrait events map orders.csv", "portrait events map clicks.jsonl --out m.yaml")
)
def events_map(path: OnePath, *, out: Out = None, as_json: Json = False) -> object:
    """Draft the mapping of a file from its first rows, to read and correct before importing."""
    from feature_repo.events.importing.draft import draft_mapping, write_draft  # noqa: PLC0415

    found = draft_mapping(path)
    if out is not None:
        write_draft(found, out)
        note(f"Written to {out}. Read it, correct it, then: portrait events import {path} --mapping {out} --dry-run")
    emit(found, as_json, lambda draft: _render_draft(draft, shown=out is None))
    return found


@features.command(
    "new",
    epilog=example(
        "portrait features new user_returns --event return --feature count --feature sum:amount --days 28,84",
        "portrait features new item_returns --event return --entity item --called 'return, returns, 退货' --dry-run",
    ),
)
def features_new(
    name: NewName,
    *,
    event: OfEvent,
    entity: AboutEntity = "user",
    feature: NewFeatures = ["count"],  # noqa: B006 - typer copies it
    days: Windows = "7,28,84",
    called: Called = "",
    dry_run: Rehearse = False,
    as_json: Json = False,
) -> object:
    """Draft a windowed view: a file below definitions/, listed in feature_definitions.py."""
    from feature_repo.jobs.drafting import draft_view, wished, write_draft  # noqa: PLC0415

    drafted = draft_view(wished(name, event=event, entity=entity, features=feature, days=days, called=called))
    if not dry_run:
        write_draft(drafted)
    emit(drafted, as_json, lambda found: _render_view(found, written=not dry_run))
    return drafted


def _render_view(drafted: Drafted, *, written: bool) -> None:
    sys.stdout.write(drafted.text)
    if not written:
        note(f"A rehearsal: nothing was written. Else it would be {drafted.path}.")
        return
    note(f"Written to {drafted.path}, and listed in feature_definitions.py. Read it, correct it, then:")
    note("  portrait features apply; portrait jobs materialize; portrait document")
    note(f"  portrait features describe {drafted.names[-1]}")
    note("A model reads it once a new version of a service in definitions/services.py holds it.")


@features.command("check", epilog=example("portrait features check", "portrait features check --json"))
def features_check(*, as_json: Json = False) -> object:
    """Say which views and tasks the log supports, and what the others lack."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.jobs.support import check_support  # noqa: PLC0415

    report = check_support(load_settings())
    emit(report, as_json, _render_support)
    return report


def _render_import(report: ImportReport) -> None:
    if report.dry_run:
        sys.stdout.write("A rehearsal: nothing was written.\n\n")
    else:
        table(["table", "rows"], [(name, f"{rows:,}") for name, rows in report.tables.items()])
        sys.stdout.write("\n")
    sys.stdout.write(
        f"{report.read:,} rows of {report.files} files read, {_became(report)}, "
        f"{sum(report.quarantined.values()):,} refused, {report.seconds:.1f} s\n"
    )
    if report.quarantined:
        sys.stdout.write("\n")
        rows = [(reason, f"{rows:,}", report.places.get(reason, "")) for reason, rows in report.quarantined.items()]
        table(["refused because of", "rows", "first"], rows)
    if report.rules:
        sys.stdout.write("\n")
        table(["rule of reading", "rows"], [(rule, f"{rows:,}") for rule, rows in report.rules.items()])


def _became(report: ImportReport) -> str:
    """Say what became of the rows that are not refused; of a rehearsal, how many can be read and are wanted."""
    left_out = f", {report.ignored:,} left out by their event type" if report.ignored else ""
    if report.dry_run:
        good = report.read - report.ignored - sum(report.quarantined.values())
        return f"{good:,} good (those the log knows already included){left_out}"
    derived = f", {report.derived:,} derived from them" if report.derived else ""
    erased = f", {report.erased:,} of people who were erased" if report.erased else ""
    expired = f", {report.expired:,} older than their type is kept" if report.expired else ""
    return f"{report.published:,} published{derived}, {report.duplicates:,} known already{erased}{left_out}{expired}"


def _render_draft(draft: Draft, *, shown: bool) -> None:
    if shown:
        sys.stdout.write(draft.mapping)


def _render_support(report: SupportReport) -> None:
    for kind, answers in (("view", report.views), ("task", report.tasks)):
        rows = [(each.name, "yes" if each.supported else "no", " ".join(each.reasons)) for each in answers]
        table([kind, "supported", "why not, or what is missing in it"], rows)
        sys.stdout.write("\n")
