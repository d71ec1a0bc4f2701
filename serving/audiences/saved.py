"""Audiences that were given a name: their versions, and how many belonged to each, snapshot by snapshot.

``<home>/audiences/saved/<name>.json`` holds definitions and counts, and nobody's id. A version never changes: another
selection under the same name is the next one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from feature_repo.core.clock import Clock, from_us
from feature_repo.core.console import to_json
from feature_repo.core.errors import DataError, did_you_mean
from feature_repo.core.locks import locked
from feature_repo.core.settings import Settings
from feature_repo.core.stores import atomic_write
from serving.audiences.parsing import parse
from serving.audiences.saved_files import saved_root

SIGN = "@"
NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Size:
    """How many belonged to a version as of a snapshot, of how many, and when that was counted."""

    version: int
    as_of: datetime
    size: int
    everyone: int
    counted_at: datetime


@dataclass(frozen=True)
class Version:
    """What an audience selects, since when, and why."""

    version: int
    selection: str
    saved_at: datetime
    description: str


@dataclass(frozen=True)
class Saved:
    """An audience with a name.

    Attributes
    ----------
    versions
        The oldest first; the last one is meant by the name.
    sizes
        In the order they were counted.
    """

    name: str
    versions: tuple[Version, ...]
    sizes: tuple[Size, ...] = ()

    @property
    def current(self) -> Version:
        """The version that the name means."""
        return self.versions[-1]

    def size(self, as_of: datetime) -> Size | None:
        """How many belonged to the current version as of a snapshot, as far as it was counted last."""
        found = [each for each in self.sizes if (each.version, each.as_of) == (self.current.version, as_of)]
        return found[-1] if found else None


def save(settings: Settings, clock: Clock, name: str, selection: str, description: str = "") -> Saved:
    """Give a selection a name; another selection than the name had is its next version.

    Raises
    ------
    DataError
        The name is none, or the text no selection.
    SettingsError
        The home cannot be written.
    """
    if not NAME.fullmatch(name):
        raise DataError(
            f"An audience cannot be called {name!r}.", hint="use small letters, digits, - and _, a letter first."
        )
    parse(selection)
    with _turn(settings):
        path = _path(settings, name)
        found = _read(path) if path.exists() else Saved(name, ())
        same = found.versions and (found.current.selection, found.current.description) == (selection, description)
        if same:
            return found
        version = Version(len(found.versions) + 1, selection, from_us(clock.now_us()), description)
        return _write(path, replace(found, versions=(*found.versions, version)))


def note_size(settings: Settings, name: str, size: Size) -> Saved:
    """Remember how many belong to a version; what was counted of the same version and snapshot before gives way."""
    with _turn(settings):
        path = _path(settings, name)
        found = _read(path)
        others = [each for each in found.sizes if (each.version, each.as_of) != (size.version, size.as_of)]
        return _write(path, replace(found, sizes=(*others, size)))


def all_saved(settings: Settings) -> list[Saved]:
    """Return all of them, by name.

    Raises
    ------
    DataError
        A file is damaged.
    """
    return [_read(path) for path in sorted(saved_root(settings).glob("*.json"))]


def definition(settings: Settings, name: str) -> Version:
    """Return what a name means now.

    Raises
    ------
    DataError
        There is no such audience, or its file is damaged.
    """
    return find_saved(settings, name).current


def find_saved(settings: Settings, name: str) -> Saved:
    """Return an audience by its name.

    Raises
    ------
    DataError
        There is no such audience, or its file is damaged.
    """
    path = _path(settings, name)
    if not NAME.fullmatch(name) or not path.exists():
        known = [each.stem for each in saved_root(settings).glob("*.json")]
        hint = did_you_mean(name, known) if known else "`portrait audience save NAME SELECTION` saves one."
        raise DataError(f"There is no audience '{name}'.", hint=hint)
    return _read(path)


def _path(settings: Settings, name: str) -> Path:
    return saved_root(settings) / f"{name}.json"


def _turn(settings: Settings) -> AbstractContextManager[None]:
    return locked(settings.home / "run" / "audiences.lock")


def _write(path: Path, saved: Saved) -> Saved:
    atomic_write(path, to_json(saved), private=True)
    return saved


def _read(path: Path) -> Saved:
    try:
        said = json.loads(path.read_text("utf-8"))
        versions = tuple(Version(**_timed(each, "saved_at")) for each in said["versions"])
        return Saved(
            said["name"], versions, tuple(Size(**_timed(each, "as_of", "counted_at")) for each in said["sizes"])
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"The audience in {path.name} cannot be read: {type(error).__name__}.",
            hint=f"restore {path} from a backup, or remove it and save the audience anew.",
        ) from None


def _timed(said: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {**said, **{name: datetime.fromisoformat(said[name]) for name in names}}
