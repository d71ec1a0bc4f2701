"""What an erasure has yet to do, written down before the log forgets it, so that a killed one can be finished."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from feature_repo.core.stores import atomic_write
from feature_repo.privacy.tombstones import tombstones_path


class Notes:
    """Entities whose state was made of a person's events too, by view.

    The file is named after the tombstone and holds no shopper's id. It is gone when the erasure is done.

    Parameters
    ----------
    home
        Directory of the installation.
    tombstone
        What stands for the person, see ``Tombstones.hash``.
    """

    def __init__(self, home: Path, tombstone: bytes) -> None:
        self._path = tombstones_path(home).with_name("unfinished") / f"{tombstone.decode()}.json"
        self._touched: dict[str, set[str]] = {}
        if self._path.is_file():
            self._touched = {view: set(keys) for view, keys in json.loads(self._path.read_text("utf-8")).items()}

    @property
    def touched(self) -> Mapping[str, list[bytes]]:
        """View -> Redis keys of its entities, sorted."""
        return {view: sorted(map(bytes.fromhex, keys)) for view, keys in sorted(self._touched.items())}

    def add(self, view: str, keys: Iterable[bytes], *, kept: bool = True) -> None:
        """Note entities of a view; if they are to be ``kept``, they are on the disk when this returns."""
        held = self._touched.setdefault(view, set())
        new = {key.hex() for key in keys} - held
        if new:
            held |= new
        if new and kept:
            atomic_write(self._path, json.dumps({name: sorted(keys) for name, keys in self._touched.items()}))

    def finish(self) -> None:
        """Forget all: nothing is left to do."""
        self._path.unlink(missing_ok=True)
