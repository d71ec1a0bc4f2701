"""Opens a table of the log, and says what is wrong with one that cannot be opened.

On its own, so that who only asks how a table is does not wait for all that reads and writes it to be imported.
"""

from __future__ import annotations

from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from feature_repo.core.errors import LogError


def load_table(path: str | Path, version: int | None = None) -> DeltaTable:
    """Open a table's head, or a version of it.

    Raises
    ------
    LogError
        There is no table at ``path``, or its transaction log is damaged.
    """
    try:
        return DeltaTable(str(path), version=version)
    except TableNotFoundError:
        raise LogError(
            f"The event log has no table '{Path(path).name}' ({path}).",
            hint="run `portrait features apply` to create the tables, then import events (`portrait events demo`).",
        ) from None
    except (DeltaError, OSError, ValueError) as error:
        raise LogError(
            f"Table '{Path(path).name}' of the event log cannot be read: {first_line(error)}", hint=restore_hint(path)
        ) from None


def head_of_table(path: str | Path) -> tuple[str, int] | None:
    """Return a table's id and version; None if it cannot be told."""
    try:
        table = load_table(path)
    except LogError:
        return None
    return str(table.metadata().id), int(table.version())


def first_line(error: Exception) -> str:
    """What an error says, without what is behind it."""
    # delta-rs puts a Rust backtrace behind it.
    return (str(error).splitlines() or [type(error).__name__])[0]


def restore_hint(path: str | Path) -> str:
    """Say what can be done about a damaged table."""
    return f"restore {path} from a backup, or move it away and import its events again."
