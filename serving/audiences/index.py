"""The index of a snapshot: its columns as sets of people, on the disk, and mapped into memory column by column.

It is a folder below ``<home>/audiences/index`` named after what it was made of: the snapshot's file, and how many
people were erased since. So it is never out of date; it is made when it is first asked for, and appears whole. It
holds numbers of people, no ids: who they are, only the snapshot says.

``columns.json`` says where what is; ``sets`` are the bitmaps in Roaring's portable format, one behind the other;
``<n>.values.npy`` and ``<n>.people.npy`` are the sorted columns.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyroaring import BitMap

from feature_repo.core.console import Step
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from feature_repo.privacy.tombstones import Tombstones
from serving.audiences.columns import Column, Numbers, Tags, column_of, people_of
from serving.audiences.index_files import index_root
from serving.audiences.snapshots import Snapshot

USER_ID = "user_id"
FORMAT = 1
_HEAD, _SETS = "columns.json", "sets"


@dataclass(frozen=True)
class Index:
    """The columns of a snapshot; each is read when it is first asked for.

    Attributes
    ----------
    snapshot
        What it was made of.
    folder
        Where it is.
    """

    snapshot: Snapshot
    folder: Path

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in the snapshot's order."""
        return tuple(self._head["columns"])

    @property
    def left_out(self) -> Mapping[str, str]:
        """Columns nobody can select by, with their type."""
        return dict(self._head["left_out"])

    @property
    def file(self) -> tuple[int, int]:
        """Size and time (ns) of the file it was made of: in another one, people have other places."""
        size, changed = self._head["file"]
        return size, changed

    @cached_property
    def everyone(self) -> BitMap:
        """All people of the snapshot but those who were erased since."""
        return self._set(*self._head["everyone"])

    def column(self, name: str) -> Column:
        """Return a column by its full name.

        Raises
        ------
        DataError
            Somebody was erased, or the snapshot replaced, since the index was opened.
        """
        if name not in self._columns:
            said = self._head["columns"][name]
            try:
                self._columns[name] = self._numbers(said) if said["kind"] == "number" else self._tags(said)
            except FileNotFoundError:
                raise DataError(
                    f"The snapshot {self.snapshot.name} has changed meanwhile.", hint="ask once more."
                ) from None
        return self._columns[name]

    def is_tag(self, name: str) -> bool:
        """Whether a column holds texts or yes and no."""
        return bool(self._head["columns"][name]["kind"] != "number")

    @cached_property
    def _columns(self) -> dict[str, Column]:
        return {}

    @cached_property
    def _head(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / _HEAD).read_text("utf-8")))

    @cached_property
    def _sets(self) -> memoryview:
        with (self.folder / _SETS).open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def _set(self, start: int, stop: int) -> BitMap:
        return BitMap.deserialize(self._sets[start:stop].tobytes())

    def _tags(self, said: Mapping[str, Any]) -> Tags:
        holders = {value: self._set(*place) for value, *place in said["holders"]}
        return Tags(holders, self._set(*said["known"]), boolean=said["kind"] == "boolean")

    def _numbers(self, said: Mapping[str, Any]) -> Numbers:
        values, people = (
            np.load(self.folder / f"{said['file']}.{part}.npy", mmap_mode="r") for part in ("values", "people")
        )
        return Numbers(values, people, tuple(self._set(*place) for place in said["blocks"]), self._set(*said["known"]))


def open_index(settings: Settings, snapshot: Snapshot, step: Step = lambda _what, _share: None) -> Index:
    """Return a snapshot's index; it is made if it is not there.

    Raises
    ------
    DataError
        The snapshot is damaged, or has no ``user_id``.
    SettingsError
        Who was erased cannot be read, or the home cannot be written.
    """
    tombstones = Tombstones(settings.home)
    folder = index_root(settings) / f"{snapshot.name}-{_made_of(snapshot, tombstones)}"
    if not (folder / _HEAD).exists():
        _publish(snapshot, tombstones, folder, step)
    return Index(snapshot, folder)


def file_facts(file: IO[bytes]) -> tuple[int, int]:
    """Return size and time (ns) of an open file."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


def _made_of(snapshot: Snapshot, tombstones: Tombstones) -> str:
    found = snapshot.people.stat()
    said = f"{FORMAT} {found.st_size} {found.st_mtime_ns} {tombstones.count}"
    return hashlib.blake2b(said.encode(), digest_size=6).hexdigest()


def _publish(snapshot: Snapshot, tombstones: Tombstones, folder: Path, step: Step) -> None:
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    partial.mkdir(mode=0o700)
    try:
        _build(snapshot, tombstones, partial, step)
        for older in folder.parent.glob(f"{snapshot.name}-*"):
            if older != folder:
                shutil.rmtree(older, ignore_errors=True)
        try:
            partial.rename(folder)
        except OSError:
            if not folder.exists():  # another process was as quick: its index is the same
                raise
    except pa.ArrowException as error:
        raise DataError(
            f"The snapshot {snapshot.name} cannot be read: {type(error).__name__}.",
            hint=f"remove {snapshot.people.parent}, and run `portrait tags compute`.",
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _build(snapshot: Snapshot, tombstones: Tombstones, folder: Path, step: Step) -> None:
    with snapshot.people.open("rb") as raw, pq.ParquetFile(raw) as file, (folder / _SETS).open("wb") as sets:
        fields = {field.name: field for field in file.schema_arrow}
        if USER_ID not in fields:
            raise DataError(f"The snapshot {snapshot.name} has no {USER_ID}.", hint="run `portrait tags compute`.")
        standing = tombstones.standing(file.read([USER_ID])[USER_ID])
        everyone = np.flatnonzero(standing).astype(np.uint32)
        writer = _Writer(folder, sets)
        head: dict[str, Any] = {"file": file_facts(raw), "everyone": writer.put(people_of(everyone))}
        head |= {"columns": {}, "left_out": {}}
        for n, name in enumerate(each for each in fields if each != USER_ID):
            step(name, n / len(fields))
            made = column_of(_values(file, name).filter(standing), everyone)
            if made is None:
                head["left_out"][name] = str(fields[name].type)
            else:
                head["columns"][name] = writer.column(str(n), made)
    (folder / _HEAD).write_text(json.dumps(head, ensure_ascii=False), "utf-8")


def _values(file: pq.ParquetFile, name: str) -> pa.Array:
    column = file.read([name])[name].combine_chunks()
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


@dataclass(frozen=True)
class _Writer:
    """Writes columns, and says where it put them."""

    folder: Path
    sets: IO[bytes]

    def put(self, people: BitMap) -> tuple[int, int]:
        people.run_optimize()
        start = self.sets.tell()
        self.sets.write(people.serialize())
        return start, self.sets.tell()

    def column(self, file: str, column: Column) -> dict[str, Any]:
        if isinstance(column, Numbers):
            np.save(self.folder / f"{file}.values.npy", column.values)
            np.save(self.folder / f"{file}.people.npy", column.people)
            return {"kind": "number", "file": file, "known": self.put(column.known), "blocks": self._all(column.blocks)}
        holders = [[value, *self.put(people)] for value, people in column.holders.items()]
        return {"kind": "boolean" if column.boolean else "text", "known": self.put(column.known), "holders": holders}

    def _all(self, sets: Iterable[BitMap]) -> list[tuple[int, int]]:
        return [self.put(each) for each in sets]
