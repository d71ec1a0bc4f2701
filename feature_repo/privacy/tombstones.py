"""Who was erased, without saying so: a second keyed hash of the pseudonym, kept so that nothing brings a person back.

The file alone names nobody and cannot be joined with the log: its key is another than that of the pseudonyms.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.core.errors import SettingsError
from feature_repo.core.locks import locked

_KEY_BYTES = 32
_HASH_BYTES = 16
_LINE = re.compile(rb"[0-9a-f]{32}")
_USER_ID = "user_id"


class _Seen(NamedTuple):
    """The file as it was read: an append changes its size, another file its inode."""

    inode: int
    size: int


class Tombstones:
    """The erased people of a home.

    Every process holds its own; what another adds is seen by the next question. Asking costs a ``stat`` while nobody is
    erased, and a hash per distinct shopper after that.

    Parameters
    ----------
    home
        Directory of the installation. Nothing is written before the first person is erased.
    """

    def __init__(self, home: Path) -> None:
        self.path = tombstones_path(home)
        self._key_path = home / "keys" / "tombstones.key"
        self._lock = self.path.with_name("tombstones.lock")
        self._seen: _Seen | None = None
        self._hashes: frozenset[bytes] = frozenset()
        self._keyed: hashlib.blake2b | None = None

    @property
    def count(self) -> int:
        """How many people were erased. It only grows."""
        return len(self._held())

    @property
    def changed_at(self) -> int | None:
        """When somebody was erased last (us); None if nobody was."""
        try:
            return self.path.stat().st_mtime_ns // 1_000
        except FileNotFoundError:
            return None

    def holds(self, pseudonym: str) -> bool:
        """Whether a person was erased.

        Raises
        ------
        SettingsError
            The file or its key cannot be read; nobody can be told from an erased person then.
        """
        held = self._held()
        return bool(held) and self.hash(pseudonym) in held

    def standing(self, user_ids: pa.ChunkedArray | pa.Array) -> pa.Array:
        """Tell which rows are not those of erased people.

        Parameters
        ----------
        user_ids
            Pseudonyms; NULL for a row about nobody, which stands.

        Returns
        -------
        pyarrow.Array
            ``bool[n]`` without NULLs.

        Raises
        ------
        SettingsError
            As :meth:`holds`.
        """
        held = self._held()
        if not held or not len(user_ids):
            return pa.array(np.ones(len(user_ids), bool))
        whole = user_ids.combine_chunks() if isinstance(user_ids, pa.ChunkedArray) else user_ids
        encoded = pc.dictionary_encode(whole)
        stand = pa.array([self.hash(each) not in held for each in encoded.dictionary.to_pylist()], pa.bool_())
        return pc.fill_null(stand.take(encoded.indices), True)

    def standing_rows(self, rows: pa.Table) -> pa.Table:
        """Return a table's rows without those of erased people: the table itself where there are none."""
        if _USER_ID not in rows.column_names or not self._held():
            return rows
        mask = self.standing(rows[_USER_ID])
        return rows if pc.all(mask).as_py() in {True, None} else rows.filter(mask)

    def add(self, pseudonym: str) -> bool:
        """Record that a person is erased; return whether that is new. It is on the disk when this returns.

        Raises
        ------
        SettingsError
            The file or its key cannot be read or written.
        """
        try:
            with locked(self._lock):
                self._create_key()
                if self.holds(pseudonym):
                    return False
                self._append(self.hash(pseudonym) + b"\n")
        except OSError as error:
            raise self._unusable(error) from None
        return True

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Nobody is erased until the end of the block: for who lists shoppers where an erasure looks for them.

        Raises
        ------
        SettingsError
            The home cannot be written.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self._lock))
            except OSError as error:
                raise self._unusable(error) from None
            yield

    def hash(self, pseudonym: str) -> bytes:
        """Return what stands for a person here: 32 hex digits.

        Raises
        ------
        SettingsError
            There is no key.
        """
        if self._keyed is None:
            self._keyed = hashlib.blake2b(self._key(), digest_size=_HASH_BYTES)
        keyed = self._keyed.copy()
        keyed.update(pseudonym.encode("utf-8", "surrogatepass"))
        return keyed.hexdigest().encode()

    def _held(self) -> frozenset[bytes]:
        try:
            facts = self.path.stat()
        except FileNotFoundError:
            return frozenset()
        seen = _Seen(facts.st_ino, facts.st_size)
        if seen != self._seen:
            try:
                raw = self.path.read_bytes()
            except OSError as error:
                raise self._unusable(error) from None
            # A line that a crash cut short was not promised to anyone.
            self._hashes = frozenset(line for line in raw.split(b"\n") if _LINE.fullmatch(line))
            self._seen = seen
        return self._hashes

    def _append(self, line: bytes) -> None:
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "r+b") as file:
            end = file.seek(0, os.SEEK_END)
            torn = bool(end) and os.pread(handle, 1, end - 1) != b"\n"
            file.write(b"\n" + line if torn else line)
            file.flush()
            os.fsync(handle)
        _sync_directory(self.path.parent)

    def _create_key(self) -> None:
        if self._key_path.exists() or self._held():
            return  # a new key would not know the people erased under the lost one: `_key` says so
        self._key_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._key_path.with_name(f".{self._key_path.name}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self._key_path)
        _sync_directory(self._key_path.parent)

    def _key(self) -> bytes:
        try:
            key = self._key_path.read_bytes()
        except OSError as error:
            raise self._unusable(error) from None
        if len(key) != _KEY_BYTES:
            raise SettingsError(f"The key {self._key_path} has {len(key)} bytes, not {_KEY_BYTES}.", hint=_RESTORE)
        return key

    def _unusable(self, error: OSError) -> SettingsError:
        where = error.filename or self.path
        return SettingsError(f"{where}, which says who was erased, cannot be used: {error.strerror}.", hint=_RESTORE)


_RESTORE = "restore keys/ and privacy/ of the home from a backup: without both, erased people could come back."


def tombstones_path(home: Path) -> Path:
    """Where a home keeps who was erased."""
    return home / "privacy" / "tombstones"


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
