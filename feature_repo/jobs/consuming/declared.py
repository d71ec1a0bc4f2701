"""The declared views by name and table, without Feast where its registry has not changed.

To import Feast takes seconds, and whoever watches asks every few. So what the registry says is kept beside it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.core.settings import Settings
from feature_repo.core.stores import atomic_write

if TYPE_CHECKING:
    from feature_repo.jobs.consuming.views import Views


@dataclass(frozen=True)
class Declared:
    """One view on a table of the log.

    Attributes
    ----------
    name, table
        View and table.
    position
        Field of the project's state hash that says how far an ordinary view is written; empty for a windowed one,
        whose field follows from the state that is served.
    when_asked
        Whether nothing is amiss while it is not built.
    """

    name: str
    table: str
    position: str
    when_asked: bool = False


@dataclass(frozen=True)
class Declarations:
    """Views of a project, by name; none before the first ``portrait features apply``."""

    project: str
    views: tuple[Declared, ...]


def declarations(settings: Settings) -> Declarations:
    """Return what the registry of a home declares."""
    stamp = _stamp(settings.registry_path)
    if stamp is None:
        return Declarations("", ())
    path = settings.home / "run" / "views.json"
    kept = _kept(path, stamp)
    if kept is not None:
        return kept
    found = _from_registry(settings)
    with suppress(OSError):  # who may read a home and not write it waits for Feast every time
        path.parent.mkdir(mode=0o700, exist_ok=True)
        atomic_write(path, json.dumps({"stamp": stamp, **asdict(found)}), private=True)
    return found


def _stamp(path: Path) -> list[int] | None:
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return [facts.st_mtime_ns, facts.st_size]


def _kept(path: Path, stamp: list[int]) -> Declarations | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if found["stamp"] != stamp:
            return None
        return Declarations(found["project"], tuple(Declared(**each) for each in found["views"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _from_registry(settings: Settings) -> Declarations:
    from feature_repo.jobs.consuming.views import Views  # noqa: PLC0415

    views = Views(settings)
    views.refresh()
    return Declarations(views.project, tuple(sorted(_declared(views), key=lambda each: each.name)))


def _declared(views: Views) -> list[Declared]:
    from feature_repo.engine.positions import rows_hash  # noqa: PLC0415

    windowed = [
        Declared(view.name, table, "", when_asked=view.name in views.when_asked)
        for table, found in views.fed.windowed.items()
        for view in found
    ]
    ordinary = [
        Declared(view.name, table, f"at:{view.name}:{rows_hash(view)}:0")
        for table, found in views.fed.ordinary.items()
        for view in found
    ]
    return windowed + ordinary
