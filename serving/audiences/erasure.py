"""A person leaves the audiences: indices are made anew, lists of who was handed out are written without them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.core.errors import LogError
from feature_repo.core.settings import Settings
from feature_repo.engine.retrieval import replacing
from feature_repo.events.removal import naming
from feature_repo.privacy.tombstones import Tombstones
from serving.audiences.exported import MEMBERS, Export, all_exports, exports_root, write_record
from serving.audiences.index_files import drop_indices


def erase_audiences(settings: Settings, needle: str, *, dry_run: bool) -> int:
    """Remove rows that contain ``needle`` from the lists of exports, and files below the home that were handed out.

    Indices hold no ids, but the person's values under a number: all are removed, and made again when they are asked.

    Raises
    ------
    LogError
        A list is damaged: whether it names the person cannot be told.
    """
    if not dry_run:
        drop_indices(settings)
    return sum(_erase(settings, each, needle, dry_run=dry_run) for each in all_exports(settings))


def handed_out(settings: Settings, needle: str) -> list[str]:
    """Return the files that were handed out and named a person: those who have them have to be told.

    Raises
    ------
    LogError
        As :func:`erase_audiences`.
    """
    return [each.path for each in all_exports(settings) if _named(settings, each, needle)]


def _named(settings: Settings, export: Export, needle: str) -> bool:
    if export.erased and _hash(settings, needle) in export.erased:
        return True
    rows = _rows(exports_root(settings) / export.id / MEMBERS)
    return bool(pc.any(pc.and_(naming(rows, needle), pc.invert(rows["held_out"]))).as_py())


def _erase(settings: Settings, export: Export, needle: str, *, dry_run: bool) -> int:
    path = exports_root(settings) / export.id / MEMBERS
    rows = _rows(path)
    named = naming(rows, needle)
    count = int(pc.sum(named).as_py() or 0)
    if count and not dry_run:
        # First the note: a run that is killed in between tells the next one all the same.
        if _named(settings, export, needle):
            write_record(settings, replace(export, erased=(*export.erased, _hash(settings, needle))))
        with replacing(path) as partial:
            partial.touch(mode=0o600)
            pq.write_table(rows.filter(pc.invert(named)), partial)
    copy = Path(export.path)
    if not dry_run and copy.is_relative_to(settings.home) and copy.exists():
        _erase_copy(copy, needle)
    return count


def _erase_copy(path: Path, needle: str) -> None:
    with replacing(path) as partial:
        partial.touch(mode=0o600)
        if path.suffix.lower() == ".csv":
            lines = path.read_text("utf-8").splitlines(keepends=True)
            partial.write_text("".join(line for line in lines if needle not in line), "utf-8")
        else:
            rows = _rows(path)
            pq.write_table(rows.filter(pc.invert(naming(rows, needle))), partial)


def _hash(settings: Settings, needle: str) -> str:
    return Tombstones(settings.home).hash(f"u_{needle}").decode()


def _rows(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise LogError(
            f"The list of an export, {path.parent.name}/{path.name}, cannot be read: {type(error).__name__}.",
            hint=f"restore {path} from a backup, or remove {path.parent}: then nobody knows whom the file named.",
        ) from None
