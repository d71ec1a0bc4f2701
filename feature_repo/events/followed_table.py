"""The head of a local table, known from the entries that its writers leave, without replaying them for each look.

`deltalake` takes 15 to 80 ms to catch up with a compaction. An entry that adds and removes files and says how far a
stream was read is read here in one; after anything else, or where an entry was cleaned up, the table is loaded anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from feature_repo.core.errors import LogError
from feature_repo.events.delta_entry import entry_path, is_plain
from feature_repo.events.log import LOG_VERSION, Snapshot, snapshot_of
from feature_repo.events.table_head import load_table

# Beyond so many entries, the last checkpoint is the shorter way.
_MOST_ENTRIES = 500
_FOLLOWED = frozenset({"commitInfo", "add", "remove", "txn"})


@dataclass
class _Changes:
    """What some entries did: files with their greatest ``log_version`` (None: not told), and app ids' positions."""

    added: dict[str, int | None] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    positions: dict[str, int] = field(default_factory=dict)


class _Unclear(Exception):  # noqa: N818 - no error of anybody's
    """The table has to be loaded."""


class FollowedTable:
    """A table that is looked at again and again. Threads may ask at the same time.

    Parameters
    ----------
    path
        Directory of the table.

    Raises
    ------
    LogError
        There is no table, or it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # What is asked of the head has to be of one head, though another thread catches up meanwhile.
        self._lock = RLock()
        self._table = load_table(path)
        self._take(self._table)

    @property
    def table_id(self) -> str:
        """Delta's id of the table; a recreated table has another."""
        return self._id

    @property
    def plain(self) -> bool:
        """Whether entries may be written to it without `deltalake`, as of the head that was looked at last."""
        return self._plain

    def head(self) -> int:
        """Newest version of the table; cheap enough to ask every few milliseconds."""
        known = version = self._version
        while entry_path(self.path, version + 1).exists():
            version += 1
        if version == known and not entry_path(self.path, version).exists():
            return int(load_table(self.path).version())  # its entry was cleaned up, perhaps newer ones with it
        return version

    def catch_up(self) -> None:
        """Get to know the head.

        Raises
        ------
        LogError
            The table is damaged, or was restored or made anew.
        """
        with self._lock:
            head = self.head()
            if head == self._version:
                return
            if head < self._version:
                raise self._made_anew(f"is at version {head}, and was at {self._version} before")
            try:
                self._apply(head, _changes(self.path, self._version, head, self._files))
            except _Unclear:
                self._load()

    def newer(self, above: int) -> Snapshot:
        """Return the head, with only those of its files that may hold rows with ``log_version > above``.

        Raises
        ------
        LogError
            The table is damaged, or was restored or made anew.
        """
        with self._lock:
            self.catch_up()
            # A file that does not tell may hold anything.
            files = [file for file, newest in self._files.items() if newest is None or newest > above]
            return Snapshot(str(self.path), self._id, self._version, tuple(sorted(files)), self._schema)

    def position(self, app_id: str) -> int | None:
        """How far an app id's stream had been read at the head that was looked at last."""
        with self._lock:
            if app_id not in self._positions:
                with self.loaded() as table:
                    self._positions[app_id] = table.transaction_version(app_id)
            return self._positions[app_id]

    def committed(self, version: int, file: Path, positions: Mapping[str, int]) -> None:
        """Take note of a version of one's own, whose rows are in one file."""
        with self._lock:
            if version == self._version + 1:
                self._apply(version, _Changes({str(file): version}, set(), dict(positions)))

    @contextmanager
    def loaded(self) -> Iterator[DeltaTable]:
        """The table as `deltalake` knows it, at its head, for what it alone can do.

        Raises
        ------
        LogError
            The table is damaged.
        """
        with self._lock:
            try:
                self._table.update_incremental()
            except (DeltaError, OSError, ValueError):
                self._table = load_table(self.path)  # entries it went by were cleaned up
            yield self._table

    def _load(self) -> None:
        table = load_table(self.path)
        if str(table.metadata().id) != self._id:
            raise self._made_anew("has another id than before")
        self._table = table
        self._take(table)

    def _take(self, table: DeltaTable) -> None:
        whole = snapshot_of(self.path, table)
        self._id, self._version, self._schema = whole.table_id, whole.version, whole.schema
        self._plain = is_plain(table)
        actions = pa.table(table.get_add_actions(flatten=True))
        told = f"max.{LOG_VERSION}" in actions.column_names
        newest = actions[f"max.{LOG_VERSION}"].to_pylist() if told else [None] * len(actions)
        places = [_place(self.path, name) for name in actions["path"].to_pylist()]
        self._files: dict[str, int | None] = dict(zip(places, newest, strict=True))
        self._positions: dict[str, int | None] = {}

    def _apply(self, version: int, changes: _Changes) -> None:
        for file in changes.removed:
            self._files.pop(file, None)
        self._files |= changes.added
        self._positions |= changes.positions
        self._version = version

    def _made_anew(self, what: str) -> LogError:
        return LogError(
            f"Table '{self.path.name}' of the event log {what}.",
            hint="it was restored or made anew: start the consumer again.",
        )


def _changes(path: Path, above: int, upto: int, held: Mapping[str, object]) -> _Changes:
    if upto - above > _MOST_ENTRIES:
        raise _Unclear
    changes = _Changes()
    try:
        for version in range(above + 1, upto + 1):
            for line in entry_path(path, version).read_text("utf-8").splitlines():
                _follow(path, json.loads(line), changes, held)
    except (OSError, ValueError, KeyError, TypeError):
        raise _Unclear from None
    return changes


def _follow(path: Path, action: dict[str, Any], changes: _Changes, held: Mapping[str, object]) -> None:
    if not action.keys() <= _FOLLOWED or action.get("add", {}).get("deletionVector"):
        raise _Unclear
    if add := action.get("add"):
        stats = json.loads(add.get("stats") or "{}")
        changes.added[_place(path, add["path"])] = stats.get("maxValues", {}).get(LOG_VERSION)
    if remove := action.get("remove"):
        file = _place(path, remove["path"])
        if file not in changes.added and file not in held:
            raise _Unclear  # known under another name, perhaps
        changes.added.pop(file, None)
        changes.removed.add(file)
    if txn := action.get("txn"):
        changes.positions[txn["appId"]] = int(txn["version"])


def _place(path: Path, name: str) -> str:
    """Where a file is whose name is in the transaction log, percent-encoded."""
    return name if "://" in name else str(path.absolute() / unquote(name))
