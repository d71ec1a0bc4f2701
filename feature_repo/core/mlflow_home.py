"""MLflow's database below the home, kept true to where the home is.

MLflow writes where artifacts are as absolute addresses. In a home that was moved, or in a copy of one, they would lead
to the old place: models could not be read, or the original's would be read and written. So whoever opens the database
of a home brings its addresses here first. A database that ``MLFLOW_TRACKING_URI`` names is its operator's own.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from feature_repo.core.clock import SystemClock, from_us
from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.locks import locked
from feature_repo.core.settings import Settings

MOVED = "moved.jsonl"
TIMEOUT_S = 30.0

_ARTIFACTS = ("mlflow", "artifacts")
# Everywhere MLflow 3 keeps an address of artifacts that it reads or writes by.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


@contextmanager
def mlflow_lock(settings: Settings) -> Iterator[None]:
    """Hold the home's MLflow database against other processes that would create or rewrite it."""
    with locked(settings.home / "mlflow" / "lock"):
        yield


def artifact_root(settings: Settings) -> Path:
    """Return the directory below which each experiment of the home has its artifacts, under its name."""
    return settings.home.joinpath(*_ARTIFACTS)


def settle(settings: Settings) -> None:
    """Bring the addresses in the home's MLflow database to where the home is now, if it was made elsewhere.

    Only addresses below the artifacts of the home of before are rewritten, all of them or none, and a line in
    ``<home>/mlflow/moved.jsonl`` says from where to where. Nothing happens where the old place is the same directory
    under another name, or where artifacts are still there and this home has none of them.

    Raises
    ------
    StoreUnavailableError
        The database is damaged, or has to be rewritten and cannot be.
    """
    database = settings.home / "mlflow" / "mlflow.db"
    if settings.mlflow_tracking_uri or not database.exists():
        return
    try:
        with closing(sqlite3.connect(database, timeout=TIMEOUT_S)) as connection:
            if not _old_roots(connection, settings):
                return
        with mlflow_lock(settings), closing(sqlite3.connect(database, timeout=TIMEOUT_S)) as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            for root in _old_roots(connection, settings):
                rewritten = sum(_rewrite(connection, *where, root, artifact_root(settings)) for where in _ADDRESSES)
                _note(settings, root, rewritten)  # before the commit: what happened can be undone
    except (sqlite3.Error, OSError) as error:
        raise StoreUnavailableError(
            f"MLflow's database {database} says where its artifacts are, and cannot be read or brought up to date: "
            f"{error}",
            hint="make the home writable; a damaged database is restored from a backup, or moved away with the "
            "artifacts beside it, and models trained again.",
        ) from None


def _old_roots(connection: sqlite3.Connection, settings: Settings) -> list[Path]:
    """Artifact directories of homes that this one was, by experiments that lie below them under their own name."""
    if not _has(connection, "experiments", "artifact_location"):
        return []  # it is being created
    here = artifact_root(settings)
    old: set[Path] = set()
    for name, address in connection.execute("SELECT name, artifact_location FROM experiments"):
        place = _local(address)
        if place is None or place.name != name or place.parts[-3:-1] != _ARTIFACTS:
            continue
        root = place.parent
        if root != here and (not os.path.exists(root) or _is_copied(root, here, name)):  # noqa: PTH110 - never raises
            old.add(root)
    return sorted(old)


def _is_copied(root: Path, here: Path, name: str) -> bool:
    ours, theirs = here / name, root / name
    return ours.is_dir() and not (theirs.exists() and ours.samefile(theirs))


def _rewrite(connection: sqlite3.Connection, table: str, column: str, old: Path, new: Path) -> int:
    if not _has(connection, table, column):
        return 0
    changed = 0
    for (address,) in connection.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall():
        place = _local(address)
        if place is not None and place.is_relative_to(old):
            moved = new / place.relative_to(old)
            written = moved.as_uri() if urlsplit(address).scheme else str(moved)
            done = connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (written, address))
            changed += done.rowcount
    return changed


def _local(address: str | None) -> Path | None:
    """Return the absolute path an address names; None for one of another store, or of a model by name."""
    parts = urlsplit(address or "")
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(address) if address and not parts.scheme and address.startswith("/") else None


def _has(connection: sqlite3.Connection, table: str, column: str) -> bool:
    return any(fact[1] == column for fact in connection.execute(f"PRAGMA table_info({table})"))


def _note(settings: Settings, old: Path, rows: int) -> None:
    at = from_us(SystemClock().now_us())
    line = {
        "at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "from": old.as_uri(),
        "to": artifact_root(settings).as_uri(),
        "rows": rows,
    }
    with (settings.home / "mlflow" / MOVED).open("a", encoding="utf-8") as notes:
        notes.write(json.dumps(line) + "\n")
