"""The command `portrait document`.

This module is imported for every ``portrait --help``, so what the command needs is imported in its body.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from feature_repo.core.console import Json, command_group, emit, example
from feature_repo.core.errors import CheckFailedError

commands = command_group()

Check = Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if a file differs.")]


@dataclass(frozen=True)
class DocumentReport:
    """Which files differed from what the code says, by their path in the checkout."""

    changed: tuple[str, ...]


@commands.command(epilog=example("portrait document", "portrait document --check --json"))
def document(*, check: Check = False, as_json: Json = False) -> object:
    """Write the reference of the commands and the catalogue of features from the code; in a checkout."""
    from feature_repo.documents.written import REPO, changed_documents, write_documents  # noqa: PLC0415

    changed = changed_documents() if check else write_documents()
    report = DocumentReport(tuple(path.relative_to(REPO.parent).as_posix() for path in changed))
    emit(report, as_json, lambda found: _render(found, check=check))
    if check and report.changed:
        raise CheckFailedError(f"{', '.join(report.changed)} differ from the code.", hint="run `portrait document`.")
    return report


def _render(report: DocumentReport, *, check: bool) -> None:
    for name in report.changed:
        sys.stdout.write(f"{'differs' if check else 'written'}: {name}\n")
    if not report.changed:
        sys.stdout.write("Both files say what the code says.\n")
