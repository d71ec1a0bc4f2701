"""Where the indices of snapshots are, and how they go."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from feature_repo.core.settings import Settings


def index_root(settings: Settings) -> Path:
    """Where the indices are."""
    return settings.home / "audiences" / "index"


def drop_indices(settings: Settings, keep: Iterable[str] = ()) -> None:
    """Remove the indices of all snapshots but some, by their names, and what builders left that were killed."""
    kept, root = tuple(f"{name}-" for name in keep), index_root(settings)
    for folder in root.iterdir() if root.is_dir() else ():
        if not folder.name.startswith(kept):
            shutil.rmtree(folder, ignore_errors=True)
