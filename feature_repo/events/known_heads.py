"""Heads of local tables as they were read last: a table nobody committed to is not replayed for each question."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from feature_repo.events.delta_entry import entry_path

T = TypeVar("T")

_MOST_TABLES = 64


@dataclass(frozen=True)
class _Entry:
    """The entry of the log that made a version: a table restored or made anew has another in its place."""

    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> _Entry | None:
        try:
            facts = path.stat()
        except OSError:
            return None
        return cls(facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


class KnownHeads(Generic[T]):
    """What was read of tables at their heads. Threads may ask at the same time.

    A head is known as long as its entry of the log is there unchanged, and none is behind it. What else may have
    happened to the table, such as damage to older entries, is of no concern to who has read it.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[int, _Entry, T]] = OrderedDict()

    def get(self, path: str | Path) -> T | None:
        """Return what was read of a table; None if it is not known, or has another head by now."""
        known = self._known.get(str(path))
        if known is None:
            return None
        version, entry, head = known
        table = Path(path)
        # In this order: a table that is made anew in between has another entry.
        if entry_path(table, version + 1).exists() or _Entry.of(entry_path(table, version)) != entry:
            return None
        return head

    def put(self, path: str | Path, version: int, head: T) -> None:
        """Remember a head, unless the table is not local, or the head's entry was cleaned up."""
        entry = _Entry.of(entry_path(Path(path), version))
        if entry is None:
            return
        self._known[str(path)] = (version, entry, head)
        while len(self._known) > _MOST_TABLES:
            self._known.popitem(last=False)
