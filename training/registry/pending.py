"""Runs that MLflow could not take, kept below the home until `portrait models upload`."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.core.clock import from_us
from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.locks import locked
from feature_repo.core.settings import Settings
from feature_repo.core.stores import atomic_write
from feature_repo.privacy.tombstones import Tombstones
from training.registry.bundle import ENTITY_ROWS, Bundle, read_bundle

_PARTIAL = ".partial"


class RunKeptError(StoreUnavailableError):
    """MLflow did not take a run; it is kept, and nothing of the training is lost.

    Parameters
    ----------
    cause
        What MLflow said.
    folder
        Where the run is kept.

    Attributes
    ----------
    report
        What the training found, once it is known.
    """

    def __init__(self, cause: str, name: str, folder: Path) -> None:
        self.folder = folder
        self.report: Any = None
        super().__init__(
            f"{cause} The training of '{name}' is done; its run is kept in {folder}.",
            hint="when MLflow answers again, `portrait models upload` logs and registers it; nothing is fitted anew.",
        )


def pending_root(settings: Settings) -> Path:
    """Return the directory of the kept runs."""
    return settings.home / "mlflow" / "pending"


def keep(bundle: Bundle, settings: Settings) -> Path:
    """Copy a bundle below the home, whole or not at all; return its folder. One kept already stays where it is.

    It lists nobody who was erased since its rows were read; who is erased from now on is found in it.
    """
    root = pending_root(settings)
    if bundle.folder.parent == root:
        return bundle.folder
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    stem = f"{bundle.name}-{from_us(bundle.trained_at * 1000):%Y%m%dT%H%M%S}.{bundle.trained_at % 1000:03}Z"
    target = root / stem
    partial = root / (stem + _PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    tombstones = Tombstones(settings.home)
    with tombstones.unchanged():
        shutil.copytree(bundle.folder, partial)
        if (partial / ENTITY_ROWS).exists():
            drop_erased(partial / ENTITY_ROWS, tombstones)
        partial.rename(target)
    return target


def drop_erased(file: Path, tombstones: Tombstones) -> None:
    """Take the rows of erased people out of a list of entity rows."""
    rows = pq.read_table(file)
    standing = tombstones.standing_rows(rows)
    if standing.num_rows < rows.num_rows:
        sink = pa.BufferOutputStream()
        pq.write_table(standing, sink)
        atomic_write(file, sink.getvalue().to_pybytes(), private=True)


def pending(settings: Settings) -> list[Path]:
    """Return the folders of kept runs, oldest first within a name."""
    root = pending_root(settings)
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and path.suffix != _PARTIAL)


def read_pending(settings: Settings) -> list[Bundle]:
    """Return the kept runs.

    Raises
    ------
    DataError
        One of them cannot be read.
    """
    return [read_bundle(folder) for folder in pending(settings)]


def locked_pending(settings: Settings) -> AbstractContextManager[None]:
    """Hold the kept runs against another process that would upload them too."""
    return locked(settings.home / "run" / "pending.lock")


def discard(bundle: Bundle) -> None:
    """Remove a kept run that MLflow has taken, and the directory of kept runs with the last one."""
    shutil.rmtree(bundle.folder)
    with suppress(OSError):  # others are kept there
        bundle.folder.parent.rmdir()
