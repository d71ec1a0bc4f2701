"""What packages contribute by entry points.

Commands (``portrait.commands``), benches (``portrait.benches``), which tasks a log supports (``portrait.support``),
places that a person has to be erased from (``portrait.erasure``), files that were handed out to others
(``portrait.handed_out``), and what a refresh does after the models (``portrait.refresh``).
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def contributions(group: str) -> list[EntryPoint]:
    """Entry points of the installed packages; a checkout's own are read from its pyproject.toml, installed or not."""
    declared = {
        name: EntryPoint(name, value, group)
        for name, value in _project().get("entry-points", {}).get(group, {}).items()
    }
    found = {entry.name: entry for entry in entry_points(group=group)}
    return list((declared | {name: entry for name, entry in found.items() if name not in declared}).values())


def declared_version() -> str | None:
    """Version of the checkout; None for an installed wheel."""
    found = _project().get("version")
    return None if found is None else str(found)


@cache
def _project() -> dict[str, Any]:
    if not CHECKOUT.is_file():
        return {}
    import tomllib  # noqa: PLC0415 - only a checkout needs it

    project: dict[str, Any] = tomllib.loads(CHECKOUT.read_text("utf-8")).get("project", {})
    return project
